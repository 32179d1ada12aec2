"""A cell of a sweep: one call of a function in a folder of its own, and its outcome.

cells/KEY/cell.json       function, arguments and axes
cells/KEY/cell.lock       locked by the worker that runs the cell; the system releases the lock of one that dies
cells/KEY/outcome.json    the outcome of a finished or failed cell
cells/KEY/traceback.txt   where an unexpected error of a failed cell was raised
cells/KEY/...             what the function writes
"""

import hashlib
import importlib
import json
import os
import socket
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from filelock import Timeout
from pydantic import Field

from reviver.errors import Interrupted, ReviverError, RunFolderError
from reviver.files.atomic import make_folder, recover_interrupted_writes, write_json, write_text
from reviver.files.file_errors import explain_read_errors, explain_write_errors
from reviver.files.json import parse_json, read_json
from reviver.runs.schema import MAX_TEXT, validate
from reviver.settings.fields import Count, NonNegative
from reviver.settings.validation import Record
from reviver.system import handling_signals, locking
from reviver.text import one_line


@dataclass(frozen=True)
class Cell:
    """One call of a function, `function(folder, **arguments)`, which returns a JSON object.

    The folder belongs to the cell. The next call finds there what an interrupted one has left, and goes on.
    """

    function: str
    """`package.module:name`."""
    arguments: Mapping[str, Any]
    """JSON."""
    axes: Mapping[str, Any] = field(default_factory=dict)
    """Values on the axes of the sweep, for tables and figures."""

    @cached_property
    def key(self) -> str:
        """Hash of function and arguments, 16 hexadecimal digits; it names the folder of the cell."""
        text = json.dumps([self.function, dict(self.arguments)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Outcome(Record):
    """The outcome of a cell, as outcome.json records it."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    key: str
    """Key of the cell."""
    status: Literal["done", "failed"]
    """Whether the function returned a result or raised an error."""
    result: dict[str, Any] | None = None
    """What the function returned; None if it failed."""
    error: str | None = None
    """Message of its error."""
    seconds: NonNegative = 0.0
    """Time of the last call."""
    host: str = Field(default_factory=socket.gethostname)
    """Name of the machine."""
    attempts: Count = 1
    """Number of workers that the cell has had: 1, and those that died."""


Ended = Outcome | ReviverError | Literal["stopped", "busy"]
"""How a call ended. `stopped`: by a signal; it can go on. `busy`: another worker runs the cell. An error: its folder is
damaged or cannot be written."""


def cell_folder(sweep_folder: Path, cell: Cell) -> Path:
    """Return the folder of a cell."""
    return sweep_folder / "cells" / cell.key


def find_cell_runs(sweep_folder: Path) -> list[Path]:
    """Return the run folders in the cells of a sweep, in the order of their keys; none if the folder is that of no sweep."""
    return sorted(path.parent for path in sweep_folder.glob("cells/*/run/run.json"))


def execute(sweep_folder: Path, cell: Cell, threads: int | None = None, attempts: int = 1) -> Ended:
    """Run a cell, unless it has an outcome or another worker runs it.

    This is all that an engine runs, in a process of its own, on any machine that has the sweep folder. It computes with
    `threads`, unless it has imported torch already. `attempts` counts the workers that the cell has had, with this one.
    """
    folder = cell_folder(sweep_folder, cell)
    try:
        with explain_write_errors(folder), handling_signals(_interrupt):
            make_folder(folder)
            with locking(folder / "cell.lock"):
                return read_outcome(folder, cell) or _call(folder, cell, threads, attempts)
    except Interrupted:
        return "stopped"
    except RunFolderError as error:
        return "busy" if isinstance(error.__cause__, Timeout) else error


def read_outcome(folder: Path, cell: Cell) -> Outcome | None:
    """Return the recorded outcome of a cell, or None if it has none.

    Raises:
        RunFolderError: if outcome.json is damaged or that of another cell.
    """
    path = folder / "outcome.json"
    if not path.exists():
        return None
    with explain_read_errors(path):
        content = read_json(path, 1 << 26)
    validate(Outcome, content, path)
    outcome = Outcome.model_validate(content)
    if outcome.key != cell.key:
        raise RunFolderError(f"{path}: is the outcome of the cell {outcome.key[:16]!r}; remove it")
    return outcome


def record_outcome(folder: Path, outcome: Outcome) -> Outcome:
    """Write outcome.json, and return the outcome."""
    write_json(folder / "outcome.json", outcome.model_dump(by_alias=True))
    return outcome


def _call(folder: Path, cell: Cell, threads: int | None, attempts: int) -> Outcome:
    recover_interrupted_writes(folder)
    write_json(folder / "cell.json", asdict(cell))
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it when the function imports it
    started = time.perf_counter()
    found: dict[str, Any] = {"status": "failed"}
    try:
        module, _, name = cell.function.partition(":")
        result = getattr(importlib.import_module(module), name)(folder, **cell.arguments)
        found = {"status": "done", "result": parse_json(json.dumps(result, allow_nan=False).encode())}
    except Interrupted:
        raise
    except ReviverError as error:
        found["error"] = one_line(error, MAX_TEXT)
    except (Exception, SystemExit) as error:
        found["error"] = one_line(f"{type(error).__name__}: {error}", MAX_TEXT)
        write_text(folder / "traceback.txt", traceback.format_exc())
    seconds = round(time.perf_counter() - started, 3)
    return record_outcome(folder, Outcome(key=cell.key, seconds=seconds, attempts=attempts, **found))


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted("stopped", number)  # for functions that do not handle the signal themselves, as training does
