"""A trained LSTM, loaded from its run folder."""

from dataclasses import dataclass
from typing import Literal

from reviver.data.build import build_task
from reviver.data.sequences.custom import DataRecord
from reviver.data.task import Task
from reviver.devices import choose_device
from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.lstm.own_cells import Network
from reviver.runs.checkpoint import build_trained, checkpoint_step, find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.runs.schema import validate
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import open_parts
from reviver.settings.validation import check
from reviver.train.loaded import LoadedRun
from reviver.train.lstm.training import build_network


@dataclass(frozen=True)
class LSTMRun(LoadedRun):
    """A trained LSTM, loaded from `folder`."""

    folder: RunFolder
    config: LSTMConfig
    task: Task
    network: Network
    """Trained network, in eval mode."""
    step: int
    """Update at which the loaded checkpoint was saved."""
    checkpoint: str
    """Checkpoint that it was loaded from, `last` or `best`."""


def load_lstm(
    folder: RunFolder,
    checkpoint: str | None = None,
    device: str = "cpu",
    *,
    cell: str | type | None = None,
    task: str | type | None = None,
) -> LSTMRun:
    """Load the LSTM run in `folder`, its network to `device`; see `reviver.load` for the other arguments and errors."""
    check("checkpoint", checkpoint, Literal["last", "best"] | None)
    chosen_device = choose_device(device)
    open_parts(folder.record["config"], folder.record.get("parts", {}), cell=cell, task=task)
    config = folder.read_config(LSTMConfig)
    if checkpoint is None:
        checkpoint = "last" if config.patience is None else "best"
    path = find_checkpoint(folder.checkpoints, checkpoint)  # first: a run killed at its start has no data
    if config.task == "custom":
        validate(DataRecord, folder.record.get("data"), f"{folder.record_path}: data")
    try:
        found = build_task(config, folder.record.get("data"))
        (network,) = build_trained(path, ["network"], lambda: (build_network(config, found),), config.num_layers)
    except (ConfigError, DataError) as error:
        raise RunFolderError(f"{folder.record_path}: {error}") from error
    return LSTMRun(folder, config, found, network.to(chosen_device).eval(), checkpoint_step(path), checkpoint)
