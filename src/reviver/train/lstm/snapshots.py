"""Snapshots of an LSTM: its weights after some epochs, to compare them with the trained ones.

network/NAME          the state dict
epoch                 int64 [], epochs so far
validation_accuracy   float64 []
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.files.file_errors import damaged_run_file
from reviver.lstm.custom_cells import Network
from reviver.runs.folder import RunFolder
from reviver.runs.snapshot_files import check_total_size, find_snapshots, read_snapshot, write_snapshot
from reviver.settings.lstm import LSTMConfig

PREFIX = "network/"


class LSTMSnapshot(NamedTuple):
    """A moment of the training."""

    epoch: int
    """Epochs so far."""
    step: int
    """Updates so far."""
    validation_accuracy: float | None
    """Accuracy on the validation data, see `reviver.lstm.scoring.Score`; None if it was not measured then."""
    network: Network
    """Network of that moment, in eval mode."""


def is_snapshot_due(epoch: int, config: LSTMConfig) -> bool:
    """Return whether a snapshot is saved after `epoch`: 1, 4, 16, 64 ..., and half of the maximum number of epochs.

    The last weights need none, they are in the last checkpoint.
    """
    return epoch in (4**k for k in range(epoch.bit_length())) or epoch == config.epochs // 2


def save_snapshot(folder: RunFolder, network: Network, step: int, epoch: int, validation_accuracy: float) -> None:
    """Save the weights of `network` after `step` updates and `epoch` epochs; see `write_snapshot` for errors."""
    values = {
        "epoch": torch.tensor(epoch),
        "validation_accuracy": torch.tensor(validation_accuracy, dtype=torch.float64),
    }
    weights = {PREFIX + name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    write_snapshot(folder, step, weights | values)


def read_snapshots(folder: RunFolder, current: Network) -> list[LSTMSnapshot]:
    """Return the snapshots of the run of the network `current` in the order of training.

    A damaged one, or one of another network, is a `RunFolderError`.
    """
    files = find_snapshots(folder)
    check_total_size(folder, files)
    expected: dict[str, Tensor] = {
        "epoch": torch.empty((), dtype=torch.int64, device="meta"),
        "validation_accuracy": torch.empty((), dtype=torch.float64, device="meta"),
        **{PREFIX + name: tensor.to("meta") for name, tensor in current.state_dict().items()},
    }
    snapshots = []
    for file in files:
        tensors = read_snapshot(file.path, expected)
        epoch, accuracy = int(tensors.pop("epoch")), float(tensors.pop("validation_accuracy"))
        if epoch < 1 or not 0 <= accuracy <= 1:
            problem = f"epoch must be at least 1 and validation_accuracy from 0 to 1, got {epoch} and {accuracy}"
            raise damaged_run_file(file.path, problem)
        network = copy.deepcopy(current)
        network.load_state_dict({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()})
        snapshots.append(LSTMSnapshot(epoch, file.step, accuracy, network.eval()))
    return snapshots
