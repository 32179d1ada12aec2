"""Run folders: what they record, what they refuse, their records files, checkpoints and lock."""

import errno
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from torch import nn

from reviver.errors import RunFolderError
from reviver.files.atomic import remove_leftovers, write_text
from reviver.run import load
from reviver.runs.checkpoint import checkpoint_step, find_checkpoint, load_networks, save_checkpoint
from reviver.runs.folder import RunFolder, refuse_existing
from reviver.runs.session import training_session
from reviver.runs.writer import RecordsWriter
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from tests.contents import contents, events, records, tensorboard_hparams, tensorboard_values
from tests.golden.make import FOLDER
from tests.lstm_runs import TINY, crash
from tests.runs.small import GAN, disturb, small_state, train


def test_empty_folder_and_missing_parents_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".run.json.part").write_text('{"sche')  # left by a killed process
    for path in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        RunFolder.create(path, "gan", asdict(GANConfig()))
        assert RunFolder.open(path).kind == "gan"
        remove_leftovers(path)
        assert [found.name for found in path.iterdir()] == ["run.json"]


def test_existing_path_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    write_text(tmp_path / "folder" / "notes.txt", "precious")
    (tmp_path / "empty").mkdir()
    for name, target in (("link to nothing", "gone"), ("link to an empty folder", "empty")):
        (tmp_path / name).symlink_to(target)
    before = sorted(tmp_path.rglob("*"))
    for path in (tmp_path / name for name in ("file", "folder", "link to nothing", "link to an empty folder")):
        message = f"{path.name}: exists already and is never overwritten; choose another --out, or go on with --resume"
        for attempt in (partial(refuse_existing, path), partial(RunFolder.create, path, "lstm", asdict(LSTMConfig()))):
            with pytest.raises(RunFolderError, match=message):
                attempt()
    assert sorted(tmp_path.rglob("*")) == before


def write_records(folder: RunFolder, *records: dict[str, Any]) -> None:
    writer = RecordsWriter(folder)
    for record in records:
        writer.write("metrics", record)
    writer.sync()
    writer.close()


@pytest.mark.parametrize("truncated", ["{", '{"step": 3}', "\0\0\0"])
def test_truncated_last_line_is_skipped(truncated: str, folder: RunFolder) -> None:
    write_records(folder, {"step": 1}, {"step": 2, "loss": float("-inf"), "lr": float("nan")})
    expected = [{"step": 1}, {"step": 2, "loss": None, "lr": None}]
    with folder.records_path("metrics").open("a") as file:
        file.write(truncated)
    assert folder.read_records("metrics") == expected
    folder.truncate_records("metrics", 2)
    write_records(folder, {"step": 3})
    assert folder.read_records("metrics") == [*expected, {"step": 3}]
    with pytest.raises(
        RunFolderError, match=r"metrics\.jsonl: must have at least the 4 lines of the checkpoint, got 3; .* damaged"
    ):
        folder.truncate_records("metrics", 4)


@pytest.mark.parametrize("kind", ["lstm", "gan"])
def test_line_with_a_missing_invalid_or_unknown_key_is_refused(kind: str, tmp_path: Path) -> None:
    folder = RunFolder.open(shutil.copytree(FOLDER / kind, tmp_path / kind))
    record = folder.read_metrics()[0]

    def check(line: str, problem: str) -> None:
        folder.records_path("metrics").write_text(f"{json.dumps(record)}\n{line}\n")
        with pytest.raises(RunFolderError, match=rf"metrics\.jsonl: line 2: {problem}.*; the file is damaged, "):
            folder.read_metrics()

    folder.records_path("metrics").write_text(json.dumps(record) + "\n")
    assert folder.read_metrics() == [record]
    for key in record.keys() - {"validation_sequences"}:  # which older runs lack
        check(json.dumps({other: record[other] for other in record if other != key}), f"{key} is missing")
        check(json.dumps(record | {key: {"fid": "x"}}), rf"{key}[.\w]* ")
    check(json.dumps(record | {"warmup": 1}), "warmup is unknown; ")
    for damaged in ("{", "", "[1]", "[" * 100_000):
        check(damaged, r"cannot be read \(")


