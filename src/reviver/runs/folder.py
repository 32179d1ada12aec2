"""The run folder: all results of a training run.

run.json        settings, seed, versions, hardware, command, status
metrics.jsonl   metrics, one record per line
scores.jsonl    scores of a GAN, one record per line, if it is evaluated while training
checkpoints/    see checkpoint.py
samples/        images generated while training
snapshots/      tensors after some updates, step-N.safetensors; train/*/snapshots.py say which
tensorboard/    the same metrics and scores, for TensorBoard
run.lock        locked by the process that is training

Of several processes that train together, only rank 0 writes.
"""

import logging
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import Timeout

from reviver.errors import DataError, RunFolderError
from reviver.files.atomic import atomic_write, make_folder, write_json, write_text
from reviver.files.file_errors import damaged_run_file, explain_read_errors, explain_write_errors
from reviver.files.read import parse_json, read_json, reject_external_links
from reviver.launch import job_id, restart_count
from reviver.runs.checkpoint import find_step_files, write_tensors
from reviver.runs.distributed.world import ALONE, World
from reviver.runs.environment import describe_changes, describe_machine, find_changes, versions
from reviver.runs.records import REMOVED, SCHEMA, Line, find_kind, validate
from reviver.settings.parts import Parts
from reviver.settings.validation import show_value
from reviver.system import locking

_log = logging.getLogger(__name__)

Config = TypeVar("Config")


