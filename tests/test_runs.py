"""Run folders, atomic writes, checkpoints, sessions, random number generators and devices."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from reviver.errors import ConfigError, DeviceError, DivergenceError, Interrupted, ReviverError, RunFolderError
from reviver.files.atomic import atomic_folder, atomic_write, write_json, write_text
from reviver.runs import checkpoint
from reviver.runs import session as session_module
from reviver.runs.checkpoint import (
    TrainingState,
    find_checkpoint,
    load_networks,
    prune_checkpoints,
    restore_checkpoint,
    save_best,
    save_checkpoint,
)
from reviver.runs.devices import choose_device, describe_machine
from reviver.runs.folder import SCHEMA, MetricsWriter, RunFolder, refuse_existing
from reviver.runs.rng import make_rng
from reviver.runs.schema import MAX_TEXT
from reviver.runs.session import open_run, training_session
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", "lstm", LSTMConfig(), CPU)


def temporary_files(path: Path) -> list[str]:
    return [found.name for found in path.rglob("*") if found.name.endswith((".part", ".old"))]


# Folders


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
    RunFolder.create(tmp_path / "empty", "gan", LSTMConfig(), CPU)
    RunFolder.create(tmp_path / "a" / "b" / "c", "lstm", LSTMConfig(), CPU)
    assert RunFolder.open(str(tmp_path / "empty")).kind == "gan"
    assert RunFolder.open(tmp_path / "a" / "b" / "c").kind == "lstm"


def make_file(path: Path) -> None:
    path.write_text("precious")


def make_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("precious")


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_link_to_empty_folder(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("make", [make_file, make_full_folder, make_dangling_link, make_link_to_empty_folder])
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


def test_folder_with_only_an_unfinished_run_json_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.part").write_text('{"sche')
    RunFolder.create(tmp_path / "run", "lstm", LSTMConfig(), CPU)
    assert not temporary_files(tmp_path)


def test_folder_below_a_file_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(RunFolderError, match="a part of this path is a file; choose another folder"):
        RunFolder.create(tmp_path / "file" / "run", "lstm", LSTMConfig(), CPU)
    assert (tmp_path / "file").read_text() == "precious"


def test_missing_folder_and_folder_without_a_run_raise_different_errors(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="nothing: does not exist; give the folder that a train command wrote"):
        RunFolder.open(tmp_path / "nothing")
    with pytest.raises(RunFolderError, match=r"has no run\.json, so it is not a run folder"):
        RunFolder.open(tmp_path)


def test_run_of_another_kind_is_refused(folder: RunFolder) -> None:
    with pytest.raises(
        RunFolderError, match="run: holds a run of kind 'lstm', not 'gan'; use the reviver lstm commands"
    ):
        RunFolder.open(folder.path, "gan")


@pytest.mark.parametrize("schema", [0, SCHEMA + 1])
def test_other_schema_is_refused(schema: int, folder: RunFolder) -> None:
    change_record(folder, schema=schema)
    with pytest.raises(
        RunFolderError,
        match=rf"run\.json: has schema {schema}, and this Reviver reads only schema {SCHEMA}; use the version .* wrote it",
    ):
        RunFolder.open(folder.path)


def change_record(folder: RunFolder, **changes: Any) -> None:
    """Write keys to run.json without validation."""
    (folder.path / "run.json").write_text(json.dumps(folder.record | changes))


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


@given(content=st.binary(max_size=60))
def test_arbitrary_bytes_in_run_json_raise_run_folder_error(content: bytes, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("run")
    (path / "run.json").write_bytes(content)
    with pytest.raises(RunFolderError):
        RunFolder.open(path)


def test_status_is_written_at_once(folder: RunFolder) -> None:
    folder.set_status("finished", seconds=1.5)
    record = RunFolder.open(folder.path).record
    assert (record["status"], record["seconds"]) == ("finished", 1.5)
    assert record["updated"] >= record["started"]


@pytest.mark.parametrize(
    "damaged",
    [
        *({"rollbacks": value} for value in (3, [3], [{}], [{"step": "x", "quantity": "train loss", "back_to": 1}])),
        {"status": 3},
        {"status": "finished"},
        {"seconds": "long"},
        {"versions": {"torch": 2}},
        {"hardware": "fast"},
        {"hardware": {"threads": -1, "processor": "x", "device": "cpu", "system": "y"}},
        {"changes": {"threads": [1, 2]}},
        {"measured": {}},
        {"extractor_sha256": None},
        {"extractor_sha256": "0" * 63},
        {"status": "done"},
        {"warmup": 3},
        {"versions": {"two\nlines": 3}},
        {"changes": [{"threads": [1, 2, 3]}]},
        {"changes": [{"at": "2026-11-25", "compiler": ["gcc", "clang"]}]},
        {"error": "x" * (MAX_TEXT + 1)},
        {"seconds": True},
        {"command": ["reviver"]},
        {"hardware": {"threads": 1, "processor": "x", "device": "cpu", "system": "y", "cooling": "air"}},
    ],
)
def test_invalid_key_in_run_json_raises_and_is_never_written(damaged: dict[str, Any], folder: RunFolder) -> None:
    change_record(folder, **damaged)
    wrong = "seconds" if damaged == {"status": "finished"} else next(iter(damaged))
    with pytest.raises(
        RunFolderError, match=rf"run\.json: {wrong}[.\\\w]* .*; the file is damaged, restore it or train"
    ) as caught:
        RunFolder.open(folder.path)
    assert "\n" not in str(caught.value)
    before = (folder.path / "run.json").read_bytes()
    with pytest.raises(ValidationError):
        folder.save_record(**damaged)
    assert (folder.path / "run.json").read_bytes() == before, "an invalid record must not be written"


@pytest.mark.parametrize("damaged", [None, [], {}, {"name": "x", "sha256": "y", "images": -1}, {"name": 3}])
def test_invalid_image_data_in_run_json_raises(damaged: Any, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "gan", GANConfig(), CPU)
    change_record(folder, data=damaged)
    with pytest.raises(RunFolderError, match=r"run\.json: data(\.\w+)? (must be|is missing).*; the file is damaged"):
        RunFolder.open(folder.path)


# Metrics


def write_records(folder: RunFolder, *records: dict[str, Any]) -> MetricsWriter:
    writer = MetricsWriter(folder)
    for record in records:
        writer.write("metrics", record)
    writer.sync()
    writer.close()
    return writer


def test_metrics_round_trip(folder: RunFolder) -> None:
    assert folder.read_records("metrics") == []
    records = [{"step": 1, "loss": 0.1 + 0.2}, {"step": 2, "loss": 1e-300, "note": "größer"}]
    assert write_records(folder, *records).counts == {"metrics": 2}
    assert folder.read_records("metrics") == records
    writer = write_records(folder, {"step": 3, "loss": 1.0})
    assert writer.counts == {"metrics": 3}
    assert folder.read_records("metrics") == [*records, {"step": 3, "loss": 1.0}]
    assert list((folder.path / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_numbers_become_null(value: float, folder: RunFolder) -> None:
    write_records(folder, {"step": 1, "loss": value})
    assert folder.read_records("metrics") == [{"step": 1, "loss": None}]


@pytest.mark.parametrize("truncated", ["{", '{"step": 3, "lo', '{"step": 3}', "\0\0\0", "ÿ"])
def test_truncated_last_line_is_skipped(truncated: str, folder: RunFolder) -> None:
    write_records(folder, {"step": 1}, {"step": 2})
    with folder.records_path("metrics").open("a") as file:
        file.write(truncated)
    assert folder.read_records("metrics") == [{"step": 1}, {"step": 2}]
    folder.truncate_records("metrics", 2)
    write_records(folder, {"step": 3})
    assert folder.read_records("metrics") == [{"step": 1}, {"step": 2}, {"step": 3}]


@pytest.mark.parametrize("damaged", ["{", "", "3", "[1]", "[" * 100_000, "\0"])
def test_damaged_line_before_the_last_raises(damaged: str, folder: RunFolder) -> None:
    folder.records_path("metrics").write_text(f'{{"step": 1}}\n{damaged}\n{{"step": 3}}\n')
    with pytest.raises(
        RunFolderError, match=r"metrics\.jsonl: line 2: cannot be read \(.+\); the file is damaged, restore it or"
    ):
        folder.read_records("metrics")


SCORES = dict.fromkeys(("fid", "kid", "precision", "recall", "density", "coverage", "class_kl", "spacing"), 0.5)
NAMES = {"data": "mnist", "extractor": "some", "extractor_sha256": "0" * 64}
LSTM_COUNTS = {"step": 3, "epoch": 1, "sequences": 48}
GAN_LOSSES = {"generator_loss": None, "discriminator_loss": 0.7}
LINES: dict[str, dict[str, Any]] = {
    "lstm": dict.fromkeys(("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"), 0.1)
    | LSTM_COUNTS,
    "gan": {"step": 2, "epoch": 0.5, "probability_real": 0.6, "probability_fake": 1, **GAN_LOSSES},
    "scores": {
        "step": 2,
        "epoch": 1,
        "num_samples": 9,
        "k": 5,
        "class_fractions": [1.0],
        "fid_ratio": None,
        "warning": None,
        **NAMES,
    },
}
LINES["scores"] |= SCORES | {"real_baseline": SCORES}
LINES["lstm"]["seconds"] = LINES["gan"]["seconds"] = 0.4
FOREIGN = (None, True, "1", [], {}, -1, 0.5, [None], {"fid": 1})


def read(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    return folder.read_scores() if name == "scores" else folder.read_metrics()


@pytest.mark.parametrize("case", LINES)
def test_line_with_a_missing_invalid_or_unknown_key_raises(case: str, folder: RunFolder) -> None:
    name, record = "scores" if case == "scores" else "metrics", LINES[case]
    folder.record |= {"kind": "lstm" if case == "lstm" else "gan"}
    path = folder.records_path(name)
    path.write_text(json.dumps(record) + "\n")
    assert read(folder, name) == [record]
    for key in record:
        path.write_text(
            f"{json.dumps(record)}\n{json.dumps({other: record[other] for other in record if other != key})}\n"
        )
        with pytest.raises(
            RunFolderError, match=rf"{name}\.jsonl: line 2: {key} is missing; the file is damaged, restore it or"
        ):
            read(folder, name)
        problems = []
        for foreign in FOREIGN:
            path.write_text(json.dumps(record | {key: foreign}) + "\n")
            with contextlib.suppress(RunFolderError):
                read(folder, name)
                continue
            with pytest.raises(RunFolderError, match=rf"{name}\.jsonl: line 1: {key}[.\w]* .*; the file is damaged"):
                read(folder, name)
            problems.append(foreign)
        assert len(problems) >= 5, f"{key}: only {problems} are refused"
    for unknown in ("warmup", "", "two\nlines", "a" * 10_000):
        path.write_text(json.dumps(record | {unknown: 1}) + "\n")
        with pytest.raises(
            RunFolderError, match=rf"{name}\.jsonl: line 1: .* ?is unknown; .*; the file is dam"
        ) as caught:
            read(folder, name)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < len(str(path)) + 200


@pytest.mark.parametrize("number", [str(2**63), f"-{2**63}", "9" * 5000, "NaN", "Infinity", "-1e999"])
def test_number_out_of_range_raises_with_line_and_key(number: str, folder: RunFolder) -> None:
    good = json.dumps(LINES["lstm"])
    bad = good.replace('"train_loss": 0.1', f'"train_loss": {number}')
    folder.records_path("metrics").write_text(f"{good}\n{bad}\n")
    with pytest.raises(
        RunFolderError,
        match=r"metrics\.jsonl: line 2: cannot .* (number|integer) .*, in train_loss\); the file is damaged",
    ):
        folder.read_metrics()


def test_line_of_a_curriculum_run_requires_length(folder: RunFolder) -> None:
    folder.record["config"] = {"curriculum": True}
    folder.records_path("metrics").write_text(json.dumps(LINES["lstm"]) + "\n")
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl: line 1: length is missing; "):
        folder.read_metrics()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_truncate_records_keeps_the_first_lines(count: int, folder: RunFolder) -> None:
    write_records(folder, {"step": 1}, {"step": 2}, {"step": 3})
    folder.truncate_records("metrics", count)
    assert [record["step"] for record in folder.read_records("metrics")] == [1, 2, 3][:count]
    assert not temporary_files(folder.path)


def test_truncate_records_raises_if_lines_are_missing(folder: RunFolder) -> None:
    with pytest.raises(
        RunFolderError, match=r"metrics\.jsonl: must have at least the 1 lines of the checkpoint, got 0; .* damaged"
    ):
        folder.truncate_records("metrics", 1)
    write_records(folder, {"step": 1}, {"step": 2})
    before = folder.records_path("metrics").read_bytes()
    with pytest.raises(
        RunFolderError, match=r"metrics\.jsonl: must have at least the 3 lines of the checkpoint, got 2; .* damaged"
    ):
        folder.truncate_records("metrics", 3)
    assert folder.records_path("metrics").read_bytes() == before


# Lock

HOLDER = """
import sys
import time
from reviver.runs.folder import RunFolder

