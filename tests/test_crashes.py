"""A crash or a failure between any two system calls leaves a run folder that loads, and resumes bit for bit."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reviver.errors import RunFolderError
from reviver.files.atomic import write_text
from reviver.runs.checkpoint import TrainingState, find_checkpoint, load_networks
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.runs.session import open_run, training_session
from reviver.runs.snapshots import find_snapshots, read_snapshot, remove_later_snapshots, write_snapshot
from reviver.settings.lstm import LSTMConfig
from tests.children import CallCounter, Copier
from tests.contents import contents
from tests.test_runs import best_at

EPOCHS = 3
CONFIG = LSTMConfig(keep_checkpoints=1)
"""Keeps one checkpoint, so that others are removed."""


def small_state() -> TrainingState:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters())
    return TrainingState({"network": network}, {"network": optimizer}, {"noise": make_rng(0, "noise")})


def run(path: Path) -> None:
    """Start or resume a run that writes records, samples, snapshots, checkpoints, and best weights before the last epoch."""
    folder = open_run(path, "lstm", CONFIG, torch.device("cpu"), resume=(path / "run.json").exists())
    state = small_state()
    network = state.networks["network"]
    files = ("metrics", "scores")
    with training_session(folder, state, total=EPOCHS, description="", progress=False, files=files) as session:
        while state.epoch < EPOCHS:
            remove_later_snapshots(folder, state.step)
            loss = network(torch.randn(4, 3, generator=state.rngs["noise"])).pow(2).sum()
            network.zero_grad()
            loss.backward()
            state.optimizers["network"].step()
            state.step += 1
            state.epoch += 1
            session.log(loss=loss.item())
            session.log_scores(fid=loss.item())
            write_text(folder.samples / f"epoch-{state.epoch}.txt", str(loss.item()))
            write_snapshot(folder, state.step, {"loss": loss.detach()})
            if state.epoch < EPOCHS:
                state.extra["best"] = best_at(state.step)
                state.best_networks = {"network": {key: value.clone() for key, value in network.state_dict().items()}}
            session.save()


def check_loads(path: Path) -> None:
    """Check that an unfinished run folder loads."""
    if not (path / "run.json").exists():
        return
    folder = RunFolder.open(path)
    folder.read_records("metrics")
    folder.read_records("scores")
    for snapshot in find_snapshots(folder):
        read_snapshot(snapshot.path, {"loss": torch.empty((), device="meta")})
    for which in ("last", "best"):
        if (folder.checkpoints / f"{which}.json").exists():
            load_networks(find_checkpoint(folder.checkpoints, which), small_state().networks)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    run(path)
    return contents(path)


def count_changes(path: Path) -> int:
    with CallCounter() as counter:
        run(path)
    return counter.changes


def test_crash_before_any_system_call_loses_nothing(expected: dict[str, Any], memory_path: Path) -> None:
    copier = Copier(memory_path / "run", memory_path)
    with CallCounter(copier, changes=range(1, 10_000)):
        run(memory_path / "run")
    assert len(copier.paths) > 100
    for number, path in enumerate(copier.paths):
        check_loads(path)
        run(path)
        assert contents(path) == expected, number


def fail() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_failure_of_any_system_call_loses_nothing(expected: dict[str, Any], memory_path: Path) -> None:
    changes = count_changes(memory_path / "counted")
    errors = []
    for at in range(1, changes + 1):
        path = memory_path / f"run-{at}"
        try:
            with CallCounter(fail, changes=(at,)):
                run(path)
        except RunFolderError as error:
            errors.append(str(error))
        check_loads(path)
        run(path)
        assert contents(path) == expected, at
    assert all("Input/output error" in error and "\n" not in error for error in errors)
    assert len(errors) > 0.8 * changes, "only failures to remove old files may be ignored"
