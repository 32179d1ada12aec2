"""The run folder: everything that a training run leaves behind.

run.json        settings, seed, versions, hardware, command, status
metrics.jsonl   one line a point
scores.jsonl    the same of a GAN's scores, where they are taken while training
checkpoints/    see checkpoint.py
samples/        images drawn while training
tensorboard/    the points again, for TensorBoard
run.lock        held by the process that is training
"""

import fcntl
import importlib.metadata
import json
import logging
import math
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch

from reviver.config import from_mapping
from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.io.files import (
    damaged,
    explain_write_errors,
    make_folder,
    read_file,
    read_lines,
    reading,
    refuse_links_out,
    unfinished,
    write_json,
    write_text,
)
from reviver.io.json import parse_json, read_json
from reviver.runs.devices import describe_machine
from reviver.runs.environment import describe_changes, find_changes
from reviver.runs.events import EventFile
from reviver.runs.migrations import SCHEMA, migrate, migrate_scores
from reviver.runs.schema import MAX_TEXT, line_model, metric_names, record_model, validate
from reviver.text import one_line
from reviver.validation import Record

VERSIONED_PACKAGES = ("reviver", "torch", "numpy", "safetensors", "pillow")
MAX_RECORD_BYTES = 1 << 20
"""Of run.json, and of one line of the points."""
MAX_RECORDS_BYTES = 1 << 28
"""Of metrics.jsonl or scores.jsonl: a million lines."""

_log = logging.getLogger(__name__)

Config = TypeVar("Config")