with RunFolder.open(sys.argv[1]).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(folder: RunFolder) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its stdin ends."""
    command = [sys.executable, "-c", HOLDER, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_lock_excludes_other_processes_until_the_holder_dies(folder: RunFolder, holder: subprocess.Popen[str]) -> None:
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
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with folder.locked():
        pass


def test_lock_is_released(folder: RunFolder) -> None:
    for _ in range(2):
        with folder.locked():
            pass


# Atomic writes


class Failure(Exception):
    """Failure in the middle of a write."""


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_text(path, "old")

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("ne")
            assert path.read_text() == "old", "the old file exists until the new one is complete"
            raise Failure

    with pytest.raises(Failure):
        write()
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["value.json"]
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [found.name for found in tmp_path.iterdir()] == ["value.json"]


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}])
def test_non_finite_json_keeps_the_old_file(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, value)
    assert json.loads(path.read_text()) == {"a": 1}
    assert not temporary_files(tmp_path)


def make_old_folder(path: Path) -> None:
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
        (temporary / "b").write_text("old")


def read_folder(path: Path) -> dict[str, str]:
    return {found.name: found.read_text() for found in path.iterdir()}


def test_atomic_folder_replaces_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    make_old_folder(path)
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("new")
        assert read_folder(path) == {"a": "old", "b": "old"}
    assert read_folder(path) == {"a": "new"}
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_failed_write_keeps_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    make_old_folder(path)

    def write() -> None:
        with atomic_folder(path) as temporary:
            (temporary / "a").write_text("new")
            raise Failure

    with pytest.raises(Failure):
        write()
    assert read_folder(path) == {"a": "old", "b": "old"}
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_failed_rename_keeps_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder"
    make_old_folder(path)
    rename = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunFolderError, match=r"folder: cannot be written \(Input/output error\)"):
        make_old_folder(path)
    assert read_folder(path) == {"a": "old", "b": "old"}
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_leftover_temporary_files_do_not_block_writes(tmp_path: Path) -> None:
    (tmp_path / ".folder.part").mkdir()
    (tmp_path / ".folder.part" / "truncated").write_text("truncated")
    (tmp_path / ".value.json.part").write_text("truncated")
    make_old_folder(tmp_path / "folder")
    write_text(tmp_path / "value.json", "{}")
    assert read_folder(tmp_path / "folder") == {"a": "old", "b": "old"}
    assert sorted(found.name for found in tmp_path.iterdir()) == ["folder", "value.json"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device.*free some space .* --resume"),
        (errno.EDQUOT, "quota .* --resume"),
        (errno.EACCES, "Permission denied.*choose a folder that you may write to"),
        (errno.EROFS, "Read-only file system.*choose a folder that you may write to"),
        (errno.EIO, "Input/output error.*choose another folder"),
    ],
)
def test_write_error_names_the_remedy(number: int, remedy: str, tmp_path: Path) -> None:
    def write() -> None:
        with atomic_write(tmp_path / "file"):
            raise OSError(number, os.strerror(number))

    with pytest.raises(RunFolderError, match=f"file: cannot be written .*{remedy}") as caught:
        write()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


FULL_DISK = """
import resource, signal, sys
from pathlib import Path

