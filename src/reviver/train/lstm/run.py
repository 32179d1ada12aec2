"""A trained LSTM, loaded from its run folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from reviver.data.build import build_task
from reviver.data.sequences.custom import DataRecord
from reviver.data.task import Task
from reviver.devices import choose_device
from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.lstm.custom_cells import Network
from reviver.runs.checkpoint import checkpoint_step, find_checkpoint, load_networks
from reviver.runs.folder import RunFolder
from reviver.runs.schema import validate
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import Parts, is_reference
from reviver.settings.validation import check
from reviver.train.loaded import LoadedRun
from reviver.train.lstm.training import build_network


@dataclass(frozen=True)
class LSTMRecords(LoadedRun):
    """An LSTM run without its network, whose code may be the user's."""

    folder: RunFolder
    config: LSTMConfig
    task: Task
    step: int
    """Update at which the loaded checkpoint was saved."""
    checkpoint: str
    """Checkpoint that it was loaded from, `last` or `best`."""


@dataclass(frozen=True)
class LSTMRun(LSTMRecords):
    """A trained LSTM, loaded from `folder`."""

    network: Network
    """Trained network, in eval mode."""


def read_lstm(folder: RunFolder, checkpoint: str | None = None, *, task: Any = None) -> LSTMRecords:
    """Open the LSTM run in `folder` without its network; see `load_lstm`."""
    return _read(folder, checkpoint, Parts.load(task=task))


def _read(folder: RunFolder, checkpoint: str | None, parts: Parts) -> LSTMRecords:
    check("checkpoint", checkpoint, Literal["last", "best"] | None)
    parts.check_run(folder.record["config"], folder.record.get("parts", {}))
    config = folder.read_config(LSTMConfig)
    if is_reference(config.task):
        parts.require("task", config.task)
    if checkpoint is None:
        checkpoint = "last" if config.patience is None else "best"
    path = find_checkpoint(folder.checkpoints, checkpoint)  # first: a run killed at its start has no data
    if config.task == "custom":
        validate(DataRecord, folder.record.get("data"), f"{folder.record_path}: data")
    with _explaining(folder):
        task = build_task(config, folder.record.get("data"), parts)
    return LSTMRecords(folder, config, task, checkpoint_step(path), checkpoint)


def load_lstm(
    folder: RunFolder,
    checkpoint: str | None = None,
    device: str = "cpu",
    *,
    cell: Any = None,
    task: Any = None,
) -> LSTMRun:
    """Load the LSTM run in `folder`, its network to `device`; see `reviver.load` for the other arguments and errors."""
    chosen_device = choose_device(device)
    parts = Parts.load(cell=cell, task=task)
    records = _read(folder, checkpoint, parts)
    config, path = records.config, find_checkpoint(folder.checkpoints, records.checkpoint)
    if is_reference(config.cell):
        parts.require("cell", config.cell)
    with _explaining(folder):
        network = build_network(config, records.task, parts)
        load_networks(path, {"network": network})
    return LSTMRun(**vars(records), network=network.to(chosen_device).eval())


@contextmanager
def _explaining(folder: RunFolder) -> Iterator[None]:
    """Raise errors of settings and data as RunFolderError that names the folder."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise RunFolderError(f"{folder.record_path}: {error}") from error
