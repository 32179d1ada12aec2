"""Snapshots of an LSTM: its weights after some epochs, to compare them with the trained ones.

network/NAME          the state dict
epoch                 int64 [], epochs so far
validation_accuracy   float64 []
"""

import copy
from typing import NamedTuple

import torch
from safetensors.torch import load_file

from reviver.files.file_errors import explain_read_errors
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.runs.checkpoint import TrainingState
from reviver.runs.folder import RunFolder

PREFIX = "network/"


class LSTMSnapshot(NamedTuple):
    """A moment of the training: epochs and updates so far, and the network of that moment, in eval mode."""

    epoch: int
    step: int
    validation_accuracy: float
    network: RecurrentClassifier


def is_snapshot_due(epoch: int, epochs: int) -> bool:
    """Return whether a snapshot is saved after `epoch`: 1, 4, 16, 64 ..., and half of the `epochs`, the most.

    The last weights need none, they are in the last checkpoint.
    """
    return epoch in (4**k for k in range(epoch.bit_length())) or epoch == epochs // 2


def save_snapshot(folder: RunFolder, state: TrainingState, validation_accuracy: float) -> None:
    """Save the weights of a state; see `RunFolder.write_snapshot` for errors."""
    accuracy = torch.tensor(validation_accuracy, dtype=torch.float64)
    values = {"network": state.networks["network"].state_dict(), "epoch": torch.tensor(state.epoch)}
    folder.write_snapshot(state.step, values | {"validation_accuracy": accuracy})


def read_snapshots(folder: RunFolder, current: RecurrentClassifier) -> list[LSTMSnapshot]:
    """Return the snapshots of the run of the network `current`, in order; one that does not fit is a `RunFolderError`."""
    snapshots = []
    for step, path in folder.snapshot_files.items():
        network = copy.deepcopy(current)
        with explain_read_errors(path):
            tensors = load_file(path)
            epoch, accuracy = int(tensors.pop("epoch")), float(tensors.pop("validation_accuracy"))
            network.load_state_dict({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()})
        snapshots.append(LSTMSnapshot(epoch, step, accuracy, network.eval()))
    return snapshots
