"""Driver of a sweep: submits cells while slots are free, and waits for those that other workers have claimed."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from reviver.errors import Interrupted, RunFolderError
from reviver.io.atomic import make_folder
from reviver.io.errors import explain_write_errors
from reviver.runs.signals import handling_signals
from reviver.sweep.cell import Cell, Engine, Outcome
from reviver.sweep.claim import find_holder
from reviver.sweep.display import Display
from reviver.sweep.execute import cell_folder, forget_failure, read_outcome

POLL = 0.25
"""Seconds between two looks at the running cells."""
POLL_OTHERS = 2.0
"""Seconds between two looks at the cells that other workers have claimed."""

Select = Callable[[Mapping[str, Outcome]], tuple[Sequence[Cell], Sequence[Cell]]]
"""Function that returns, given the outcomes by key, the cells that may start and those that wait for other outcomes."""


def open_sweep(folder: Path) -> None:
    """Create the folder of a sweep, or check that it is one.

    Raises:
        RunFolderError: if it holds something else, or cannot be written.
    """
    cells = folder / "cells"
    if folder.exists() and not cells.is_dir() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RunFolderError(f"{folder}: exists and is not the folder of a sweep; choose another --out")
    with explain_write_errors(folder):
        make_folder(cells)


def run_cells(
    folder: Path,
    cells: Sequence[Cell],
    engine: Engine,
    *,
    select: Select | None = None,
    retry_failed: bool = False,
    title: str = "sweep",
    progress: bool = False,
) -> dict[str, Outcome]:
    """Run the cells of a sweep that have no outcome.

    Args:
        folder: folder of the sweep.
        cells: all cells.
        engine: where the cells run; it is closed at the end.
        select: function that chooses the cells that may start; by default all that have no outcome.
        retry_failed: run cells again that failed before.
        title: title for the progress.
        progress: show progress.

    Returns:
        The outcomes by the keys of the cells.

    Raises:
        Interrupted: after SIGINT or SIGTERM, once the running cells are saved.
        RunFolderError: if a cell is damaged or cannot be written.
    """
    signals: list[int] = []
    driver = _Driver(folder, cells, engine, select)
    with (
        handling_signals(lambda number, _: signals.append(number)),
        Display(title, cells, visible=progress) as display,
    ):
        try:
            driver.read_outcomes(retry_failed=retry_failed)
            display.start(driver.outcomes)
            while not signals and driver.step():
                display.update(driver.outcomes, driver.running, driver.remaining)
        except BaseException:
            engine.close(stop=True)
            raise
        engine.close(stop=bool(signals))
    if signals:
        raise _interrupted(folder, signals[0])
    return driver.outcomes


class _Driver:
    """State of a sweep that runs.

    Attributes:
        outcomes: outcomes by the keys of the cells.
        running: names of the machines where cells run, by key; those of this driver have none.
        remaining: cells without an outcome that will run.
    """

    def __init__(self, folder: Path, cells: Sequence[Cell], engine: Engine, select: Select | None) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.remaining: list[Cell] = []
        self._folder = folder
        self._cells = cells
        self._engine = engine
        self._select = select or self._select_all
        self._active: dict[Future[Outcome], Cell] = {}
        self._claimed: dict[str, str] = {}
        self._next_poll = 0.0

    @property
    def running(self) -> dict[str, str]:
        return {**{cell.key: "" for cell in self._active.values()}, **self._claimed}

    def read_outcomes(self, *, retry_failed: bool) -> None:
        """Read the outcomes of all cells; with `retry_failed` remove those of failed cells."""
        for cell in self._cells:
            if retry_failed:
                forget_failure(self._folder, cell)
            self._read_outcome(cell)

    def step(self) -> bool:
        """Submit cells, and wait a moment for outcomes; return whether cells remain.

        Raises:
            Interrupted: if a cell was stopped by somebody else.
        """
        ready, waiting = self._select(self.outcomes)
        self.remaining = [*ready, *waiting]
        if not ready:
            return False
        self._poll_claimed()
        active = {cell.key for cell in self._active.values()}
        startable = (cell for cell in ready if cell.key not in active and cell.key not in self._claimed)
        while len(self._active) < self._engine.slots and (cell := next(startable, None)) is not None:
            if not self._is_taken(cell):
                self._active[self._engine.submit(cell)] = cell
        if not self._active:
            time.sleep(POLL)
        done, _ = wait(self._active, timeout=POLL, return_when=FIRST_COMPLETED)
        for future in done:
            cell, outcome = self._active.pop(future), future.result()
            if outcome.status == "stopped":
                raise _interrupted(self._folder, signal.SIGTERM)
            if outcome.status == "claimed":
                self._claimed[cell.key] = "another machine"
            else:
                self.outcomes[cell.key] = outcome
        return True

    def _is_taken(self, cell: Cell) -> bool:
        """Return whether a cell has got an outcome from another worker, or is claimed by one; a job can cost minutes."""
        if self._read_outcome(cell):
            return True
        holder = find_holder(cell_folder(self._folder, cell))
        if holder is not None:
            self._claimed[cell.key] = holder.host
        return holder is not None

    def _poll_claimed(self) -> None:
        """Look whether other workers have finished the cells that they had claimed, or have died."""
        if time.monotonic() < self._next_poll:
            return
        self._next_poll = time.monotonic() + POLL_OTHERS
        for cell in self._cells:
            if cell.key in self._claimed:
                del self._claimed[cell.key]
                self._is_taken(cell)

    def _read_outcome(self, cell: Cell) -> bool:
        """Read the outcome of a cell; return whether it has one."""
        outcome = read_outcome(cell_folder(self._folder, cell), cell)
        if outcome is not None:
            self.outcomes[cell.key] = outcome
        return outcome is not None

    def _select_all(self, outcomes: Mapping[str, Outcome]) -> tuple[Sequence[Cell], Sequence[Cell]]:
        return [cell for cell in self._cells if cell.key not in outcomes], ()


def _interrupted(folder: Path, number: int) -> Interrupted:
    return Interrupted(f"{folder}: stopped, the runs are saved; go on with the same command", number)