def test_lock_excludes_others_until_the_holder_dies(folder: RunFolder) -> None:
    assert not folder.is_training
    hold = "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(folder.path / "run.lock")]
    record = folder.record_path.read_bytes()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:  # which ends with its input
        assert holder.stdout is not None
        holder.stdout.readline()
        assert folder.is_training
        with (
            pytest.raises(RunFolderError, match="run: another process is training in this folder; wait for it or"),
            training_session(folder, small_state(), total=1, description="", progress=False),
        ):
            pytest.fail("two processes train")
        assert folder.record_path.read_bytes() == record, "a refused process must not change anything"
        holder.kill()
        holder.wait()
    assert not folder.is_training
    looking = FileLock(folder.path / "run.lock", thread_local=False)  # as `is_training` does, for a moment
    looking.acquire()
    threading.Timer(0.1, looking.release).start()
    with folder.locked():
        assert RunFolder.open(folder.path).is_training


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_lock_excludes_others_where_the_file_system_has_none(
    number: int, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        with folder.locked():
            assert RunFolder.open(folder.path).is_training
            with (
                pytest.raises(RunFolderError, match="another process is training"),
                RunFolder(folder.path, {}).locked(),
            ):
                pytest.fail("two processes train")
        assert not folder.is_training


def test_a_setting_that_an_older_run_lacks_takes_its_default(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = contents(train(TINY, tmp_path / "run").path)
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text())
    del record["config"]["max_norm"], record["config"]["patience"]
    path.write_text(json.dumps(record))
    assert load(tmp_path / "run").config == TINY
    assert caplog.messages == [
        f"{tmp_path / 'run'}: is from before these settings, which take their defaults: patience none, max_norm 10"
    ]
    assert contents(train(TINY, tmp_path / "run").path) == expected


def test_a_setting_that_is_gone_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(TINY, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text())
    record["config"] |= {"order": "full", "bptt_steps": None}
    path.write_text(json.dumps(record))
    assert load(tmp_path / "run").config == TINY
    assert caplog.messages == [
        f"{tmp_path / 'run'}: setting {name} is gone and is ignored" for name in ("order", "bptt_steps")
    ]


def test_old_checkpoints_are_removed_except_the_best(tmp_path: Path) -> None:
    state = small_state()
    weights = {"network": state.networks["network"].state_dict()}
    (tmp_path / "step-5").mkdir()  # no checkpoint of the training
    for step in (7, 20, 999_998, 999_999, 1_000_000, 1_000_001):  # the steps gain a digit
        state.step = step
        if step == 7:
            state.extra["best"], state.best_networks = {"step": 7}, weights
        save_checkpoint(tmp_path, state, {"metrics": 0}, 3)
    names = ["best", "step-1000000", "step-1000001", "step-999999"]
    assert sorted(path.stem for path in tmp_path.glob("*.safetensors")) == names
    assert (tmp_path / "step-5").is_dir()
    assert [checkpoint_step(find_checkpoint(tmp_path, which)) for which in ("last", "best")] == [1_000_001, 7]
    network = nn.Linear(3, 2)
    load_networks(find_checkpoint(tmp_path, "best"), {"network": network})
    assert torch.equal(network.weight, weights["network"]["weight"])


# TensorBoard


def test_scalars_equal_the_metrics(tmp_path: Path) -> None:
    folder = train(TINY, tmp_path / "run")
    expected = [
        (record["step"], name, pytest.approx(value))  # float32
        for record in folder.read_metrics()
        for name, value in record.items()
        if isinstance(value, float) and name != "seconds"
    ]
    assert len(expected) == 4 * 4
    assert tensorboard_values(folder.path / "tensorboard") == expected
    (path,) = (folder.path / "tensorboard").iterdir()
    assert sum(16 + len(record) for record in records(path.read_bytes())) == path.stat().st_size, "checksums are right"


@pytest.mark.usefixtures("images")
def test_grids_equal_those_in_samples() -> None:
    gan = train(GAN, "run")
    images = {
        event.step: np.asarray(Image.open(io.BytesIO(entry.image.encoded_image_string)).convert("L"))
        for event in events(gan.path / "tensorboard")
        for entry in event.summary.value
        if entry.tag == "samples"
    }
    assert {0, 6, 12} <= images.keys()
    for step in (0, 6, 12):
        enlarged = np.asarray(Image.open(gan.samples / f"epoch-{step // 3:04d}.png"))
        assert np.array_equal(enlarged[::14, ::14], images[step])
    assert len({pixels.tobytes() for pixels in images.values()}) == len(images)


def test_hyperparameters_equal_the_settings(tmp_path: Path) -> None:
    disturb(TINY, tmp_path / "run", 13, crash)
    assert not tensorboard_hparams(tmp_path / "run" / "tensorboard")["finished"]
    train(TINY, tmp_path / "run")
    shown = tensorboard_hparams(tmp_path / "run" / "tensorboard")
    expected = {name: value for name, value in asdict(TINY).items() if value is not None}
    assert shown["config"] == expected
    assert type(shown["config"]["bidirectional"]) is bool
    assert shown["metrics"] == ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    assert shown["finished"]
