"""Failures of the system, and kills: the last checkpoint stays, and the run resumes bit for bit.

What a loss of power leaves, test_power_loss.py tests.
"""

import errno
import itertools
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.errors import OutOfMemory, RunFolderError
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.loading import load
from tests.contents import contents
from tests.lstm_runs import TINY
from tests.runs.children import run_children, train_until
from tests.runs.small import GAN, disturb, train

SIX_UPDATES = replace(TINY, epochs=2, batch_size=27, checkpoint_every=1, keep_checkpoints=1)
CURRICULUM = LSTMConfig(
    length=6, encoding="onehot", curriculum=True, start_length=3, threshold=0.3, data_size=200, hidden_size=16,
    hidden_dropout_kind="zoneout", optimizer="adam", lr_schedule="cosine", epochs=9, batch_size=32, checkpoint_every=2,
)  # fmt: skip
GAN_WITH_STATES = replace(
    GAN, ema=0.9, r1=0.2, penalty_interval=2, discriminator_dropout=0.3, discriminator_steps=2, packing=2,
    lr_schedule="linear",
)  # fmt: skip


@pytest.mark.parametrize("call", ["fsync", "replace", "unlink", "rmdir", "mkdir", "open"])
def test_failure_of_any_system_call_loses_nothing(call: str, memory_path: Path) -> None:
    """Each call of a function of the system that changes files fails once."""
    expected = contents(train(SIX_UPDATES, memory_path / "undisturbed").path)
    original, errors = getattr(os, call), []
    for number in itertools.count(1):
        calls, path = itertools.count(1), memory_path / f"run-{number}"

        def fail(*arguments: Any, at: int = number, calls: Iterator[int] = calls, **keywords: Any) -> Any:
            if next(calls) == at:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return original(*arguments, **keywords)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                train(SIX_UPDATES, path)
            except RunFolderError as error:
                errors.append(str(error))
        if (path / "checkpoints" / "last.json").exists():
            load(path)
        assert contents(train(SIX_UPDATES, path).path) == expected, number
        shutil.rmtree(path)
        if next(calls) <= number:
            break
    assert all("Input/output error" in error and "\n" not in error for error in errors)
    if call in ("fsync", "replace"):  # only failures to remove what is old, or to make what is there, may be ignored
        assert len(errors) == number - 1


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
@pytest.mark.usefixtures("images")
def test_folder_moved_while_training_is_not_recreated(
    config: LSTMConfig | GANConfig, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    error = disturb(config, run, 12, lambda _: run.rename(moved))
    assert str(error).endswith("run: was removed or moved while it was in use; start again in a new --out")
    assert not run.exists()
    if config is TINY:
        assert contents(train(config, moved).path) == undisturbed


def allocate_too_much(_: object) -> None:
    torch.empty(1 << 50, dtype=torch.uint8)


def run_out_on_a_gpu(_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")


def fail_otherwise(_: object) -> None:
    raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize("run_out", [allocate_too_much, run_out_on_a_gpu])
def test_out_of_memory_is_explained(run_out: Callable[[object], None], tmp_path: Path) -> None:
    error = disturb(TINY, tmp_path / "run", 13, run_out)
    assert isinstance(error, OutOfMemory)
    assert re.fullmatch(r"step 13: memory ran out \(.*\); what was saved is kept: free some memory .*", str(error))
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        disturb(TINY, tmp_path / "run", 3, fail_otherwise)


KILLS: list[tuple[LSTMConfig | GANConfig, tuple[int, ...]]] = [(CURRICULUM, (17, 9)), (GAN_WITH_STATES, (8, 2))]
ALL_KILLS = [
    (config, (first, 1 + first % 2, 1)) for config in (TINY, CURRICULUM, GAN, GAN_WITH_STATES) for first in range(1, 12)
]


@pytest.mark.parametrize(
    ("config", "updates"), [*KILLS, *(pytest.param(*kills, marks=pytest.mark.long) for kills in ALL_KILLS)]
)
@pytest.mark.usefixtures("images")
def test_a_run_killed_in_each_session_equals_an_undisturbed_run(
    config: LSTMConfig | GANConfig, updates: tuple[int, ...], server: ForkServerContext, tmp_path: Path
) -> None:
    expected = contents(train(config, tmp_path / "undisturbed").path)
    for update in updates:
        assert run_children(server, train_until, (config, tmp_path / "run", update)) == [-signal.SIGKILL]
    assert contents(train(config, tmp_path / "run").path) == expected
