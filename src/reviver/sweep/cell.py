"""A cell of a sweep: one call of a function, and its outcome. Both are JSON, so that any process can read them."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

MAX_ATTEMPTS = 5
"""Maximum number of workers that a cell gets, each after the last one died."""


@dataclass(frozen=True)
class Cell:
    """One call of a function, `function(folder, **arguments)`, which returns a JSON object.

    The folder belongs to the cell, and what an interrupted call left there is found by the next call, which goes on.

    Attributes:
        function: `package.module:name`.
        arguments: its arguments, JSON.
        axes: the values on the axes of the sweep, for tables and figures.
        weight: expected time relative to other cells, for the time left.
    """

    function: str
    arguments: Mapping[str, Any]
    axes: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0

    @cached_property
    def key(self) -> str:
        """Hash of function and arguments, 16 hexadecimal digits; it names the folder of the cell."""
        text = json.dumps([self.function, dict(self.arguments)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a cell.

    Attributes:
        key: key of the cell.
        status: done; failed: the function raised an error; stopped: a signal stopped it, and it can go on; claimed: another
            worker runs the cell, so nothing was done here.
        result: what the function returned; None unless done.
        error: message of the error of a failed cell.
        seconds: time of the last call.
        host: name of the machine.
        attempts: number of calls, also of those whose worker died.
    """

    key: str
    status: Literal["done", "failed", "stopped", "claimed"]
    result: Mapping[str, Any] | None = None
    error: str | None = None
    seconds: float = 0.0
    host: str = ""
    attempts: int = 1


class Engine(Protocol):
    """Runs cells somewhere, each with `reviver.sweep.execute.execute(sweep_folder, cell, threads)`."""

    slots: int
    """Number of cells that run at the same time."""

    def submit(self, cell: Cell) -> "Future[Outcome]":
        """Start a cell. A dead worker is retried; the future has an exception only if the engine itself fails."""
        ...

    def close(self, *, stop: bool) -> None:
        """Release the workers; with `stop` ask running cells to save and stop first."""
        ...
