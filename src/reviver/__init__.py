"""Reviver: an LSTM written gate by gate and a fully connected GAN, with training, evaluation and figures.

The names below are imported at first use, so that `import reviver` does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from reviver.version import __version__ as __version__

if TYPE_CHECKING:
    from reviver.explorer.notebook import explore as explore
    from reviver.gan.networks import Discriminator as Discriminator
    from reviver.gan.networks import Generator as Generator
    from reviver.lstm.cell import LSTMState as LSTMState
    from reviver.lstm.cell import LSTMWeights as LSTMWeights
    from reviver.lstm.cell import lstm_step as lstm_step
    from reviver.lstm.classifier import LSTMClassifier as LSTMClassifier
    from reviver.lstm.layer import LSTM as LSTM
    from reviver.lstm.pretrained import PretrainedClassifier as PretrainedClassifier
    from reviver.train.gan.run import GANRun as GANRun
    from reviver.train.loading import load as load
    from reviver.train.lstm.run import LSTMRun as LSTMRun

_MODULES = {
    "LSTM": "lstm.layer",
    "Discriminator": "gan.networks",
    "GANRun": "train.gan.run",
    "Generator": "gan.networks",
    "LSTMClassifier": "lstm.classifier",
    "LSTMRun": "train.lstm.run",
    "LSTMState": "lstm.cell",
    "LSTMWeights": "lstm.cell",
    "PretrainedClassifier": "lstm.pretrained",
    "explore": "explorer.notebook",
    "load": "train.loading",
    "lstm_step": "lstm.cell",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'reviver' has no attribute {name!r}")
    return getattr(importlib.import_module(f"reviver.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
