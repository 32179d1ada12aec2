"""After a loss of power at any system call, what was saved is there and the rest is made again, with the same bits.

`make test` tries some of the states of each scenario, and `make test-long` all.
"""

import copy
import math
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest
import torch
from safetensors.torch import load_file

from reviver import LSTMClassifier
from reviver.errors import RunFolderError
from reviver.files.atomic import remove_leftovers, write_text
from reviver.runs.checkpoint import checkpoint_step, find_checkpoint, load_networks, prune_checkpoints
from reviver.runs.folder import RunFolder
from reviver.runs.session import open_run, training_session
from reviver.settings.lstm import LSTMConfig
from reviver.show.export import to_onnx
from reviver.sweep.trials import Outcome, Trial, execute
from tests.contents import contents
from tests.runs.power_loss import PowerLoss
from tests.runs.small import small_state, update

EPOCHS = 3
NUM_TRIED = 20
"""Number of states of a scenario that `make test` tries."""
CONFIG = LSTMConfig(keep_checkpoints=1, on_nan="rollback")
"""Keeps one checkpoint, so that others are removed."""


def run_small(path: Path, mark: Callable[[int], None] = lambda step: None, diverges_at: int = 0) -> None:
    """Start or resume a run that writes records, samples, snapshots, checkpoints, and best weights before the last epoch."""
    folder = open_run(path, "lstm", CONFIG, resume=(path / "run.json").exists())
    state = small_state(updates=0)
    files = ("metrics", "scores")
    with training_session(folder, state, total=EPOCHS, description="", progress=False, files=files) as session:
        while state.epoch < EPOCHS:
            with session.rolling_back():
                folder.remove_later_snapshots(state.step)
                loss = update(state)
                state.epoch += 1
                session.log(loss=loss.item())
                session.log_scores(fid=loss.item())
                write_text(folder.samples / f"epoch-{state.epoch}.txt", str(loss.item()))
                folder.write_snapshot(state.step, {"loss": loss.detach()})
                if state.step == diverges_at and session.lr_scale == 1:
                    session.check_finite(torch.tensor([[math.nan]]), state.step, ("loss",))
                if state.epoch < EPOCHS:
                    state.extra["best"] = {"step": state.step}
                    state.best_networks = {
                        name: copy.deepcopy(network.state_dict()) for name, network in state.networks.items()
                    }
                session.save()
                mark(state.step)


def finish_small(path: Path, mark: int | None, **options: int) -> dict[str, Any]:
    """Check that a run has all that was saved by update `mark`, and complete it."""
    if mark is not None or (path / "run.json").exists():
        folder = RunFolder.open(path)
        last = checkpoint_step(find_checkpoint(folder.checkpoints, "last")) if folder.has_checkpoint else 0
        assert last >= (mark or 0)
        with suppress(RunFolderError):  # names a line after the last checkpoint; a resume removes it
            folder.read_records("metrics")
        for snapshot in folder.snapshot_files.values():
            assert load_file(snapshot).keys() == {"loss"}
        for which in ("last", "best"):
            if last:
                load_networks(find_checkpoint(folder.checkpoints, which), small_state().networks)
    run_small(path, **options)
    return contents(path)


def begin_interrupted(path: Path) -> None:
    """Write a state of the first scenario: one of those in which the second of three checkpoints is there."""
    with PowerLoss(path.parent) as power:
        run_small(path, power.mark)
    states = [state for state in power.states() if state.mark == 2]
    shutil.rmtree(path)
    states[len(states) // 2].write(path.parent)


def train_in_trial(folder: Path) -> dict[str, Any]:
    """Train in a trial of a sweep."""
    run_small(folder / "run")
    return {"loss": RunFolder.open(folder / "run").read_records("metrics")[-1]["loss"]}


TRIAL = Trial(train_in_trial, {})


def run_trial(folder: Path, mark: Callable[[Any], None]) -> None:
    mark(execute(folder, TRIAL))


def finish_trial(folder: Path, mark: Outcome | None) -> Any:
    if mark is not None:  # was recorded, with its time
        assert execute(folder, TRIAL) == mark
    outcome = execute(folder, TRIAL)
    assert isinstance(outcome, Outcome), outcome
    run = folder / "trials" / TRIAL.key / "run"
    prune_checkpoints(run / "checkpoints", CONFIG.keep_checkpoints)  # a removed one may be there again
    return outcome.status, outcome.result, contents(run)


def build_pretrained(seed: int) -> LSTMClassifier:
    torch.manual_seed(seed)
    return LSTMClassifier(3, 4, 2)


def export(folder: Path, mark: Callable[[Any], None] = lambda _: None) -> None:
    network = build_pretrained(1)
    network.save_pretrained(folder)
    mark("pretrained")
    to_onnx(network, folder / "model.onnx")
    mark("exported")


def finish_export(folder: Path, mark: str | None) -> Any:
    """Check that each file is the old or the new one."""
    found = LSTMClassifier.from_pretrained(folder).state_dict()
    expected = [build_pretrained(seed).state_dict() for seed in ((1,) if mark else (0, 1))]
    assert any(all(torch.equal(found[name], state[name]) for name in state) for state in expected)
    if mark != "exported" and (folder / "model.onnx").exists():
        onnx.checker.check_model(onnx.load(folder / "model.onnx"))
    if mark != "exported":
        export(folder)
    remove_leftovers(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Scenario(NamedTuple):
    """A program that writes into a folder, and how it goes on after a loss of power."""

    states: int
    """Minimum number of states."""
    program: Callable[[Path, Callable[[Any], None]], object]
    """Calls its second argument with a mark when it has saved something."""
    go_on: Callable[[Path, Any], Any]
    """Checks what is there, given the last mark, goes on, and returns the result."""
    begin: Callable[[Path], object] = lambda path: None
    """Writes what is there before."""


SCENARIOS = {
    "saving": Scenario(700, run_small, finish_small),
    "rollback": Scenario(1000, partial(run_small, diverges_at=2), partial(finish_small, diverges_at=2)),
    "resuming": Scenario(240, run_small, finish_small, begin_interrupted),
    "trial": Scenario(700, run_trial, finish_trial),
    "exporting": Scenario(20, export, finish_export, lambda folder: build_pretrained(0).save_pretrained(folder)),
}


@pytest.mark.parametrize("tries_all", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_saved_is_lost_with_the_power(name: str, tries_all: bool, tmp_path: Path) -> None:
    """Go on from some states of a scenario, or all: after each mark from the first, which has only what was synced."""
    scenario, root = SCENARIOS[name], tmp_path / "root"
    root.mkdir()
    scenario.begin(root / name)
    with PowerLoss(root) as power:
        scenario.program(root / name, power.mark)
    expected = scenario.go_on(root / name, None)
    stride = 1 if tries_all else scenario.states // NUM_TRIED
    number, mark = -1, None
    for number, state in enumerate(power.states()):
        if number % stride == stride // 2 or state.mark != mark:
            mark = state.mark
            folder = tmp_path / str(number)
            state.write(folder)
            assert scenario.go_on(folder / name, state.mark) == expected, (number, state.mark, list(state.files))
            shutil.rmtree(folder)
    assert number + 1 >= scenario.states
    assert sum(scenario.states for scenario in SCENARIOS.values()) >= 2500
