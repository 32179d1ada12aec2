"""Opening a run folder for use."""

from pathlib import Path

from reviver.gan.run import GANRun, load_gan
from reviver.lstm.run import LSTMRun, load_lstm
from reviver.runs.folder import RunFolder


def load(path: str | Path, *, checkpoint: str = "last", device: str = "cpu") -> LSTMRun | GANRun:
    """Open the run folder at `path`, with the weights of its `last` or (LSTM only) its `best` checkpoint.

    Raises:
        RunFolderError: if the folder is missing, damaged or written by a newer version, or has no such checkpoint.
        ConfigError: if `checkpoint` is anything else.
        DeviceError: if there is no such device.
    """
    folder = RunFolder.open(path)
    return load_lstm(folder, checkpoint, device) if folder.kind == "lstm" else load_gan(folder, checkpoint, device)
