"""Training of both networks, and the loading of trained runs. The readers of run folders know both kinds from here."""

from reviver.runs.folder import RunFolder
from reviver.runs.schema import KINDS
from reviver.train.gan.records import GAN
from reviver.train.lstm.records import LSTM

__all__ = ["RunFolder"]

KINDS |= {kind.name: kind for kind in (LSTM, GAN)}
