"""Execution of a cell: claim it, call its function, record the outcome.

A sweep folder has a folder for each cell:

    cells/KEY/cell.json       function, arguments and axes
    cells/KEY/claim.json      the worker that runs the cell now, see claim.py
    cells/KEY/outcome.json    the outcome of a finished or failed cell
    cells/KEY/traceback.txt   where an unexpected error of a failed cell was raised
    cells/KEY/...             what the function writes

`execute` is all that an engine runs, in a process of its own, on any machine that has the sweep folder.
"""

import importlib
import json
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from pydantic import Field

from reviver.config import Count, NonNegative
from reviver.errors import Interrupted, ReviverError, RunFolderError
from reviver.io.atomic import make_folder, recover_interrupted_writes, write_json, write_text
from reviver.io.errors import explain_read_errors, explain_write_errors
from reviver.io.json import parse_json, read_json
from reviver.runs.folder import RunFolder
from reviver.runs.schema import MAX_TEXT, validate
from reviver.runs.signals import handling_signals
from reviver.sweep.cell import Cell, Outcome
from reviver.sweep.claim import MAX_AGE, Claim, acquire
from reviver.text import one_line
from reviver.validation import Record

MAX_OUTCOME_BYTES = 1 << 24
"""Maximum size of outcome.json."""


class Busy(ReviverError):
    """Another process still works in the folder of a cell; the cell has not failed."""


class OutcomeRecord(Record):
    """Content of outcome.json: an `Outcome` that is final."""

    schema_version: Literal[1] = Field(alias="schema")
    key: str
    status: Literal["done", "failed"]
    result: dict[str, Any] | None
    error: str | None
    seconds: NonNegative
    host: str
    attempts: Count


def cell_folder(sweep_folder: Path, cell: Cell) -> Path:
    """Return the folder of a cell."""
    return sweep_folder / "cells" / cell.key


def execute(sweep_folder: str | Path, cell: Cell, threads: int | None = None, *, max_age: float = MAX_AGE) -> Outcome:
    """Run a cell, unless it has an outcome or another worker runs it.

    Args:
        sweep_folder: folder of the sweep.
        cell: the cell.
        threads: threads to compute with; None to leave them as they are.
        max_age: age of a heartbeat in seconds, from which the claim of another worker is taken over.

    Returns:
        The outcome. An error of the function is a failed outcome. After SIGINT or SIGTERM the outcome is `stopped`, and
        the next call goes on.

    Raises:
        RunFolderError: if the folder of the cell is damaged or cannot be written.
    """
    folder = cell_folder(Path(sweep_folder), cell)
    if (recorded := read_outcome(folder, cell)) is not None:
        return recorded
    with explain_write_errors(folder):
        make_folder(folder)
    claim = acquire(folder, max_age)
    if claim is None:
        return Outcome(cell.key, "claimed")
    with claim:
        if (recorded := read_outcome(folder, cell)) is not None:
            return recorded
        recover_interrupted_writes(folder)
        write_json(folder / "cell.json", asdict(cell))
        outcome = _call(cell, folder, threads, claim.holder.attempt)
        return outcome if outcome.status in ("stopped", "claimed") else _record(claim, folder, outcome)


def give_up(sweep_folder: str | Path, cell: Cell, error: str) -> Outcome:
    """Record a cell as failed whose worker died too often.

    Args:
        sweep_folder: folder of the sweep.
        cell: the cell.
        error: message, what happened and what to do.
    """
    folder = cell_folder(Path(sweep_folder), cell)
    with explain_write_errors(folder):
        make_folder(folder)
    claim = acquire(folder)
    if claim is None:
        return Outcome(cell.key, "claimed")
    with claim:
        if (recorded := read_outcome(folder, cell)) is not None:
            return recorded
        deaths = max(1, claim.holder.attempt - 1)  # the claim itself is no call
        outcome = Outcome(cell.key, "failed", error=error, host=socket.gethostname(), attempts=deaths)
        return _record(claim, folder, outcome)


def read_outcome(folder: Path, cell: Cell) -> Outcome | None:
    """Return the recorded outcome of a cell, or None if it has none.

    Args:
        folder: folder of the cell.
        cell: the cell.

    Raises:
        RunFolderError: if outcome.json is damaged or that of another cell.
    """
    path = folder / "outcome.json"
    if not path.exists():
        return None
    with explain_read_errors(path):
        content = read_json(path, MAX_OUTCOME_BYTES)
    validate(OutcomeRecord, content, path)
    if content["key"] != cell.key:
        raise RunFolderError(f"{path}: is the outcome of the cell {content['key'][:16]!r}; remove it")
    del content["schema"]
    return Outcome(**content)


def check_not_training(path: Path) -> None:
    """Raise `Busy` if a process is training in the run folder `path`: a worker that lost its claim while it was paused."""
    with suppress(RunFolderError):  # of a damaged folder, which training reports
        if (path / "run.json").exists() and RunFolder.open(path).is_training:
            raise Busy(f"{path}: another process is training in this folder")


def forget_failure(sweep_folder: Path, cell: Cell) -> None:
    """Remove the outcome of a failed cell, so that it runs again."""
    folder = cell_folder(sweep_folder, cell)
    outcome = read_outcome(folder, cell)
    if outcome is not None and outcome.status == "failed":
        with explain_write_errors(folder):
            (folder / "outcome.json").unlink(missing_ok=True)


def _call(cell: Cell, folder: Path, threads: int | None, attempt: int) -> Outcome:
    """Call the function of a cell."""
    started = time.perf_counter()
    status: Literal["done", "failed", "stopped", "claimed"] = "done"
    result: dict[str, Any] | None = None
    error: str | None = None
    try:
        with handling_signals(_interrupt), limited_threads(threads):
            result = _encode(_find_function(cell.function)(folder, **cell.arguments))
    except Interrupted:
        status = "stopped"
    except Busy:
        status = "claimed"
    except ReviverError as problem:
        status, error = "failed", one_line(problem, MAX_TEXT)
    except Exception as problem:
        status, error = "failed", one_line(f"{type(problem).__name__}: {problem}", MAX_TEXT)
        write_text(folder / "traceback.txt", traceback.format_exc())
    seconds = round(time.perf_counter() - started, 3)
    return Outcome(cell.key, status, result, error, seconds, socket.gethostname(), attempt)


def _record(claim: Claim, folder: Path, outcome: Outcome) -> Outcome:
    """Record an outcome, unless another worker has taken over the cell."""

    def write() -> None:
        write_json(folder / "outcome.json", {"schema": 1, **asdict(outcome)}, create_parent=False)

    return outcome if claim.end(write) else Outcome(outcome.key, "claimed")


def _find_function(name: str) -> Any:
    """Return the function `package.module:name`."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _encode(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return `result` as it is read from JSON, so that a recorded outcome can be read for certain.

    Raises:
        ValueError: if JSON cannot hold it, or it is too large.
    """
    content = json.dumps(result, allow_nan=False).encode()
    if len(content) > MAX_OUTCOME_BYTES // 4:  # outcome.json is indented
        raise ValueError(f"the result has {len(content)} bytes, the limit is {MAX_OUTCOME_BYTES // 4}")
    return parse_json(content)


def _interrupt(number: int, _: FrameType | None) -> None:
    """Stop a function that does not handle the signal itself, as training does."""
    raise Interrupted("stopped", number)


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Compute with `threads` threads inside, also in processes that start there; None changes nothing."""
    if threads is None:
        yield
        return
    before, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if variable is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = variable
