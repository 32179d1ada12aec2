"""Run folders: what they record, what they refuse, their records files and their lock."""

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from pydantic import ValidationError

from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.files.atomic import recover_interrupted_writes, write_text
from reviver.run import load
from reviver.runs.distributed.world import World
from reviver.runs.environment import describe_machine
from reviver.runs.folder import MetricsWriter, RunFolder, refuse_existing
from reviver.runs.schema import MAX_TEXT, SCHEMA
from reviver.runs.session import training_session
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import train
from tests.contents import contents
from tests.lstm_runs import TINY
from tests.runs.small import CPU, small_state


def test_new_folder_records_the_run(folder: RunFolder) -> None:
    record = RunFolder.open(str(folder.path), "lstm").record
    assert record == folder.record
    assert (record["schema"], record["kind"], record["status"]) == (SCHEMA, "lstm", "running")
    assert LSTMConfig(**record["config"]) == LSTMConfig()
    assert record["versions"]["torch"] == torch.__version__
    assert record["versions"].keys() >= {"python", "reviver", "numpy", "safetensors"}
    assert record["hardware"] == describe_machine(CPU)
    assert record["command"]
    assert record["started"]
    assert (folder.kind, folder.status) == ("lstm", "running")


def test_empty_folder_and_missing_parents_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".run.json.part").write_text('{"sche')  # left by a killed process
    for path in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        RunFolder.create(path, "gan", GANConfig(), CPU)
        assert RunFolder.open(path).kind == "gan"
        recover_interrupted_writes(path)
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
        for attempt in (partial(refuse_existing, path), partial(RunFolder.create, path, "lstm", LSTMConfig(), CPU)):
            with pytest.raises(RunFolderError, match=message):
                attempt()
    assert sorted(tmp_path.rglob("*")) == before


def test_data_that_differs_between_processes_or_from_the_first_session_is_named(tmp_path: Path) -> None:
    class Two(World):
        def gather(self, value: dict[str, Any]) -> list[Any]:
            return [value, {**value, "num_images": 9} if "num_images" in value else dict.fromkeys(value, "other")]

    folder = RunFolder.create(tmp_path / "run", "gan", GANConfig(), CPU)
    data = {"name": "x", "num_images": 4, "image_shape": [1, 2, 2], "sha256": "0" * 64}
    folder.record_data("data", data, "data", "images")
    folder.record_data("data", dict(data), "data", "images")
    problem = (
        "^data: 'mnist' is not what this run began with; put the old images back to resume, or start in a new --out$"
    )
    with pytest.raises(DataError, match=problem):
        folder.record_data("data", data | {"num_images": 5}, "data", "images")
    many = RunFolder.create(tmp_path / "many", "gan", GANConfig(), CPU)
    many.record_data("data", data | {"num_images": 2**40}, "data", "images")
    with pytest.raises(DataError, match=problem):
        many.record_data("data", data | {"num_images": 2**40 + 1}, "data", "images")
    folder.world = Two()
    start = "start all with the same command, data and versions$"
    for key, value, problem in (
        ("data", data, "^data: num_images must be the same on all processes, got 4 on rank 0 and 9 on rank 1; "),
        ("extractor_sha256", "1" * 64, "^data: extractor_sha256 must be the same on all processes, got '1"),
    ):
        with pytest.raises(ConfigError, match=problem + f".*{start}"):
            folder.record_data(key, value, "data", "images")


MACHINE = {"threads": 1, "processor": "x", "device": "cpu", "system": "y"}
DAMAGED_KEYS: list[dict[str, Any]] = [
    {"rollbacks": [{"step": "x", "quantity": "train loss", "back_to": 1}]},
    *({"status": value} for value in ("done", "finished")),  # finished without seconds
    {"seconds": True},
    {"versions": {"two\nlines": 3}},
    *({"hardware": value} for value in ("fast", MACHINE | {"threads": -1}, MACHINE | {"cooling": "air"})),
    {"changes": [{"threads": [1, 2, 3]}]},
    {"warmup": 3},
    {"error": "x" * (MAX_TEXT + 1)},
    {"data": {"name": "x", "sha256": "y", "images": -1}},
    {"extractor_sha256": "0" * 63},
]


@pytest.mark.parametrize("damaged", DAMAGED_KEYS)
def test_invalid_key_in_run_json_is_refused_and_never_written(
    damaged: dict[str, Any], tmp_path: Path, same_words: Callable[..., None]
) -> None:
    folder = RunFolder.create(tmp_path / "run", "gan", GANConfig(), CPU)
    path, key = folder.record_path, next(iter(damaged))
    before = path.read_bytes()
    with pytest.raises(ValidationError):
        folder.save_record(**damaged)
    assert path.read_bytes() == before
    path.write_text(json.dumps(folder.record | damaged))
    wrong = "seconds" if damaged == {"status": "finished"} else key
    problem = rf"run\.json: {wrong}[.\\\w]* .*; the file is damaged, restore it or train"
    with pytest.raises(RunFolderError, match=problem) as caught:
        RunFolder.open(folder.path)
    assert "\n" not in str(caught.value)
    same_words(caught.value, str(damaged)[:200])


