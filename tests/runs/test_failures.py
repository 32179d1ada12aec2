"""Failures of the system, and kills: the last checkpoint stays, and the run resumes bit for bit.

What a loss of power leaves, test_power_loss.py tests.
"""

import errno
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.errors import OutOfMemory, RunFolderError
from reviver.gan import networks
from reviver.runs import events
from reviver.runs import folder as folder_module
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.runs.snapshots import write_snapshot
from reviver.settings.fields import override
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan.training import train as train_gan
from reviver.train.loading import load
from reviver.train.lstm.training import train as train_lstm
from tests.contents import contents
from tests.golden.make import NARROW
from tests.lstm_runs import TINY, crash
from tests.runs.small import GAN, at_step

SIX_UPDATES = override(TINY, {"epochs": 2, "batch_size": 27, "checkpoint_every": 1, "keep_checkpoints": 1})
CALLS = ("fsync", "replace", "unlink", "rmdir", "mkdir", "open")
MISSING_FOLDER = "run: was removed or moved while it was in use; start again in a new --out$"
CURRICULUM = LSTMConfig(
    length=6, encoding="onehot", curriculum=True, start_length=3, threshold=0.3, data_size=200, hidden_size=16,
    hidden_dropout_kind="zoneout", optimizer="adam", lr_schedule="cosine", epochs=9, batch_size=32, checkpoint_every=2,
)  # fmt: skip
GAN_WITH_STATES = override(GAN, {"ema": 0.9, "r1": 0.2, "penalty_interval": 2, "discriminator_dropout": 0.3,
                                 "discriminator_steps": 2, "packing": 2, "lr_schedule": "linear"})  # fmt: skip


def train(config: LSTMConfig | GANConfig, out: Path | str) -> RunFolder:
    """Start or resume a run."""
    trainer: Any = train_lstm if isinstance(config, LSTMConfig) else train_gan
    return trainer(config, out, device="cpu", resume=(Path(out) / "run.json").exists())


