"""Failures of the system, and kills: the last checkpoint stays, and the run resumes bit for bit.

What a loss of power leaves, test_power_loss.py tests.
"""

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.errors import OutOfMemory, RunFolderError
from reviver.runs import events
from reviver.runs import folder as folder_module
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.loading import load
from tests.contents import contents
from tests.lstm_runs import TINY, crash
from tests.runs.children import run_children, train_until
from tests.runs.small import GAN, at_step, disturb, train

SIX_UPDATES = replace(TINY, epochs=2, batch_size=27, checkpoint_every=1, keep_checkpoints=1)
CALLS = ("fsync", "replace", "unlink", "rmdir", "mkdir", "open")
CURRICULUM = LSTMConfig(
    length=6, encoding="onehot", curriculum=True, start_length=3, threshold=0.3, data_size=200, hidden_size=16,
    hidden_dropout_kind="zoneout", optimizer="adam", lr_schedule="cosine", epochs=9, batch_size=32, checkpoint_every=2,
)  # fmt: skip
GAN_WITH_STATES = replace(
    GAN, ema=0.9, r1=0.2, penalty_interval=2, discriminator_dropout=0.3, discriminator_steps=2, packing=2,
    lr_schedule="linear",
)  # fmt: skip


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


def test_disk_that_becomes_full(undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """The last checkpoint is kept; not even the final status can be written."""

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        error = disturb(TINY, tmp_path / "run", 13, lambda _: patch.setattr(os, "fsync", refuse))
    assert isinstance(error, RunFolderError)
    assert re.search(r"cannot be written .No space left on device.; free some space .* --resume", str(error))
    run = RunFolder.open(tmp_path / "run")
    assert run.status == "running"
    assert find_checkpoint(run.checkpoints, "last").name == "step-000010"
    assert contents(train(TINY, run.path).path) == undisturbed


@pytest.mark.parametrize("config", [TINY, GAN], ids=["lstm", "gan"])
@pytest.mark.parametrize("lose", [shutil.rmtree, lambda path: path.rename(path.with_name("moved"))])
@pytest.mark.usefixtures("images")
def test_folder_removed_or_moved_while_training_is_not_recreated(
    lose: Callable[[Path], object], config: LSTMConfig | GANConfig, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    error = disturb(config, tmp_path / "run", 12, lambda _: lose(tmp_path / "run"))
    assert str(error).endswith("run: was removed or moved while it was in use; start again in a new --out")
    assert not (tmp_path / "run").exists()
    if (tmp_path / "moved").exists() and config is TINY:
        assert contents(train(config, tmp_path / "moved").path) == undisturbed


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
            disturb(TINY, tmp_path / "run", step, crash)
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
    error = disturb(TINY, tmp_path / "run", 13, run_out)
    message = (
        r"step 13: memory ran out \(.*\); what was saved is kept: free some memory and go on with --resume, or start .*"
    )
    assert re.fullmatch(message, str(error))
    assert isinstance(error, OutOfMemory)
    assert error.exit_code == 1
    run = RunFolder.open(tmp_path / "run")
    assert (run.status, run.record["error"]) == ("failed", str(error))
    assert contents(train(TINY, run.path).path) == undisturbed


def test_other_runtime_errors_are_not_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("shapes do not fit")

    at_step(monkeypatch, TINY, 3, fail)
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        train(TINY, tmp_path / "run")


# SIGKILL


def check_kills(
    server: ForkServerContext, config: LSTMConfig | GANConfig, updates: tuple[int, ...], path: Path
) -> None:
    """Kill a run in each session before an update, and compare the end with an undisturbed run."""
    expected = contents(train(config, path / "undisturbed").path)
    for update in updates:
        assert run_children(server, train_until, (config, path / "run", update)) == [-signal.SIGKILL]
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
