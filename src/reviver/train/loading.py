"""Loading of run folders of any kind; `train/lstm/run.py` and `train/gan/run.py` do the work."""

from pathlib import Path

from torch import nn

from reviver.runs.folder import RunFolder
from reviver.settings.tasks import TaskDefinition
from reviver.train.gan.run import GANRun, load_gan
from reviver.train.lstm.run import LSTMRun, load_lstm


def load(
    path: str | Path,
    *,
    checkpoint: str | None = None,
    device: str = "cpu",
    cell: str | type | nn.Module | None = None,
    task: str | type | TaskDefinition | None = None,
    networks: str | tuple[type | nn.Module, type | nn.Module] | None = None,
) -> LSTMRun | GANRun:
    """Return the run in the folder at `path` with its settings and trained networks in eval mode.

    `checkpoint` is `last` or `best` (LSTM only), by default `best` for an LSTM with early stopping, otherwise `last`; for
    `device` see `reviver.devices.choose_device`. A run with a cell or task of your own needs its class again, `cell` or
    `task`: the class, an instance, or a reference such as `my_cell.py:Mine`; one with networks of your own their file, or
    both classes or instances, as `networks`. No code comes out of the folder.

    Raises:
        RunFolderError: if the folder is missing, damaged or written by a newer version, or has no such checkpoint.
        ConfigError: if `checkpoint` has another value, or a class of your own is missing.
        DeviceError: if the device is not available.
    """
    folder = RunFolder.open(path)
    if folder.kind == "lstm":
        return load_lstm(folder, checkpoint, device, cell=cell, task=task)
    return load_gan(folder, "last" if checkpoint is None else checkpoint, device, networks=networks)