import torch
from reviver.errors import RunFolderError
from reviver.runs.checkpoint import TrainingState, save_checkpoint

network = torch.nn.Linear(30, 30)
state = TrainingState({"network": network}, {"network": torch.optim.Adam(network.parameters())}, step=1)
save_checkpoint(Path(sys.argv[1]), state, {"metrics": 0}, 2)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
state.step = 2
try:
    save_checkpoint(Path(sys.argv[1]), state, {"metrics": 0}, 2)
except RunFolderError as error:
    print(error)
"""


def test_full_disk_raises_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    """A limit on the size of files simulates a full disk: a write fails in the middle."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "step-000002: cannot be written (File too large)" in process.stdout
    assert find_checkpoint(tmp_path, "last").name == "step-000001"
    load_networks(find_checkpoint(tmp_path, "last"), {"network": nn.Linear(30, 30)})
    assert sorted(found.name for found in tmp_path.iterdir()) == ["last.json", "step-000001"]


# Checkpoints


def small_state(seed: int = 0) -> TrainingState:
    """Return a state with every kind of content, after two updates."""
    torch.manual_seed(seed)
    network, other = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizers = {
        "network": torch.optim.RMSprop(network.parameters()),
        "other": torch.optim.Adam(other.parameters(), fused=True),
    }
    state = TrainingState(
        networks={"network": network, "other": other},
        optimizers=optimizers,
        rngs={"noise": make_rng(seed, "noise")},
        tensors={"history": torch.zeros(3)},
    )
    for _ in range(2):
        update(state)
    return state


