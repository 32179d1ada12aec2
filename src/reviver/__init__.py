"""Reviver: an LSTM written out gate by gate and a fully connected GAN, trained, measured and drawn.

The names below are imported when they are first used, so that `import reviver` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reviver.gan.networks import Discriminator, Generator
    from reviver.gan.run import GANRun
    from reviver.loading import load
    from reviver.lstm.cell import LSTMState
    from reviver.lstm.network import LSTM, LSTMClassifier
    from reviver.lstm.run import LSTMRun

__version__ = "0.1.0"

__all__ = ["LSTM", "Discriminator", "GANRun", "Generator", "LSTMClassifier", "LSTMRun", "LSTMState", "load"]

_HOMES = {
    "LSTM": "reviver.lstm.network",
    "LSTMClassifier": "reviver.lstm.network",
    "LSTMState": "reviver.lstm.cell",
    "Generator": "reviver.gan.networks",
    "Discriminator": "reviver.gan.networks",
    "load": "reviver.loading",
    "LSTMRun": "reviver.lstm.run",
    "GANRun": "reviver.gan.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'reviver' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