@pytest.mark.parametrize("call", CALLS)
def test_failure_of_any_system_call_loses_nothing(call: str, memory_path: Path) -> None:
    """Each call of a function of the system that changes files fails once."""
    expected = contents(train(SIX_UPDATES, memory_path / "undisturbed").path)
    original, number, errors = getattr(os, call), 0, []
    is_over = False
    while not is_over:
        number, count, path = number + 1, 0, memory_path / f"run-{number}"

        def fail(*arguments: Any, at: int = number, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return original(*arguments, **keywords)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                train(SIX_UPDATES, path)
            except RunFolderError as error:
                errors.append(str(error))
        is_over = count < number
        if (path / "checkpoints" / "last.json").exists():
            load(path)
        assert contents(train(SIX_UPDATES, path).path) == expected, number
        shutil.rmtree(path)
    assert all("Input/output error" in error and "\n" not in error for error in errors)
    if call in ("fsync", "replace"):
        assert len(errors) == number - 1, (
            "only failures to remove what is old, or to make what is there, may be ignored"
        )


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device.; free some space .* --resume"),
        (errno.EACCES, "Permission denied.; choose a folder that you may write to"),
        (errno.EROFS, "Read-only file system.; choose a folder that you may write to"),
    ],
)
def test_disk_that_becomes_full_or_read_only(
    number: int, remedy: str, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """The last checkpoint is kept; not even the final status can be written."""

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, TINY, 13, lambda _: patch.setattr(os, "fsync", refuse))
        with pytest.raises(RunFolderError, match=f"cannot be written .{remedy}"):
            train(TINY, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    assert run.status == "running"
    assert find_checkpoint(run.checkpoints, "last").name == "step-000010"
    assert contents(train(TINY, run.path).path) == undisturbed


def move(path: Path) -> None:
    path.rename(path.with_name("moved"))


@pytest.mark.parametrize("config", [TINY, GAN], ids=["lstm", "gan"])
@pytest.mark.parametrize("lose", [shutil.rmtree, move])
@pytest.mark.usefixtures("images")
def test_folder_removed_or_moved_while_training_is_not_recreated(
    lose: Callable[[Path], None], config: LSTMConfig | GANConfig, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, config, 12, lambda _: lose(tmp_path / "run"))
        with pytest.raises(RunFolderError, match=MISSING_FOLDER):
            train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    if lose is move and config is TINY:
        assert contents(train(config, tmp_path / "moved").path) == undisturbed


def test_snapshots_are_not_written_into_a_folder_that_was_removed(folder: RunFolder) -> None:
    shutil.rmtree(folder.path)
    with pytest.raises(RunFolderError, match=MISSING_FOLDER):
        write_snapshot(folder, 1, {})
    assert not folder.path.exists()


def test_clock_set_back_changes_only_times(undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """TensorBoard reads the files of all sessions in the order of their names, which contain times."""
    clock = 2e9

    def earlier() -> float:
        nonlocal clock
        clock -= 86_400
        return clock

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events.time, "time", earlier)
        patch.setattr(folder_module, "_now", lambda: f"day {earlier():.0f}")
        for step in (12, 3, 4):  # in each session
            with pytest.MonkeyPatch.context() as crashing:
                at_step(crashing, TINY, step, crash)
                with pytest.raises(OutOfMemory):
                    train(TINY, tmp_path / "run")
        run = train(TINY, tmp_path / "run")
    assert len(list((run.path / "tensorboard").iterdir())) == 4
    assert contents(run.path) == undisturbed
    assert run.record["updated"] < run.record["started"]


def allocate_too_much(_: object) -> None:
    torch.empty(1 << 50, dtype=torch.uint8)


def run_out_on_a_gpu(_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")


@pytest.mark.parametrize("run_out", [allocate_too_much, run_out_on_a_gpu])
def test_out_of_memory_within_a_batch(
    run_out: Callable[[object], None], undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    message = (
        r"^step 13: memory ran out \(.*\); what was saved is kept: free some memory and go on with --resume, or start"
    )
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, TINY, 13, run_out)
        with pytest.raises(OutOfMemory, match=message) as caught:
            train(TINY, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    run = RunFolder.open(tmp_path / "run")
    assert (run.status, run.record["error"]) == ("failed", str(caught.value))
    assert contents(train(TINY, run.path).path) == undisturbed


def test_other_runtime_errors_are_not_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("shapes do not fit")

    at_step(monkeypatch, TINY, 3, fail)
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        train(TINY, tmp_path / "run")


# SIGKILL


def train_until(config: LSTMConfig | GANConfig, out: Path, update: int) -> None:
    """Start or resume a run, and kill this process before an update, counted from 1 in this session."""
    os.chdir(out.parent)
    for name, widths in NARROW.items():
        setattr(networks, name, widths)
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, config, update, lambda _: os.kill(os.getpid(), signal.SIGKILL))
        train(config, out)


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    """Return a server that forks children with one thread, which has completed a run of each kind already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.runs.warm", __name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # else it silently imports nothing from another folder
        forkserver.ensure_running()
    return context


def check_kills(
    server: ForkServerContext, config: LSTMConfig | GANConfig, updates: tuple[int, ...], path: Path
) -> None:
    """Kill a run in each session before an update, and compare the end with an undisturbed run."""
    expected = contents(train(config, path / "undisturbed").path)
    for update in updates:
        child = server.Process(target=train_until, args=(config, path / "run", update))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert contents(train(config, path / "run").path) == expected


@pytest.mark.parametrize(("config", "updates"), [(CURRICULUM, (17, 9)), (GAN_WITH_STATES, (8, 2))], ids=["lstm", "gan"])
@pytest.mark.usefixtures("images")
def test_killed_and_resumed_runs_equal_an_undisturbed_run(
    config: LSTMConfig | GANConfig, updates: tuple[int, ...], server: ForkServerContext, tmp_path: Path
) -> None:
    check_kills(server, config, updates, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1, 12))
@pytest.mark.parametrize(
    "config", [TINY, CURRICULUM, GAN, GAN_WITH_STATES], ids=["TINY", "CURRICULUM", "GAN", "states"]
)
@pytest.mark.usefixtures("images")
def test_runs_killed_three_times_equal_an_undisturbed_run(
    first: int, config: LSTMConfig | GANConfig, server: ForkServerContext, tmp_path: Path
) -> None:
    check_kills(server, config, (first, 1 + first % 2, 1), tmp_path)