class RunFolder:
    """One run on disk.

    Attributes:
        path: the folder.
        record: the content of run.json, which is at `record_path`.
        checkpoints, samples: the folders of checkpoints, and of images drawn while training.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record
        self.record_path = path / "run.json"
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"

    @classmethod
    def create(cls, path: str | Path, kind: str, config: Any, device: torch.device) -> "RunFolder":
        """Make a new folder for a run of `config`.

        Raises:
            RunFolderError: if there is something at `path` already, or it cannot be written.
        """
        path = Path(path)
        refuse_existing(path)
        record = {
            "schema": SCHEMA,
            "kind": kind,
            "status": "running",
            "config": asdict(config),
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:MAX_TEXT],
            "started": _now(),
            "versions": _versions(),
            "hardware": describe_machine(device),
        }
        with explain_write_errors(path):
            make_folder(path)
        folder = cls(path, record)
        folder.save_record()
        return folder

    @classmethod
    def open(cls, path: str | Path, kind: str | None = None) -> "RunFolder":
        """Open an existing folder, of `kind` if that is given.

        Raises:
            RunFolderError: if it is missing, damaged, of another kind, or written by a newer version.
        """
        path = Path(path)
        record_path = path / "run.json"
        try:  # it may come from a stranger, and is written to as it is trained on
            if path.is_dir():
                refuse_links_out(path)
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{path}: {one_line(error)}; take it out of the run folder") from error
        if not record_path.is_file():
            problem = "has no run.json, so it is not a run folder" if path.is_dir() else "does not exist"
            raise RunFolderError(f"{path}: {problem}; give the folder that a train command wrote")
        with reading(record_path):
            record = read_json(record_path, MAX_RECORD_BYTES)
        schema = record.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise RunFolderError(
                f"{path}: was written by a newer Reviver (schema {schema}, this one reads up to {SCHEMA}); upgrade Reviver"
            )
        record = migrate(record)
        validate(record_model(record), record, record_path)
        if kind is not None and record["kind"] != kind:
            raise RunFolderError(
                f"{path}: holds a run of kind {record['kind']!r}, not {kind!r}; use the reviver {record['kind']} commands"
            )
        return cls(path, record)

    @property
    def kind(self) -> str:
        """`lstm` or `gan`."""
        return str(self.record["kind"])

    @property
    def status(self) -> str:
        """`running`, `finished`, `interrupted` or `failed`."""
        return str(self.record.get("status"))

    @property
    def rollbacks(self) -> list[dict[str, Any]]:
        """The times that the run went back to a checkpoint: the `step` at which which `quantity` was not finite, and `back_to`."""
        return list(self.record.get("rollbacks", []))

    def read_config(self, cls: type[Config]) -> Config:
        """Return the settings of the run as a `cls`.

        Raises:
            RunFolderError: if a setting is missing, unknown or out of range.
        """
        try:
            return from_mapping(cls, self.record["config"])
        except ConfigError as error:
            raise RunFolderError(f"{self.record_path}: {one_line(error)}") from error

    def records_path(self, name: str) -> Path:
        """The file of the points called `name`: metrics, or scores."""
        return self.path / f"{name}.jsonl"

    def check_present(self) -> None:
        """Refuse to go on in a folder that was removed or moved away: nothing of it is made anew."""
        if not self.record_path.is_file():
            raise RunFolderError(f"{self.path}: was removed or moved while it was in use; start again in a new --out")

    def save_record(self, **changes: Any) -> None:
        """Write run.json with `changes`; what `open` would refuse is never written."""
        record_model(self.record).model_validate(self.record | changes)
        self.record.update(changes)
        write_json(self.record_path, self.record, create_parent=False)

    def note(self, key: str, value: Any, setting: str, what: str) -> None:
        """Write what a new run learns from under `key`, or check that a resumed one goes on with the same.

        Raises:
            DataError: naming the `setting`, if it is other data than the run began with; `what` describes it.
        """
        noted = self.record.get(key)
        if noted is None:
            self.save_record(**{key: value})
        elif noted != value:
            raise DataError(
                f"{setting}: {self.record['config'][setting]!r} has changed since this run began; put the old {what} back "
                "to resume, or start in a new --out"
            )

    def record_environment(self, device: torch.device) -> None:
        """Warn and write down if a resumed run goes on where its bits may come out otherwise than where it began."""
        changes = find_changes(self.record, {"hardware": describe_machine(device), "versions": _versions()})
        if not changes:
            return
        advice = f" (OMP_NUM_THREADS={changes['threads'][0]} keeps the threads)" if "threads" in changes else ""
        _log.warning(
            "%s: %s; from here on its bits may differ from those of an uninterrupted run%s",
            *(self.path, describe_changes(changes), advice),
        )
        self.save_record(changes=[*self.record.get("changes", []), {"at": _now(), **changes}])

    def set_status(self, status: str, **changes: Any) -> None:
        """Write a new status and the time into run.json."""
        self.save_record(status=status, updated=_now(), **changes)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the validated lines of metrics.jsonl, see `read_records`."""
        return self.read_records("metrics", line_model(self.record, "metrics"))

    def read_scores(self) -> list[dict[str, Any]]:
        """Return the validated lines of scores.jsonl, see `read_records`."""
        return self.read_records("scores", line_model(self.record, "scores"), migrate_scores)

    def read_records(
        self,
        name: str,
        model: type[Record] | None = None,
        migrate: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> list[dict[str, Any]]:
        """Return the migrated lines of NAME.jsonl, validated if a `model` is given.

        A last line that a crash cut off is left out.

        Raises:
            RunFolderError: naming the first line that is wrong, and the key.
        """
        path = self.records_path(name)
        points: list[dict[str, Any]] = []
        if not path.is_file():
            return points
        try:
            for line in read_lines(path, MAX_RECORD_BYTES, MAX_RECORDS_BYTES):
                if not line.endswith(b"\n"):
                    break
                points.append(migrate(parse_json(line)))
                if model is not None:
                    validate(model, points[-1], f"{path}: line {len(points)}")
        except (OSError, ValueError) as error:
            where = path if isinstance(error, OSError) else f"{path}: line {len(points) + 1}"
            raise damaged(where, f"cannot be read ({one_line(error)})") from error
        return points

    def truncate_records(self, name: str, count: int) -> None:
        """Cut a file of points back to its first `count` lines: what was known when a checkpoint was saved."""
        path = self.records_path(name)
        with reading(path):
            text = read_file(path, MAX_RECORDS_BYTES).decode("utf-8", "replace") if path.is_file() else ""
        lines = text.split("\n")[:-1]
        if len(lines) < count:
            raise damaged(path, f"has {len(lines)} lines where the checkpoint knows {count}")
        write_text(path, "".join(line + "\n" for line in lines[:count]), create_parent=False)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process. The system drops the lock of a process that dies.

        Raises:
            RunFolderError: if another process holds it.
        """
        path = self.path / "run.lock"
        with explain_write_errors(path):
            file = path.open("a")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunFolderError(
                    f"{self.path}: another process is training in this folder; wait for it or choose another --out"
                ) from error
            yield


class MetricsWriter:
    """Appends points to files such as metrics.jsonl and to a TensorBoard event file.

    Attributes:
        counts: the lines of each file.
        events: the event file.
    """

    def __init__(self, folder: RunFolder, names: Sequence[str] = ("metrics",), first_step: int = 0) -> None:
        """Open the files; points of steps from `first_step` on are yet to come, see `EventFile`."""
        self.counts = {name: len(folder.read_records(name)) for name in names}
        self._folder = folder
        with explain_write_errors(folder.path), ExitStack() as opened:
            self._files = {
                name: opened.enter_context(folder.records_path(name).open("a", encoding="utf-8")) for name in names
            }
            metrics = metric_names(folder.record, names)
            self.events = EventFile(folder.path / "tensorboard", first_step, folder.record["config"], metrics)
            opened.callback(self.events.close)
            self._opened = opened.pop_all()

    def write(self, name: str, point: Mapping[str, Any]) -> None:
        """Append one point, at its `step`, to the file `name` and TensorBoard; numbers that are not finite become null."""
        clean = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in point.items()
        }
        with explain_write_errors(self._folder.records_path(name)):
            self._files[name].write(json.dumps(clean, allow_nan=False) + "\n")
            self._files[name].flush()
            numbers = {key: value for key, value in clean.items() if isinstance(value, float)}
            self.events.write_scalars(point["step"], numbers)
        self.counts[name] += 1

    def sync(self) -> None:
        """Make what was written durable."""
        for name, file in self._files.items():
            with explain_write_errors(self._folder.records_path(name)):
                os.fsync(file.fileno())
        self.events.sync()

    def close(self) -> None:
        """Close all files."""
        with explain_write_errors(self._folder.path):
            self._opened.close()


def refuse_existing(path: str | Path) -> None:
    """Raise `RunFolderError` if there is anything at `path` but an empty folder: nothing is ever overwritten.

    A folder whose run.json a dying process could not finish is as good as empty.
    """
    path = Path(path)
    is_empty = path.is_dir() and not path.is_symlink() and {*path.iterdir()} <= {unfinished(path / "run.json")}
    if not is_empty and (path.exists() or path.is_symlink()):
        raise RunFolderError(
            f"{path}: exists already and is never overwritten; choose another --out, or go on with --resume"
        )


def _versions() -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in VERSIONED_PACKAGES}
    return {"python": platform.python_version(), **packages, "torch": torch.__version__}  # with its build, such as +cpu


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
