"""A trial of a sweep: one call of a function in a folder of its own, and its outcome.

trials/KEY/trial.json      function, arguments and axes
trials/KEY/trial.lock      locked by the worker that runs the trial; the system releases the lock of one that dies
trials/KEY/outcome.json    the outcome of a finished or failed trial
trials/KEY/traceback.txt   where an unexpected error of a failed trial was raised
trials/KEY/...             what the function writes
"""

import hashlib
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from filelock import Timeout
from pydantic import Field

from reviver.errors import Interrupted, ReviverError, RunFolderError
from reviver.files.atomic import make_folder, remove_leftovers, write_json, write_text
from reviver.files.file_errors import explain_read_errors, explain_write_errors
from reviver.files.read import parse_json, read_json
from reviver.runs.records import validate
from reviver.settings.fields import Count, NonNegative
from reviver.settings.validation import Record
from reviver.system import handling_signals, locking
from reviver.text import one_line


@dataclass(frozen=True)
class Trial:
    """One call of a function, `function(folder, **arguments)`, which returns a JSON object.

    The folder belongs to the trial. The next call finds there what an interrupted one has left, and goes on.
    """

    function: Callable[..., Mapping[str, Any]]  # of a module, which workers import
    arguments: Mapping[str, Any]  # JSON
    axes: Mapping[str, Any] = field(default_factory=dict)  # values on the axes of the sweep, for tables and figures

    @cached_property
    def key(self) -> str:
        """Hash of the function's name and the arguments, 16 hexadecimal digits; it names the folder of the trial."""
        text = json.dumps([self.function.__name__, dict(self.arguments)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Outcome(Record):
    """The outcome of a trial, as outcome.json records it."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    key: str  # of the trial
    status: Literal["done", "failed"]
    result: dict[str, Any] | None = None  # what the function returned; None if it failed
    error: str | None = None  # message of its error
    seconds: NonNegative = 0.0  # of the last call
    host: str = Field(default_factory=socket.gethostname)
    attempts: Count = 1  # workers that the trial has had: 1, and those that died


Ended = Outcome | ReviverError | None
"""How a call ended. None: by a signal, or since another worker runs the trial, which may have to go on later. An error: its
folder is damaged or cannot be written."""


def trial_folder(sweep_folder: Path, trial: Trial) -> Path:
    """Return the folder of a trial."""
    return sweep_folder / "trials" / trial.key


def record_order(sweep_folder: Path, trials: Sequence[Trial]) -> None:
    """Write the order of the trials into order.json."""
    write_json(sweep_folder / "order.json", {"trials": [trial.key for trial in trials]})


def find_trial_runs(sweep_folder: Path) -> list[Path]:
    """Return the run folders in the trials of a sweep, in the order of its file; none if the folder is that of no sweep."""
    path = sweep_folder / "order.json"
    keys: list[str] = []
    if path.exists():
        with explain_read_errors(path):
            keys = read_json(path)["trials"]
    found = sorted(run.parent for run in sweep_folder.glob("trials/*/run/run.json"))
    return sorted(found, key=lambda run: keys.index(run.parent.name) if run.parent.name in keys else len(keys))


def execute(sweep_folder: Path, trial: Trial, threads: int | None = None, attempts: int = 1) -> Ended:
    """Run a trial, unless it has an outcome or another worker runs it: all that an engine runs, in a process of its own."""
    folder = trial_folder(sweep_folder, trial)
    try:
        with explain_write_errors(folder), handling_signals(_interrupt):
            make_folder(folder)
            with locking(folder / "trial.lock"):
                return read_outcome(folder) or _call(folder, trial, threads, attempts)
    except Interrupted:
        return None
    except RunFolderError as error:
        return None if isinstance(error.__cause__, Timeout) else error


def read_outcome(folder: Path) -> Outcome | None:
    """Return the recorded outcome of a trial, or None if it has none."""
    path = folder / "outcome.json"
    if not path.exists():
        return None
    with explain_read_errors(path):
        content = read_json(path)
    return validate(Outcome, content, path)


def record_outcome(folder: Path, outcome: Outcome) -> Outcome:
    """Write outcome.json, and return the outcome."""
    write_json(folder / "outcome.json", outcome.model_dump(by_alias=True))
    return outcome


def _call(folder: Path, trial: Trial, threads: int | None, attempts: int) -> Outcome:
    remove_leftovers(folder)
    name = f"{trial.function.__module__}:{trial.function.__name__}"
    write_json(folder / "trial.json", {"function": name, "arguments": trial.arguments, "axes": trial.axes})
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it at its import
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
    started = time.perf_counter()
    found: dict[str, Any] = {"status": "failed"}
    try:
        result = trial.function(folder, **trial.arguments)
        found = {"status": "done", "result": parse_json(json.dumps(result, allow_nan=False))}
    except ReviverError as error:
        found["error"] = one_line(error, 10_000)
    except (Exception, SystemExit) as error:
        found["error"] = one_line(f"{type(error).__name__}: {error}", 10_000)
        write_text(folder / "traceback.txt", traceback.format_exc())
    seconds = round(time.perf_counter() - started, 3)
    return record_outcome(folder, Outcome(key=trial.key, seconds=seconds, attempts=attempts, **found))


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted("stopped", number)  # for functions that do not handle the signal themselves, as training does