class RunFolder:
    """A run folder on disk, see the top of this module, with the `record` in run.json, trained by the processes of a `world`."""

    def __init__(self, path: Path, record: dict[str, Any], world: World = ALONE) -> None:
        self.path, self.record, self.world = path, record, world
        self.record_path = path / "run.json"
        self.checkpoints, self.samples, self.snapshots = (path / n for n in ("checkpoints", "samples", "snapshots"))

    @classmethod
    def create(cls, path: str | Path, kind: str, settings: Mapping[str, Any], world: World = ALONE) -> "RunFolder":
        """Create a new run folder; RunFolderError if `path` exists already, except an empty folder, or cannot be written."""
        path, program = Path(path), Path(sys.argv[0])
        program = program.parent if program.name == "__main__.py" else program  # of python -m reviver
        refuse_existing(path)
        record = {
            "schema": SCHEMA,
            "kind": kind,
            "status": "running",
            "config": dict(settings),
            "command": shlex.join([program.name, *sys.argv[1:]]),
            "started": _now(),
        }
        if (job := job_id()) is not None:  # by which a restart knows the run that it goes on with
            record["job"] = job
        with explain_write_errors(path):
            make_folder(path)
        folder = cls(path, record, world)
        folder.save_record()
        return folder

    @classmethod
    def open(cls, path: str | Path, kind: str | None = None) -> "RunFolder":
        """Open a run folder; RunFolderError if it is missing, damaged, or of another schema or, if it is given, `kind`."""
        path = Path(path)
        record_path = path / "run.json"
        reject_external_links(path)
        if not record_path.is_file():
            problem = "has no run.json, so it is not a run folder" if path.exists() else "does not exist"
            raise RunFolderError(f"{path}: {problem}; give the folder that a train command wrote")
        with explain_read_errors(record_path):
            record = read_json(record_path)
        schema = record.get("schema")
        if type(schema) is int and schema != SCHEMA:
            raise RunFolderError(
                f"{record_path}: has schema {schema}, and this Reviver reads only schema {SCHEMA}; use the version of "
                "Reviver that wrote it, or train again in a new --out"
            )
        found = find_kind(record)
        validate(found.record, record, record_path)
        defaults = {field.name: field.default for field in fields(found.config)}
        gone = [name for name in record["config"] if name in REMOVED and name not in defaults]
        record["config"] = {name: value for name, value in record["config"].items() if name not in gone}
        for name in gone:
            _log.warning("%s: setting %s is gone and is ignored", path, name)
        if missing := [
            f"{name} {show_value(value)}" for name, value in defaults.items() if name not in record["config"]
        ]:
            _log.warning("%s: is from before these settings, which take their defaults: %s", path, ", ".join(missing))
        record["config"] = defaults | record["config"]
        if kind is not None and record["kind"] != kind:
            raise RunFolderError(
                f"{path}: holds a run of kind {record['kind']!r}, not {kind!r}; use the reviver {record['kind']} commands"
            )
        return cls(path, record)

    @property
    def kind(self) -> str:
        """Kind of the run, such as `lstm`."""
        return str(self.record["kind"])

    @property
    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was saved, from which training can continue."""
        return bool(find_step_files(self.checkpoints))

    @property
    def status(self) -> str:
        """Status of the run: `running`, `finished`, `interrupted` or `failed`. A killed run stays `running`."""
        return str(self.record.get("status"))

    @property
    def is_training(self) -> bool:
        """Whether a process is training in the folder now."""
        path = self.path / "run.lock"
        if not path.exists():
            return False
        try:
            with locking(path):
                return False
        except (Timeout, OSError) as error:  # nobody can train in a folder that cannot be written
            return isinstance(error, Timeout)

    def read_config(self, cls: type[Config]) -> Config:
        """Return the settings of the run as an instance of `cls`; one that is out of range is a `RunFolderError`."""
        with explain_read_errors(self.record_path):
            return cls(**self.record["config"])

    def records_path(self, name: str) -> Path:
        """Return the path of the records file `metrics` or `scores`."""
        return self.path / f"{name}.jsonl"

    def save_record(self, **changes: Any) -> None:
        """Update the record with `changes` and write run.json; on ranks other than 0, only update it."""
        self.record.update(changes)
        if self.world.is_main:
            write_json(self.record_path, self.record, create_parent=False)

    def record_data(self, key: str, value: Any, setting: str, description: str) -> None:
        """Record as `key` of run.json what the data of a `setting` is, with a hash; errors call it by the noun `description`.

        Raises:
            DataError: if the data differs from the data that the run began with.
            ConfigError: if it differs between the processes that train together.
        """
        self.world.require_same(value if isinstance(value, Mapping) else {key: value}, f"{setting}: ")
        recorded = self.record.get(key, value)
        before, now = (each["sha256"] if isinstance(each, Mapping) else each for each in (recorded, value))
        if before != now:
            raise DataError(
                f"{setting}: {self.record['config'][setting]!r} is not what this run began with; put the old "
                f"{description} back to resume, or start in a new --out"
            )
        if key not in self.record:
            self.save_record(**{key: value})

    def record_parts(self, parts: Parts) -> None:
        """Keep copies of the files of user-defined classes, which nothing reads or runs; a resumed run keeps the first."""
        files = {option: part for option, part in parts.named.items() if part.file is not None}
        parts.warn_of_changes(self.record.get("parts", {}))
        for option in parts.named.keys() - files if self.world.is_main else ():
            _log.warning(f"{option}: the source of the class is not known, so the run folder has no copy of it")
        if not files or "parts" in self.record:
            return
        for part in files.values() if self.world.is_main else ():
            with atomic_write(self.path / "parts" / str(part.file)) as temporary:
                temporary.write_bytes(part.content)
        self.save_record(parts={option: {"file": part.file, "sha256": part.sha256} for option, part in files.items()})

    def record_environment(self, device: torch.device, native: str | None) -> None:
        """Record the environment of a new run; of a resumed one, log a warning and record what has changed since then.

        `native` is the variant of the native code that this process uses for the run; None if unknown.
        """
        environment = {"versions": versions(), "hardware": describe_machine(device, native, self.world)}
        if "versions" not in self.record:  # of a new run
            self.record.update(environment)
        changes = find_changes(self.record, environment)
        if not changes:
            return
        threads = changes.get("threads", [None])[0]
        advice = f" (OMP_NUM_THREADS={threads} keeps the threads)" if threads else ""
        warning = "%s: %s; results may no longer be bit-for-bit those of an uninterrupted run%s"
        _log.warning(warning, self.path, describe_changes(changes), advice)
        self.save_record(changes=[*self.record.get("changes", []), {"at": _now(), **changes}])

    def set_status(self, status: str, **changes: Any) -> None:
        """Write a new status, the time and `changes` to run.json."""
        self.save_record(status=status, updated=_now(), **changes)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the validated lines of metrics.jsonl, see `read_records`."""
        return self.read_records("metrics", self.line_model("metrics"))

    def read_scores(self) -> list[dict[str, Any]]:
        """Return the validated lines of scores.jsonl, see `read_records`."""
        return self.read_records("scores", self.line_model("scores"))

    def line_model(self, name: str) -> type[Line]:
        """Return the model of the lines of NAME.jsonl."""
        return find_kind(self.record).line(name, self.record["config"])

    def read_records(self, name: str, model: type[Line] | None = None) -> list[dict[str, Any]]:
        """Return the records in NAME.jsonl, validated by `model`; a RunFolderError names the first invalid line and its key."""
        records = []
        for number, line in enumerate(self._lines(name), 1):
            location = f"{self.records_path(name)}: line {number}"
            with explain_read_errors(location):
                records.append(parse_json(line))
            if model is not None:
                validate(model, records[-1], location)
        return records

    def truncate_records(self, name: str, count: int) -> None:
        """Truncate a records file to its first `count` lines; raise `RunFolderError` if it has fewer."""
        path, lines = self.records_path(name), self._lines(name)
        if len(lines) < count:
            raise damaged_run_file(path, f"must have at least the {count} lines of the checkpoint, got {len(lines)}")
        write_text(path, "".join(line + "\n" for line in lines[:count]), create_parent=False)

    def _lines(self, name: str) -> list[str]:
        """Return the lines of a records file but a last one that a crash truncated; none if there is no file."""
        path = self.records_path(name)
        with explain_read_errors(path):
            text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        return text.split("\n")[:-1]

    @property
    def snapshot_files(self) -> dict[int, Path]:
        """Snapshots by their update, in the order of training: what the run looked like then, never resumed from."""
        return find_step_files(self.snapshots)

    def write_snapshot(self, step: int, tensors: Mapping[str, Any]) -> None:
        """Write a snapshot after `step` updates, before the checkpoint of that update: tensors by name, also nested."""
        write_tensors(self.snapshots / f"step-{step:06d}.safetensors", tensors)

    def remove_later_snapshots(self, step: int) -> None:
        """Remove the snapshots after `step` updates, to which training has returned; it writes them again."""
        for later, path in self.snapshot_files.items():
            if later > step:
                with explain_write_errors(path):
                    path.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for this process; RunFolderError if another one holds the lock, which the system releases if it dies."""
        path = self.path / "run.lock"
        with ExitStack() as stack:
            with explain_write_errors(path):
                try:
                    stack.enter_context(locking(path, timeout=0.5))  # `is_training` may hold it for a moment
                except Timeout as error:
                    problem = "another process is training in this folder; wait for it or choose another --out"
                    raise RunFolderError(f"{self.path}: {problem}") from error
            yield


def is_restarted(path: str | Path) -> bool:
    """Return whether torchrun has restarted the processes that began the run at `path`, so that they go on with it."""
    record_path = Path(path) / "run.json"
    if not restart_count() or not record_path.is_file():
        return False
    with explain_read_errors(record_path):
        return bool(read_json(record_path).get("job", "") == job_id())


def is_unused(path: Path) -> bool:
    """Return whether nothing is at `path`, or a folder that is empty but for what a process killed at its start has left."""
    if not path.is_dir() or path.is_symlink():
        return not os.path.lexists(path)
    return all(found.suffix == ".part" for found in path.iterdir())


def refuse_existing(path: str | Path) -> None:
    """Raise `RunFolderError` unless `path` `is_unused`: a run folder is never overwritten.

    The run that a restart by torchrun goes on with is accepted.
    """
    if not is_unused(Path(path)) and not is_restarted(path):
        problem = "exists already and is never overwritten; choose another --out, or go on with --resume"
        raise RunFolderError(f"{path}: {problem}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
