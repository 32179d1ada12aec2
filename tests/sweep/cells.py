"""Functions of cells, and an engine, for tests of sweeps."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from reviver.errors import DataError, Interrupted
from reviver.sweep.cell import Cell, Ended, execute
from reviver.system import handling_signals


class InlineEngine:
    """Engine that runs each cell in this process at once."""

    slots, poll = 1, 0.0
    died: tuple[type[Exception], ...] = ()

    def __init__(self, *_: Any, **__: Any) -> None:
        self.cells: list[Cell] = []

    def submit(self, sweep_folder: Path, cell: Cell, attempts: int) -> Future[Ended]:
        self.cells.append(cell)
        future: Future[Ended] = Future()
        future.set_result(execute(sweep_folder, cell, attempts=attempts))
        return future

    def close(self, running: Any) -> None:
        assert not running


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def cell_of(function: str, **arguments: Any) -> Cell:
    return Cell(f"tests.sweep.cells:{function}", arguments)


def square(folder: Path, x: float) -> dict[str, Any]:
    with (folder / "calls").open("a") as file:
        file.write("x")
    return {"square": x * x, "pid": os.getpid(), "directory": str(Path.cwd())}


def count_threads(folder: Path) -> dict[str, Any]:
    import torch

    return {"threads": [torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")]}


def refuse(folder: Path, value: int) -> dict[str, Any]:
    raise DataError(f"value must be 1,\ngot {value}")


def crash(folder: Path) -> dict[str, Any]:
    raise ZeroDivisionError("by zero")


def return_nan(folder: Path) -> dict[str, Any]:
    return {"loss": float("nan")}


def die(folder: Path) -> dict[str, Any]:
    """Kill this process as `kill -9` does, in the first call."""
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def wait_for_signal(folder: Path) -> dict[str, Any]:
    """Wait for a signal, save, and stop, as training does."""
    received: list[int] = []
    with handling_signals(lambda number, _: received.append(number)):
        (folder / "begun").touch()
        while not received:
            time.sleep(0.01)
    (folder / "saved").touch()
    raise Interrupted("stopped", received[0])


def wait_for(folder: Path, path: str) -> dict[str, Any]:
    """Wait until the file at `path` exists."""
    (folder / "begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return {}
