"""Functions of cells, and an engine, for tests of sweeps."""

import os
import signal
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from reviver.errors import DataError
from reviver.sweep.cell import Cell, Outcome
from reviver.sweep.execute import execute


class InlineEngine:
    """Engine that runs each cell in this process at once."""

    slots = 1

    def __init__(self, sweep_folder: Path, *_: Any, **__: Any) -> None:
        self.cells: list[Cell] = []
        self._sweep_folder = sweep_folder

    def submit(self, cell: Cell) -> Future[Outcome]:
        self.cells.append(cell)
        future: Future[Outcome] = Future()
        future.set_result(execute(self._sweep_folder, cell))
        return future

    def close(self, *, stop: bool) -> None:
        pass


def cell_of(function: str, **arguments: Any) -> Cell:
    return Cell(f"tests.sweep_cells:{function}", arguments)


def add(folder: Path, a: int, b: int) -> dict[str, Any]:
    with (folder / "calls").open("a") as file:
        file.write("x")
    return {"sum": a + b, "pid": os.getpid(), "threads": torch.get_num_threads()}


def refuse(folder: Path, value: int) -> dict[str, Any]:
    raise DataError(f"value must be 1,\ngot {value}")


def crash(folder: Path) -> dict[str, Any]:
    raise ZeroDivisionError("by zero")


def return_nan(folder: Path) -> dict[str, Any]:
    return {"loss": float("nan")}


def die(folder: Path, times: int) -> dict[str, Any]:
    """Kill this process, in the first calls."""
    count = len(list(folder.glob("death-*")))
    if count < times:
        (folder / f"death-{count}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"deaths": count}


def wait_for(folder: Path, path: str, seconds: float = 100.0) -> dict[str, Any]:
    """Wait until the file at `path` exists."""
    (folder / "started").touch()
    deadline = time.monotonic() + seconds
    while not Path(path).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return {"waited": True}
