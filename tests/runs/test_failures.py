"""Failures of the system, kills, golden folders and long runs: the last checkpoint stays, and the run resumes bit for bit.

What a loss of power leaves, test_power_loss.py tests.
"""

import errno
import itertools
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch

from reviver.errors import OutOfMemory, RunFolderError
from reviver.run import load
from reviver.runs.checkpoint import find_checkpoint, find_step_files
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from tests.contents import contents
from tests.golden import make
from tests.lstm_runs import TINY
from tests.runs.small import GAN, disturb, narrow_gans, run_children, train, train_until

SIX_UPDATES = replace(TINY, epochs=2, batch_size=27, checkpoint_every=1, keep_checkpoints=1)
CURRICULUM = LSTMConfig(
    length=6, encoding="onehot", curriculum=True, start_length=3, threshold=0.3, data_size=200, hidden_size=16,
    hidden_dropout_kind="zoneout", optimizer="adam", lr_schedule="cosine", epochs=9, batch_size=32, checkpoint_every=2,
)  # fmt: skip
GAN_WITH_STATES = replace(
    GAN, ema=0.9, r1=0.2, penalty_interval=2, discriminator_dropout=0.3, discriminator_steps=2,
    lr_schedule="linear",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # tensorboardX leaves its file open
@pytest.mark.parametrize("call", ["fsync", "replace", "unlink", "rmdir", "mkdir", "open"])
def test_failure_of_any_system_call_loses_nothing(call: str, tmp_path: Path) -> None:
    """Each call of a function of the system that changes files fails once."""
    expected = contents(train(SIX_UPDATES, tmp_path / "undisturbed").path)
    original, errors = getattr(os, call), []
    for number in itertools.count(1):
        calls, path = itertools.count(1), tmp_path / f"run-{number}"

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
        if find_step_files(path / "checkpoints"):
            load(path)
        assert contents(train(SIX_UPDATES, path).path) == expected, number
        shutil.rmtree(path)
        if next(calls) <= number:
            break
    assert all("Input/output error" in error and "\n" not in error for error in errors)
    if call in ("fsync", "replace"):  # only failures to remove what is old, or to make what is there, may be ignored
        assert len(errors) == number - 1


@pytest.mark.parametrize("config", [TINY, GAN], ids=["lstm", "gan"])
@pytest.mark.usefixtures("images")
def test_folder_moved_while_training_is_not_recreated(
    config: LSTMConfig | GANConfig, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    error = disturb(config, run, 12, lambda _: run.rename(moved))
    assert str(error).endswith("; the folder no longer exists; choose another one")
    assert not run.exists()
    if config is TINY:
        assert contents(train(config, moved).path) == undisturbed


def test_out_of_memory_is_explained(tmp_path: Path) -> None:
    error = disturb(TINY, tmp_path / "run", 13, lambda _: torch.empty(1 << 50, dtype=torch.uint8))
    assert isinstance(error, OutOfMemory)
    assert re.fullmatch(r"step 13: memory ran out \(.*\); what was saved is kept: free some memory .*", str(error))
    with pytest.raises(RuntimeError, match=r"^The size of tensor a \(2\) must match"):
        disturb(TINY, tmp_path / "run", 3, lambda _: torch.zeros(2) + torch.zeros(3))


OWN_CELL, OWN_NETWORKS = replace(TINY, cell="own.py:Cell"), replace(GAN, networks="own.py")
KILLS: list[tuple[LSTMConfig | GANConfig, tuple[int, ...]]] = [(CURRICULUM, (17, 9)), (GAN_WITH_STATES, (8, 2))]
KILLS += [(OWN_CELL, (13, 2)), (OWN_NETWORKS, (8, 2))]
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


GOLDEN = {"lstm": make.LSTM, "gan": make.GAN}
REMEDY = "if a run folder differs on purpose, make the golden ones again with `python -m tests.golden.make`"


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden_folder_loads_and_resumes(kind: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics are equal up to the rounding of another processor."""
    run = shutil.copytree(make.FOLDER / kind, here / kind)
    shutil.copyfile(make.FOLDER / "images.npy", here / "images.npy")
    narrow_gans(monkeypatch.setattr)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    try:
        loaded = [load(run, checkpoint=which) for which in ("last", "best")[: 2 if kind == "lstm" else 1]]
    except RunFolderError as error:
        pytest.fail(f"{error}; {REMEDY}")
    assert loaded[0].config == GOLDEN[kind], REMEDY
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before, "loading changes nothing"
    folder = train(GOLDEN[kind], run)
    assert folder.status == "finished"
    assert find_checkpoint(folder.checkpoints, "last").stem == "step-000012"
    expected = [json.loads(line) for line in (make.FOLDER / f"{kind}-metrics.jsonl").read_text().splitlines()]
    for record, expected_record in zip(folder.read_metrics(), expected, strict=True):
        assert {**record, "seconds": 0} == pytest.approx({**expected_record, "seconds": 0}, rel=1e-4), REMEDY
