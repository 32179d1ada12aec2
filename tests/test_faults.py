"""Failures outside of a run: it stops with a clear error, keeps its last checkpoint, and resumes bit for bit."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.test_gan_training import at_step as at_gan_step

from reviver.errors import OutOfMemory, RunFolderError
from reviver.lstm.classifier import LSTMClassifier
from reviver.runs import events, folder
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train as train_gan
from reviver.train.lstm.training import train
from tests.contents import contents, tensorboard_values
from tests.lstm_runs import TINY, at_step, crash


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return contents(train(TINY, tmp_path_factory.mktemp("uninterrupted") / "run").path)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device.; free some space .* --resume"),
        (errno.EACCES, "Permission denied.; choose a folder that you may write to"),
        (errno.EROFS, "Read-only file system.; choose a folder that you may write to"),
    ],
)
def test_disk_that_becomes_full_or_read_only(
    number: int, remedy: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    """The last checkpoint is kept; not even the final status can be written."""

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 13, lambda _: patch.setattr(os, "fsync", refuse))
        with pytest.raises(RunFolderError, match=f"cannot be written .{remedy}"):
            train(TINY, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    assert run.status == "running"
    assert find_checkpoint(run.checkpoints, "last").name == "step-000010"
    assert contents(train(TINY, run.path, resume=True).path) == expected


MISSING_FOLDER = "run: was removed or moved while it was in use; start again in a new --out$"


def move(path: Path) -> None:
    path.rename(path.with_name("moved"))


@pytest.mark.parametrize("lose", [shutil.rmtree, move])
def test_folder_removed_or_moved_while_training_is_not_recreated(
    lose: Callable[[Path], None], expected: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 13, lambda _: lose(tmp_path / "run"))
        with pytest.raises(RunFolderError, match=MISSING_FOLDER):
            train(TINY, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    if lose is move:
        assert contents(train(TINY, tmp_path / "moved", resume=True).path) == expected


def test_gan_folder_removed_while_training_is_not_recreated(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((8, 4, 4), dtype=np.uint8))
    config = GANConfig(data=str(tmp_path / "images.npy"), image_size=4, latent_size=2, epochs=2, batch_size=4)
    with pytest.MonkeyPatch.context() as patch:
        at_gan_step(patch, 3, lambda _: shutil.rmtree(tmp_path / "run"))
        with pytest.raises(RunFolderError, match=MISSING_FOLDER):
            train_gan(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_clock_set_back_changes_only_times(expected: dict[str, Any], tmp_path: Path) -> None:
    """TensorBoard reads the files of all sessions in the order of their names, which contain times."""
    clock = 2e9

    def earlier() -> float:
        nonlocal clock
        clock -= 86_400
        return clock

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events.time, "time", earlier)
        patch.setattr(folder, "_now", lambda: f"day {earlier():.0f}")
        for step in (12, 3, 4):  # in each session
            with pytest.MonkeyPatch.context() as crashing:
                at_step(crashing, step, crash)
                with pytest.raises(OutOfMemory):
                    train(TINY, tmp_path / "run", resume=(tmp_path / "run").exists())
        run = train(TINY, tmp_path / "run", resume=True)
    assert len(list((run.path / "tensorboard").iterdir())) == 4
    assert tensorboard_values(run.path / "tensorboard") == expected["tensorboard"]
    assert contents(run.path) == expected
    assert run.record["updated"] < run.record["started"]


def allocate_too_much(_: LSTMClassifier) -> None:
    torch.empty(1 << 50, dtype=torch.uint8)


def run_out_on_a_gpu(_: LSTMClassifier) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")


@pytest.mark.parametrize("run_out", [allocate_too_much, run_out_on_a_gpu])
def test_out_of_memory_within_a_batch(
    run_out: Callable[[LSTMClassifier], None], expected: dict[str, Any], tmp_path: Path
) -> None:
    message = (
        r"^step 13: memory ran out \(.*\); what was saved is kept: free some memory and go on with --resume, or start"
    )
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 13, run_out)
        with pytest.raises(OutOfMemory, match=message) as caught:
            train(TINY, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    run = RunFolder.open(tmp_path / "run")
    assert (run.status, run.record["error"]) == ("failed", str(caught.value))
    assert contents(train(TINY, run.path, resume=True).path) == expected


def test_other_runtime_errors_are_not_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: LSTMClassifier) -> None:
        raise RuntimeError("shapes do not fit")

    at_step(monkeypatch, 3, fail)
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        train(TINY, tmp_path / "run")