def best_at(step: int) -> dict[str, Any]:
    return {"step": step, "epoch": 1, "length": 5, "validation_accuracy": 0.5, "validation_loss": 0.25}


def update(state: TrainingState) -> None:
    x = torch.randn(4, 3, generator=state.rngs["noise"])
    loss = state.networks["other"](state.networks["network"](x)).pow(3).sum()
    for optimizer in state.optimizers.values():
        optimizer.zero_grad()
    loss.backward()
    for optimizer in state.optimizers.values():
        optimizer.step()
    state.tensors["history"][state.step % 3] = loss.detach()
    state.step += 1
    state.batch += 1
    state.extra["best"] = best_at(state.step)


def assert_same_state(first: TrainingState, second: TrainingState) -> None:
    for name, network in first.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(second.networks[name].state_dict()[key], value), f"{name}/{key}"
    for name, optimizer in first.optimizers.items():
        first_state, second_state = (opt.state_dict()["state"] for opt in (optimizer, second.optimizers[name]))
        assert first_state.keys() == second_state.keys()
        for index, slots in first_state.items():
            assert slots.keys() == second_state[index].keys()
            for slot, value in slots.items():
                assert torch.equal(second_state[index][slot], value), f"{name}/{index}/{slot}"
    for name, rng in first.rngs.items():
        assert torch.equal(second.rngs[name].get_state(), rng.get_state())
    for name, tensor in first.tensors.items():
        assert torch.equal(second.tensors[name], tensor)
    assert (first.epoch, first.batch, first.step) == (second.epoch, second.batch, second.step)
    assert (first.seconds, first.extra) == (second.seconds, second.extra)