DAMAGED_RECORDS = {
    b"": "",
    b"[" * 100_000: "",
    b" " * (1 << 21): "",
    b'{"schema": true, "kind": "lstm", "config": {}}': "schema must be",
    b'{"schema": 2, "kind": "lstm", "config": {}}': "has schema 2, and this Reviver reads only schema 1",
    b'{"schema": 1, "config": {}}': "kind is missing",
    b'{"schema": 1, "kind": "rnn", "config": {}}': "kind must be",
    b'{"schema": 1, "kind": "lstm", "config": []}': "config must be",
}


def test_damaged_run_json_is_refused(folder: RunFolder, same_words: Callable[..., None]) -> None:
    for content, problem in DAMAGED_RECORDS.items():
        folder.record_path.write_bytes(content)
        with pytest.raises(RunFolderError, match=rf"run\.json: {problem}.*train again") as caught:
            RunFolder.open(folder.path, "lstm")
        assert "\n" not in str(caught.value)
        same_words(caught.value, content[:99].decode())


def write_records(folder: RunFolder, *records: dict[str, Any]) -> None:
    writer = MetricsWriter(folder)
    for record in records:
        writer.write("metrics", record)
    writer.sync()
    writer.close()


@pytest.mark.parametrize("truncated", ["{", '{"step": 3}', "\0\0\0", "ÿ"])
def test_truncated_last_line_is_skipped(truncated: str, folder: RunFolder) -> None:
    write_records(folder, {"step": 1}, {"step": 2, "loss": float("-inf"), "lr": float("nan")})
    expected = [{"step": 1}, {"step": 2, "loss": None, "lr": None}]
    with folder.records_path("metrics").open("a") as file:
        file.write(truncated)
    assert folder.read_records("metrics") == expected
    folder.truncate_records("metrics", 2)
    write_records(folder, {"step": 3})
    assert folder.read_records("metrics") == [*expected, {"step": 3}]
    folder.truncate_records("metrics", 1)
    assert folder.read_records("metrics") == expected[:1]
    for name, count in (("metrics", 1), ("scores", 0)):
        message = rf"{name}\.jsonl: must have at least the 2 lines of the checkpoint, got {count}; .* damaged"
        with pytest.raises(RunFolderError, match=message):
            folder.truncate_records(name, 2)
    assert folder.read_records("metrics") == expected[:1]


SCORES = dict.fromkeys(("fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing"), 0.5)
LINES: dict[str, dict[str, Any]] = {
    "lstm": {"step": 3, "epoch": 1, "sequences": 48, "seconds": 0.4}
    | dict.fromkeys(("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"), 0.1),
    "gan": {"step": 2, "epoch": 0.5, "probability_real": 0.6, "probability_fake": 1, "seconds": 0.4}
    | {"generator_loss": None, "discriminator_loss": 0.7},
    "scores": {"step": 2, "epoch": 1, "num_samples": 9, "k": 5, "class_fractions": [1.0], "fid_ratio": None}
    | {"warning": None, "data": "mnist", "extractor": "some", "extractor_sha256": "0" * 64}
    | {**SCORES, "real_baseline": SCORES},
}
FOREIGN = (None, True, "1", [], {}, -1, 0.5, [None], {"fid": 1})


@pytest.mark.parametrize("case", LINES)
def test_line_with_a_missing_invalid_or_unknown_key_is_refused(case: str, folder: RunFolder) -> None:
    name, record = "scores" if case == "scores" else "metrics", LINES[case]
    folder.record |= {"kind": "lstm" if case == "lstm" else "gan"}
    path = folder.records_path(name)
    read = folder.read_scores if name == "scores" else folder.read_metrics

    def problem(line: str) -> str | None:
        """Return the problem of the second line, None if it is valid."""
        path.write_text(f"{json.dumps(record)}\n{line}\n{json.dumps(record)}\n")
        try:
            assert read() == [record, json.loads(line), record]
        except RunFolderError as error:
            message = str(error)
        else:
            return None
        match = re.fullmatch(rf".*{name}\.jsonl: line 2: (.{{1,200}}); the file is damaged, .*", message)
        assert match, message
        return match[1]

    assert problem(json.dumps(record)) is None
    for key in record:
        assert problem(json.dumps({other: record[other] for other in record if other != key})) == f"{key} is missing"
        problems = [found for foreign in FOREIGN if (found := problem(json.dumps(record | {key: foreign}))) is not None]
        assert all(re.match(rf"{key}[.\w]* ", each) for each in problems)
        assert len(problems) >= 5, f"{key}: only {problems}"
    for unknown in ("warmup", "two\nlines", "a" * 10_000):
        assert "is unknown; " in (problem(json.dumps(record | {unknown: 1})) or "")
    for damaged in ("{", "", "[1]", "[" * 100_000, "\0"):
        assert "cannot be read (" in (problem(damaged) or "")
    for number in (str(2**63), "9" * 5000, "NaN", "-1e999"):
        damaged = json.dumps(record | {"step": 777}).replace("777", number)
        assert re.match(r"cannot be read \(|step must be ", problem(damaged) or ""), number


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
    assert contents(train(TINY, tmp_path / "run", resume=True).path) == expected
