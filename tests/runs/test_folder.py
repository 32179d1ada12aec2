"""Run folders: what they record, what they refuse, their records files and their lock."""

import json
import re
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from reviver.errors import RunFolderError
from reviver.runs.devices import describe_machine
from reviver.runs.folder import MetricsWriter, RunFolder, refuse_existing
from reviver.runs.schema import MAX_TEXT, SCHEMA
from reviver.runs.session import training_session
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from tests.runs.small import CPU, small_state


def temporary_files(path: Path) -> list[str]:
    return [found.name for found in path.rglob("*") if found.name.endswith((".part", ".old"))]


def test_new_folder_records_the_run(folder: RunFolder) -> None:
    record = RunFolder.open(folder.path, "lstm").record
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
    RunFolder.create(tmp_path / "empty", "gan", LSTMConfig(), CPU)
    RunFolder.create(tmp_path / "a" / "b" / "c", "lstm", LSTMConfig(), CPU)
    assert RunFolder.open(str(tmp_path / "empty")).kind == "gan"
    assert RunFolder.open(tmp_path / "a" / "b" / "c").kind == "lstm"
    assert not temporary_files(tmp_path)


EXISTING: dict[str, Callable[[Path], Any]] = {
    "a file": lambda path: path.write_text("precious"),
    "a full folder": lambda path: (path.mkdir(), (path / "notes.txt").write_text("precious")),
    "a link to nothing": lambda path: path.symlink_to(path.with_name("nowhere")),
    "a link to an empty folder": lambda path: (path.with_name("else").mkdir(), path.symlink_to(path.with_name("else"))),
}


