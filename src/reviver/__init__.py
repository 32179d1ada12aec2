"""An LSTM written gate by gate and a fully connected GAN, with training, evaluation and figures.

    from reviver import LSTM, RNN, LSTMClassifier, load, train_lstm
    output, (h, c) = LSTM(10, 64)(x)                     # torch.nn.LSTM with dropout at every step
    logits = LSTMClassifier(10, 64, num_classes=3)(x)    # x [B, T, 10]; RNN("gru", 10, 64) of any cell that is a text
    LSTM.from_torch(lstm), lstm.save_pretrained("mine"), LSTM.from_pretrained("mine")

    run = train_lstm(length=9, encoding="onehot", epochs=10)    # train_gan(epochs=5) likewise
    run = load("runs/mine")                              # a run folder that training wrote
    run.config, run.metrics, run.network                 # of a GAN: run.generator, run.discriminator
    run.table(), run.plot(), run.explore()               # columns for pandas; in a notebook the figure and the explorer

`help(reviver.train_lstm)` and so on describe each name and its arguments. Training and figures need the extra `train`,
which has all of this as commands, too: `reviver --help`. `lstm_step` has the equations of the LSTM, `reviver.gan.step`
those of the GAN.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from reviver.version import __version__ as __version__

if TYPE_CHECKING:
    from reviver.checker.assignment import check as check
    from reviver.gan.networks import Discriminator as Discriminator
    from reviver.gan.networks import Generator as Generator
    from reviver.pretrained_classifier import PretrainedClassifier as PretrainedClassifier
    from reviver.recurrent.classifier import LSTMClassifier as LSTMClassifier
    from reviver.recurrent.classifier import RNNClassifier as RNNClassifier
    from reviver.recurrent.emit import to_c as to_c
    from reviver.recurrent.emit import to_js as to_js
    from reviver.recurrent.grammar import Cell as Cell
    from reviver.recurrent.lstm import LSTM as LSTM
    from reviver.recurrent.lstm_step import LSTMState as LSTMState
    from reviver.recurrent.lstm_step import LSTMWeights as LSTMWeights
    from reviver.recurrent.lstm_step import lstm_step as lstm_step
    from reviver.recurrent.rnn import RNN as RNN
    from reviver.run import GANRun as GANRun
    from reviver.run import LSTMRun as LSTMRun
    from reviver.run import explore as explore
    from reviver.run import load as load
    from reviver.run import train_gan as train_gan
    from reviver.run import train_lstm as train_lstm

_MODULES = {
    "LSTM": "recurrent.lstm",
    "Discriminator": "gan.networks",
    "GANRun": "run",
    "Generator": "gan.networks",
    "LSTMClassifier": "recurrent.classifier",
    "LSTMRun": "run",
    "LSTMState": "recurrent.lstm_step",
    "LSTMWeights": "recurrent.lstm_step",
    "RNN": "recurrent.rnn",
    "RNNClassifier": "recurrent.classifier",
    "Cell": "recurrent.grammar",
    "PretrainedClassifier": "pretrained_classifier",
    "check": "checker.assignment",
    "explore": "run",
    "load": "run",
    "lstm_step": "recurrent.lstm_step",
    "to_c": "recurrent.emit",
    "to_js": "recurrent.emit",
    "train_gan": "run",
    "train_lstm": "run",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'reviver' has no attribute {name!r}")
    return getattr(importlib.import_module(f"reviver.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    # help(reviver) describes all that inspect.getmembers finds: of the classes, every method of nn.Module.
    caller = sys._getframe(1).f_globals["__name__"]
    return sorted({*globals()} if caller == "inspect" else {*globals(), *__all__})