def test_checkpoint_restores_the_whole_state(tmp_path: Path) -> None:
    state = small_state()
    state.epoch, state.seconds = 7, 12.5
    save_checkpoint(tmp_path, state, {"metrics": 42}, 2)
    fresh = small_state(seed=1)
    assert restore_checkpoint(tmp_path, fresh) == {"metrics": 42}
    assert_same_state(state, fresh)
    update(state)
    update(fresh)
    assert_same_state(state, fresh)
    assert not temporary_files(tmp_path)


def test_state_before_the_first_update_can_be_saved(tmp_path: Path) -> None:
    network = nn.Linear(2, 2)
    state = TrainingState({"network": network}, {"network": torch.optim.Adam(network.parameters())})
    save_checkpoint(tmp_path, state, {"metrics": 0}, 2)
    assert restore_checkpoint(tmp_path, state) == {"metrics": 0}


def test_restore_without_a_checkpoint_changes_nothing(tmp_path: Path) -> None:
    state, untouched = small_state(), small_state()
    assert restore_checkpoint(tmp_path, state) == {"metrics": 0}
    assert_same_state(state, untouched)
    for which in ("last", "best"):
        with pytest.raises(RunFolderError, match=f"has no {which} checkpoint yet; continue training with --resume"):
            find_checkpoint(tmp_path / "checkpoints", which)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite_start(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"\xff" * 32 + content[32:])


def remove(path: Path) -> None:
    path.unlink()


def write_list(path: Path) -> None:
    path.write_text("[1, 2]")


CHECKPOINT_FILES = (
    "step-000002/networks.safetensors",
    "step-000002/training.safetensors",
    "step-000002/state.json",
    "last.json",
)
DAMAGES = [(name, damage) for name in CHECKPOINT_FILES for damage in (cut, empty, overwrite_start, remove, write_list)]
DAMAGES.remove(("last.json", remove))  # without a pointer there is no checkpoint


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_damaged_checkpoint_raises(name: str, damage: Callable[[Path], None], tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    damage(tmp_path / name)
    with pytest.raises(RunFolderError, match=f"{Path(name).name}: .* damaged, restore it or train again") as caught:
        restore_checkpoint(tmp_path, small_state())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*CHECKPOINT_FILES[:3], "step-000002/checksums.json"])
def test_any_flipped_bit_is_detected(name: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    path = tmp_path / name
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), max(1, 8 * len(content) // 50)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(RunFolderError, match=r"damaged, restore it or train again"):
            restore_checkpoint(tmp_path, small_state())
    path.write_bytes(content)
    assert restore_checkpoint(tmp_path, small_state()) == {"metrics": 0}


def test_flipped_bit_in_the_best_weights_is_detected(tmp_path: Path) -> None:
    save_best(tmp_path, 7, {"network": nn.Linear(3, 2).state_dict()})
    path = find_checkpoint(tmp_path, "best") / "networks.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    with pytest.raises(
        RunFolderError, match=r"networks\.safetensors: has changed since it was saved, its checksum differs"
    ):
        load_networks(path.parent, {"network": nn.Linear(3, 2)})