@pytest.mark.parametrize("make", EXISTING.values(), ids=EXISTING)
def test_existing_path_is_never_overwritten(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "run"
    make(path)
    before = sorted(tmp_path.rglob("*"))
    message = "run: exists already and is never overwritten; choose another --out, or go on with --resume"
    with pytest.raises(RunFolderError, match=message):
        refuse_existing(path)
    with pytest.raises(RunFolderError, match=message):
        RunFolder.create(path, "lstm", LSTMConfig(), CPU)
    assert sorted(tmp_path.rglob("*")) == before


def test_paths_that_are_no_run_are_refused(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(RunFolderError, match="a part of this path is a file; choose another folder"):
        RunFolder.create(tmp_path / "file" / "run", "lstm", LSTMConfig(), CPU)
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(RunFolderError, match="nothing: does not exist; give the folder that a train command wrote"):
        RunFolder.open(tmp_path / "nothing")
    with pytest.raises(RunFolderError, match=r"has no run\.json, so it is not a run folder"):
        RunFolder.open(tmp_path)
    with pytest.raises(
        RunFolderError, match="run: holds a run of kind 'lstm', not 'gan'; use the reviver lstm commands"
    ):
        RunFolder.open(folder.path, "gan")
    (folder.path / "link").symlink_to(tmp_path)
    with pytest.raises(RunFolderError, match=r"run: .*; remove it from the run folder"):
        RunFolder.open(folder.path)


def change_record(folder: RunFolder, **changes: Any) -> None:
    """Write keys to run.json without validation."""
    (folder.path / "run.json").write_text(json.dumps(folder.record | changes))


@pytest.mark.parametrize("schema", [0, SCHEMA + 1])
def test_other_schema_is_refused(schema: int, folder: RunFolder) -> None:
    change_record(folder, schema=schema)
    problem = rf"has schema {schema}, and this Reviver reads only schema {SCHEMA}; use the version .* wrote it"
    with pytest.raises(RunFolderError, match=rf"run\.json: {problem}"):
        RunFolder.open(folder.path)


DAMAGED_RECORDS = {
    "empty": b"",
    "cut": b'{"schema": 1, "kind": "ls',
    "no JSON": b"run",
    "no object": b"[1, 2]",
    "no text": b"\xff\xfe\x00\x01",
    "deep": b"[" * 100_000,
    "huge": b" " * (1 << 21),
    "no schema": b'{"kind": "lstm", "config": {}}',
    "schema is text": b'{"schema": "1", "kind": "lstm", "config": {}}',
    "schema is a flag": b'{"schema": true, "kind": "lstm", "config": {}}',
    "no kind": b'{"schema": 1, "config": {}}',
    "odd kind": b'{"schema": 1, "kind": "rnn", "config": {}}',
    "no config": b'{"schema": 1, "kind": "lstm"}',
    "config is a list": b'{"schema": 1, "kind": "lstm", "config": []}',
}


@pytest.mark.parametrize("content", DAMAGED_RECORDS.values(), ids=DAMAGED_RECORDS)
def test_damaged_run_json_raises(content: bytes, folder: RunFolder) -> None:
    (folder.path / "run.json").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"run\.json: .*(restore|train again)") as caught:
        RunFolder.open(folder.path, "lstm")
    assert "\n" not in str(caught.value)


MACHINE = {"threads": 1, "processor": "x", "device": "cpu", "system": "y"}
DAMAGED_KEYS: list[dict[str, Any]] = [
    *({"rollbacks": value} for value in (3, [3], [{}], [{"step": "x", "quantity": "train loss", "back_to": 1}])),
    *({"status": value} for value in (3, "done", "finished")),  # finished without seconds
    *({"seconds": value} for value in ("long", True)),
    *({"versions": value} for value in ({"torch": 2}, {"two\nlines": 3})),
    *({"hardware": value} for value in ("fast", MACHINE | {"threads": -1}, MACHINE | {"cooling": "air"})),
    *(
        {"changes": value}
        for value in ({"threads": [1, 2]}, [{"threads": [1, 2, 3]}], [{"compiler": ["gcc", "clang"]}])
    ),
    {"measured": {}},
    {"warmup": 3},
    {"error": "x" * (MAX_TEXT + 1)},
    {"command": ["reviver"]},
]


@pytest.mark.parametrize("damaged", DAMAGED_KEYS)
def test_invalid_key_in_run_json_raises_and_is_never_written(damaged: dict[str, Any], folder: RunFolder) -> None:
    change_record(folder, **damaged)
    wrong = "seconds" if damaged == {"status": "finished"} else next(iter(damaged))
    message = rf"run\.json: {wrong}[.\\\w]* .*; the file is damaged, restore it or train"
    with pytest.raises(RunFolderError, match=message) as caught:
        RunFolder.open(folder.path)
    assert "\n" not in str(caught.value)
    before = (folder.path / "run.json").read_bytes()
    with pytest.raises(ValidationError):
        folder.save_record(**damaged)
    assert (folder.path / "run.json").read_bytes() == before, "an invalid record must not be written"


@pytest.mark.parametrize(
    ("key", "damaged"),
    [
        *(("data", value) for value in (None, [], {}, {"name": "x", "sha256": "y", "images": -1}, {"name": 3})),
        *(("extractor_sha256", value) for value in (None, "0" * 63)),
    ],
)
def test_invalid_key_of_a_gan_in_run_json_raises(key: str, damaged: Any, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "gan", GANConfig(), CPU)
    change_record(folder, **{key: damaged})
    with pytest.raises(RunFolderError, match=rf"run\.json: {key}(\.\w+)? (must|is missing).*; the file is damaged"):
        RunFolder.open(folder.path)


def write_records(folder: RunFolder, *records: dict[str, Any]) -> MetricsWriter:
    writer = MetricsWriter(folder)
    for record in records:
        writer.write("metrics", record)
    writer.sync()
    writer.close()
    return writer


@pytest.mark.parametrize("truncated", ["{", '{"step": 3, "lo', '{"step": 3}', "\0\0\0", "ÿ"])
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
    assert not temporary_files(folder.path)


@pytest.mark.parametrize("damaged", ["{", "", "3", "[1]", "[" * 100_000, "\0"])
def test_damaged_line_before_the_last_raises(damaged: str, folder: RunFolder) -> None:
    folder.records_path("metrics").write_text(f'{{"step": 1}}\n{damaged}\n{{"step": 3}}\n')
    message = r"metrics\.jsonl: line 2: cannot be read \(.+\); the file is damaged, restore it or"
    with pytest.raises(RunFolderError, match=message):
        folder.read_records("metrics")


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


def read(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    return folder.read_scores() if name == "scores" else folder.read_metrics()


@pytest.mark.parametrize("case", LINES)
def test_line_with_a_missing_invalid_or_unknown_key_raises(case: str, folder: RunFolder) -> None:
    name, record = "scores" if case == "scores" else "metrics", LINES[case]
    folder.record |= {"kind": "lstm" if case == "lstm" else "gan"}
    path = folder.records_path(name)

    def problem(line: dict[str, Any]) -> str | None:
        """Return the problem of the second line, None if it is valid."""
        path.write_text(f"{json.dumps(record)}\n{json.dumps(line)}\n")
        try:
            found = read(folder, name)
        except RunFolderError as error:
            message = str(error)
        else:
            assert found == [record, line]
            return None
        match = re.fullmatch(rf".*{name}\.jsonl: line 2: (.*); the file is damaged, restore it or.*", message)
        assert match, message
        assert len(match[1]) < 200
        return match[1]

    assert problem(record) is None
    for key in record:
        assert problem({other: record[other] for other in record if other != key}) == f"{key} is missing"
        problems = [found for foreign in FOREIGN if (found := problem(record | {key: foreign})) is not None]
        assert all(re.match(rf"{key}[.\w]* ", each) for each in problems)
        assert len(problems) >= 5, f"{key}: only {problems}"
    for unknown in ("warmup", "", "two\nlines", "a" * 10_000):
        assert "is unknown; " in (problem(record | {unknown: 1}) or "")


@pytest.mark.parametrize("number", [str(2**63), f"-{2**63}", "9" * 5000, "NaN", "Infinity", "-1e999"])
def test_number_out_of_range_raises_with_line_and_key(number: str, folder: RunFolder) -> None:
    good = json.dumps(LINES["lstm"])
    bad = good.replace('"train_loss": 0.1', f'"train_loss": {number}')
    folder.records_path("metrics").write_text(f"{good}\n{bad}\n")
    message = r"metrics\.jsonl: line 2: cannot .* (number|integer) .*, in train_loss\); the file is damaged"
    with pytest.raises(RunFolderError, match=message):
        folder.read_metrics()


def test_line_of_a_curriculum_run_requires_length(folder: RunFolder) -> None:
    folder.record["config"] = {"curriculum": True}
    folder.records_path("metrics").write_text(json.dumps(LINES["lstm"]) + "\n")
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl: line 1: length is missing; "):
        folder.read_metrics()


def test_truncate_records_raises_if_lines_are_missing(folder: RunFolder) -> None:
    write_records(folder, {"step": 1}, {"step": 2})
    before = folder.records_path("metrics").read_bytes()
    for name, count in (("metrics", 2), ("scores", 0)):
        message = rf"{name}\.jsonl: must have at least the 3 lines of the checkpoint, got {count}; .* damaged"
        with pytest.raises(RunFolderError, match=message):
            folder.truncate_records(name, 3)
    assert folder.records_path("metrics").read_bytes() == before


def hold(path: Path, is_locked: Event) -> None:
    """Lock the folder, and live on."""
    with RunFolder.open(path).locked():
        is_locked.set()
        signal.pause()


def test_lock_excludes_other_processes_until_the_holder_dies(folder: RunFolder, server: ForkServerContext) -> None:
    assert not folder.is_training
    is_locked = server.Event()
    holder = server.Process(target=hold, args=(folder.path, is_locked), daemon=True)
    holder.start()
    assert is_locked.wait(100)
    assert folder.is_training
    with (
        pytest.raises(RunFolderError, match="run: another process is training in this folder; wait for it or choose"),
        folder.locked(),
    ):
        pytest.fail("two processes hold the lock")
    record = (folder.path / "run.json").read_bytes()
    with (
        pytest.raises(RunFolderError, match="another process is training"),
        training_session(folder, small_state(), total=1, description="", progress=False),
    ):
        pytest.fail("two processes train")
    assert (folder.path / "run.json").read_bytes() == record, "a refused process must not change anything"
    holder.kill()
    holder.join()
    assert not folder.is_training
    with folder.locked():
        pass
