"""Reviver: an LSTM written gate by gate and a fully connected GAN, with training, evaluation and figures.

The names below are imported at first use, so that `import reviver` does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from reviver.version import __version__ as __version__

if TYPE_CHECKING:
    from reviver.explorer.notebook import explore
    from reviver.gan.networks import Discriminator, Generator
    from reviver.lstm.cell import LSTMState, LSTMWeights, lstm_step
    from reviver.lstm.classifier import LSTMClassifier
    from reviver.lstm.layer import LSTM
    from reviver.lstm.pretrained_classifier import PretrainedClassifier
    from reviver.train.gan.run import GANRun
    from reviver.train.loading import load
    from reviver.train.lstm.run import LSTMRun

__all__ = [
    "LSTM",
    "Discriminator",
    "GANRun",
    "Generator",
    "LSTMClassifier",
    "LSTMRun",
    "LSTMState",
    "LSTMWeights",
    "PretrainedClassifier",
    "explore",
    "load",
    "lstm_step",
]

_MODULES = {
    "LSTM": "reviver.lstm.layer",
    "LSTMClassifier": "reviver.lstm.classifier",
    "LSTMState": "reviver.lstm.cell",
    "LSTMWeights": "reviver.lstm.cell",
    "PretrainedClassifier": "reviver.lstm.pretrained_classifier",
    "Generator": "reviver.gan.networks",
    "Discriminator": "reviver.gan.networks",
    "explore": "reviver.explorer.notebook",
    "load": "reviver.train.loading",
    "LSTMRun": "reviver.train.lstm.run",
    "GANRun": "reviver.train.gan.run",
    "lstm_step": "reviver.lstm.cell",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'reviver' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