@pytest.mark.parametrize("pointer", ['{"step": "2"}', '{"step": true}', '{"step": -1}', '{"step": null}', "{}"])
def test_invalid_pointer_raises(pointer: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    (tmp_path / "last.json").write_text(pointer)
    with pytest.raises(RunFolderError, match=r"last\.json: step (must be|is missing).*; the file is damaged"):
        restore_checkpoint(tmp_path, small_state())


def test_pointer_to_a_missing_checkpoint_raises(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    shutil.rmtree(tmp_path / "step-000002")
    with pytest.raises(RunFolderError, match=r"networks\.safetensors: cannot be read"):
        restore_checkpoint(tmp_path, small_state())


@pytest.mark.parametrize(
    "change",
    [
        {"extra": {"rollbacks": 3}},
        {"extra": {"rollbacks": [3]}},
        {"extra": {"best": 3}},
        {"extra": {"best": {"step": 3}}},
        {"extra": {"best": best_at(3) | {"loss": 1}}},
        {"extra": {"momentum": 1}},
        {"momentum": 1},
        {"step": 2**63 - 1 + 1e3},
        {"epoch": "x"},
        {"epoch": None},
        {"extra": 3},
        {"seconds": "long"},
        {"metrics_count": None},
        {"batch": [1]},
    ],
)
def test_invalid_state_json_raises(change: dict[str, Any], tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    path = tmp_path / "step-000002" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    path.with_name("checksums.json").unlink()
    with pytest.raises(
        RunFolderError, match=rf"state\.json: {next(iter(change))}.*; the file is damaged, restore it or"
    ):
        restore_checkpoint(tmp_path, small_state())


def test_state_of_another_training_loop_raises(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    other = small_state()
    other.extra["stage"] = 0
    with pytest.raises(RunFolderError, match=r"step-000002: does not fit this run \('stage'\)"):
        restore_checkpoint(tmp_path, other)


@pytest.mark.parametrize("key", ["epoch", "batch", "step", "seconds", "metrics_count", "extra"])
def test_missing_key_in_state_json_raises(key: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    path = tmp_path / "step-000002" / "state.json"
    position = json.loads(path.read_text())
    del position[key]
    path.write_text(json.dumps(position))
    path.with_name("checksums.json").unlink()
    with pytest.raises(RunFolderError, match=rf"state\.json: {key} is missing; the file is damaged"):
        restore_checkpoint(tmp_path, small_state())


def test_weights_of_another_network_raise(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    with pytest.raises(RunFolderError, match=r"step-000002: its weights do not fit the network of run\.json") as caught:
        load_networks(tmp_path / "step-000002", {"network": nn.Linear(3, 5)})
    assert "\n" not in str(caught.value)
    with pytest.raises(RunFolderError, match=r"its weights do not fit the critic of run\.json"):
        load_networks(tmp_path / "step-000002", {"critic": nn.Linear(3, 2)})


def test_pickle_is_never_loaded(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_state(), {"metrics": 0}, 2)
    torch.save({"network/weight": torch.zeros(2, 3)}, tmp_path / "step-000002" / "networks.safetensors")
    (tmp_path / "step-000002" / "checksums.json").unlink()
    with pytest.raises(RunFolderError, match=r"networks\.safetensors: cannot be read"):
        restore_checkpoint(tmp_path, small_state())


def steps_on_disk(path: Path) -> list[int]:
    return sorted(int(found.name.removeprefix("step-")) for found in path.glob("step-*"))


def test_old_checkpoints_are_removed_except_the_best(tmp_path: Path) -> None:
    state = small_state()
    weights = {"network": state.networks["network"].state_dict()}
    for step in (10, 20, 30, 40):
        state.step = step
        if step == 10:
            save_best(tmp_path, 7, weights)
        save_checkpoint(tmp_path, state, {"metrics": 0}, 2)
    assert steps_on_disk(tmp_path) == [7, 30, 40]
    assert find_checkpoint(tmp_path, "best").name == "step-000007"
    assert find_checkpoint(tmp_path, "last").name == "step-000040"
    save_best(tmp_path, 40, weights)  # the best is the last: it must remain resumable
    prune_checkpoints(tmp_path, 2)
    assert steps_on_disk(tmp_path) == [30, 40]
    assert restore_checkpoint(tmp_path, small_state()) == {"metrics": 0}
    for step in (50, 60, 70):
        state.step = step
        save_checkpoint(tmp_path, state, {"metrics": 0}, 2)
    assert steps_on_disk(tmp_path) == [40, 60, 70]


def test_newest_checkpoints_are_kept_when_steps_gain_a_digit(tmp_path: Path) -> None:
    state = small_state()
    for step in (999_998, 999_999, 1_000_000, 1_000_001):
        state.step = step
        save_checkpoint(tmp_path, state, {"metrics": 0}, 2)
    assert steps_on_disk(tmp_path) == [1_000_000, 1_000_001]


@pytest.mark.parametrize("keep", [1, 3])
def test_keep_checkpoints_sets_the_number_of_checkpoints(keep: int, tmp_path: Path) -> None:
    state = small_state()
    for step in (10, 20, 30, 40):
        state.step = step
        save_checkpoint(tmp_path, state, {"metrics": 0}, keep)
    assert steps_on_disk(tmp_path) == [10, 20, 30, 40][-keep:]


def test_session_recovers_interrupted_writes(folder: RunFolder) -> None:
    """Test every leftover in one folder; tests/test_crashes.py makes them by real crashes."""
    state = small_state()
    state.extra.clear()
    save_checkpoint(folder.checkpoints, state, {"metrics": 0}, 2)
    (folder.checkpoints / "step-000002").rename(folder.checkpoints / ".step-000002.old")
    shutil.copytree(
        folder.checkpoints / ".step-000002.old", folder.checkpoints / "step-000003"
    )  # no pointer refers to it
    (folder.checkpoints / ".step-000004.part").mkdir()
    save_best(folder.checkpoints, 4, {"network": state.networks["network"].state_dict()})
    folder.samples.mkdir()
    for path in (folder.path / ".run.json.part", folder.samples / ".epoch-0001.png.part"):
        path.write_text("truncated")
    load_networks(find_checkpoint(folder.checkpoints, "last"), small_state().networks)
    with training_session(folder, state, total=1, description="", progress=False):
        assert steps_on_disk(folder.checkpoints) == [2]
        assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["last.json", "step-000002"]
        assert not temporary_files(folder.path)


def test_crash_before_the_pointer_is_written_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = small_state()
    save_checkpoint(tmp_path, state, {"metrics": 5}, 2)
    saved = small_state()
    update(state)

    def fail(path: Path, value: Any, **_: Any) -> None:
        raise Failure

    monkeypatch.setattr(checkpoint, "write_json", fail)
    with pytest.raises(Failure):
        save_checkpoint(tmp_path, state, {"metrics": 6}, 2)
    monkeypatch.undo()
    fresh = small_state(seed=1)
    assert restore_checkpoint(tmp_path, fresh) == {"metrics": 5}
    assert_same_state(saved, fresh)


# Sessions


def test_non_finite_weight_is_never_saved(folder: RunFolder) -> None:
    state = small_state()

    def run() -> None:
        with training_session(folder, state, total=1, description="", progress=False) as session:
            session.save()
            state.step = 3
            state.networks["other"][1].running_var.fill_(float("inf"))
            session.save()

    with pytest.raises(
        DivergenceError, match="step 3: a weight of the other is not finite; the last good checkpoint is"
    ):
        run()
    assert folder.status == "failed"
    assert find_checkpoint(folder.checkpoints, "last").name == "step-000002"


def test_failed_checkpoint_ends_the_run(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RunFolderError("the disk is full")

    monkeypatch.setattr(session_module, "save_checkpoint", refuse)
    with (
        pytest.raises(RunFolderError, match="the disk is full"),
        training_session(folder, small_state(), total=1, description="", progress=False) as session,
    ):
        session.save()
    record = RunFolder.open(folder.path).record
    assert (record["status"], record["error"]) == ("failed", "the disk is full")


def test_session_records_the_final_status(folder: RunFolder) -> None:
    state = small_state()
    with training_session(folder, state, total=1, description="", progress=False) as session:
        assert RunFolder.open(folder.path).status == "running"
        session.log(epoch=1, loss=0.5)
        session.save()
    assert RunFolder.open(folder.path).status == "finished"
    (record,) = folder.read_records("metrics")
    assert (record["step"], record["epoch"], record["loss"]) == (2, 1, 0.5)

    def stopped_run() -> None:
        with training_session(folder, state, total=1, description="", progress=False) as session:
            assert not session.stop_requested
            os.kill(os.getpid(), signal.SIGTERM)
            assert session.stop_requested
            session.stop()

    with pytest.raises(Interrupted, match="stopped at step 2 by SIGTERM and saved"):
        stopped_run()
    assert RunFolder.open(folder.path).status == "interrupted"
    with (
        pytest.raises(Failure),
        training_session(folder, state, total=1, description="", progress=False),
    ):
        raise Failure
    record = RunFolder.open(folder.path).record
    assert (record["status"], record["error"]) == ("failed", "Failure")


def test_seconds_accumulate_over_sessions(folder: RunFolder) -> None:
    state = small_state()
    state.seconds = 1000.0
    save_checkpoint(folder.checkpoints, state, {"metrics": 0}, 2)
    with training_session(folder, small_state(), total=1, description="", progress=False) as session:
        assert session.seconds >= 1000.0
        session.save()
    assert state.seconds <= json.loads((folder.checkpoints / "step-000002" / "state.json").read_text())["seconds"]


def test_scores_have_their_own_file_and_are_truncated_on_resume(folder: RunFolder) -> None:
    state = small_state()
    arguments = {"total": 1, "description": "", "progress": False, "files": ("metrics", "scores")}
    with training_session(folder, state, **arguments) as session:
        session.log(loss=0.5)
        session.log_scores(fid=3.5, real_baseline={"fid": 2.0})
        session.save()
        session.log_scores(fid=2.5)  # after the last checkpoint
    assert [record["fid"] for record in folder.read_records("scores")] == [3.5, 2.5]
    with training_session(folder, state, **arguments) as session:
        assert folder.read_records("scores") == [{"step": 2, "fid": 3.5, "real_baseline": {"fid": 2.0}}]
        assert len(folder.read_records("metrics")) == 1
        session.log_scores(fid=2.25)
        session.save()
    assert [record["fid"] for record in folder.read_records("scores")] == [3.5, 2.25]
    assert restore_checkpoint(folder.checkpoints, state, ("metrics", "scores")) == {"metrics": 1, "scores": 2}
    with pytest.raises(RunFolderError, match=r"step-000002: does not fit this run .*other_count"):
        restore_checkpoint(folder.checkpoints, state, ("other",))


def test_evaluation_time_is_not_training_time(folder: RunFolder) -> None:
    for times in (1, 2):
        with training_session(folder, small_state(), total=1, description="", progress=False) as session:
            before = session.seconds
            with session.evaluating():
                time.sleep(0.3)
            assert session.seconds - before < 0.2
            assert session.seconds >= before
        record = RunFolder.open(folder.path).record
        assert 0.3 * times <= record["eval_seconds"] < 0.3 * times + 0.2
        assert record["seconds"] < 0.2


def test_resume_with_more_epochs_updates_the_record(folder: RunFolder) -> None:
    open_run(folder.path, "lstm", LSTMConfig(epochs=150), CPU, resume=True)
    assert RunFolder.open(folder.path).record["config"]["epochs"] == 150


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda config: config.pop("seed"), "^seed is missing; the run folder was damaged or written by another"),
        (lambda config: config.update(warmup=3), "^warmup is unknown; .*the run folder was"),
        (lambda config: config.update(epochs="x"), "^epochs must be an integer, got 'x'; the run folder was"),
    ],
)
def test_resume_with_damaged_settings_is_refused(
    damage: Callable[[dict[str, Any]], None], message: str, folder: RunFolder
) -> None:
    damage(folder.record["config"])
    folder.save_record()
    before = (folder.path / "run.json").read_bytes()
    with pytest.raises(ConfigError, match=message):
        open_run(folder.path, "lstm", LSTMConfig(), CPU, resume=True)
    assert (folder.path / "run.json").read_bytes() == before


# Random number generators and devices


def random_numbers(seed: int, purpose: str) -> list[float]:
    return torch.rand(4, generator=make_rng(seed, purpose)).tolist()


def test_rng_depends_only_on_seed_and_purpose(golden: Callable[..., None]) -> None:
    assert random_numbers(0, "weights") == random_numbers(0, "weights")
    purposes = ("weights", "split", "dropout", "order/0", "order/1", "order/10")
    numbers = {
        (seed, purpose): tuple(random_numbers(seed, purpose)) for seed in (0, 1, 2**63 - 1) for purpose in purposes
    }
    assert len(set(numbers.values())) == len(numbers)
    golden("rngs", {f"{seed}/{purpose}": list(values) for (seed, purpose), values in numbers.items()}, relative=1e-6)


def test_rngs_are_independent_of_each_other_and_of_the_global_rng() -> None:
    before = torch.get_rng_state()
    first, second = make_rng(0, "weights"), make_rng(0, "dropout")
    torch.rand(10, generator=second)
    assert torch.rand(4, generator=first).tolist() == random_numbers(0, "weights")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["", "gpu", "tpu", "meta", "cpu:1", "cuda:x", "CPU", "xpu", "cpu "])
def test_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"^device must be one of auto, cpu, cuda, cuda:0, mps, got {name!r}"):
        choose_device(name)


def test_unavailable_device_is_refused() -> None:
    with pytest.raises(
        DeviceError, match=r"^device 'cuda:99' is not available on this machine; use --device auto or --device cpu"
    ):
        choose_device("cuda:99")


def test_cpu_is_always_available() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


def all_errors(cls: type[ReviverError] = ReviverError) -> list[type[ReviverError]]:
    return [cls, *(error for child in cls.__subclasses__() for error in all_errors(child))]


@pytest.mark.parametrize("cls", all_errors())
def test_every_error_has_an_exit_code(cls: type[ReviverError]) -> None:
    error = Interrupted("stopped", signal.SIGINT) if cls is Interrupted else cls("message")
    assert error.exit_code in (1, 2, 130)
    assert str(error) in ("message", "stopped")
