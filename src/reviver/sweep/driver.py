"""Driver of a sweep: submits cells to an engine while it has room, until all have an outcome."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

from reviver.errors import Interrupted, RunFolderError
from reviver.files.atomic import make_folder
from reviver.files.errors import explain_write_errors
from reviver.runs.progress import ProgressBar
from reviver.runs.signals import handling_signals
from reviver.sweep.cell import Cell, Ended, Outcome, cell_folder, read_outcome, record_outcome
from reviver.sweep.engines import Engine

LIMITS = {"died": 5, "stopped": 100}
"""Number of workers without an outcome after which a cell fails: those that died, and those that were stopped."""
PROBLEMS = {
    "died": "its worker died 5 times (killed, or out of memory); use fewer --jobs or more memory",
    "stopped": "its job was stopped 100 times; raise timeout_min in [slurm]",
}
BUSY_POLLS = 40
"""Looks at the running cells after which a cell that another machine runs is submitted again."""

Select = Callable[[Mapping[str, Outcome]], Sequence[Cell]]
"""Function that returns, given the outcomes by key, the cells that may start."""


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
    """Run the cells of a sweep that have no outcome, and return the outcomes by the keys of the cells.

    Args:
        folder: folder of the sweep.
        cells: all cells.
        engine: where the cells run; it is closed at the end.
        select: function that chooses the cells that may start; by default all.
        retry_failed: run cells again that failed before.
        title: title for the progress.
        progress: show progress.

    Raises:
        Interrupted: after SIGINT or SIGTERM, once the running cells are saved.
        ReviverError: if a cell is damaged or cannot be written, or the engine fails.
    """
    signals: list[int] = []
    driver = _Driver(folder.absolute(), engine)
    with (
        handling_signals(lambda number, _: signals.append(number)),
        ProgressBar(title, len(cells), "cells", visible=progress) as bar,
    ):
        try:
            for cell in cells:
                driver.read_outcome(cell, retry_failed=retry_failed)
            while not signals and driver.step(cells if select is None else select(driver.outcomes)):
                failed = sum(outcome.status == "failed" for outcome in driver.outcomes.values())
                text = f"{len(driver.running)} running" + (f", {failed} failed" if failed else "")
                bar.update(len(driver.outcomes), text)
        finally:
            engine.close([future for _, future in driver.running.values()])
    if signals:
        raise Interrupted(f"{folder}: stopped, the runs are saved; go on with the same command", signals[0])
    return driver.outcomes


class _Driver:
    """State of a sweep: by key, the outcomes, the running cells with their futures, and the workers without an outcome."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.running: dict[str, tuple[Cell, Future[Ended]]] = {}
        self._folder, self._engine = folder, engine
        self._lost: Counter[tuple[str, str]] = Counter()
        self._busy_until: dict[str, float] = {}

    def read_outcome(self, cell: Cell, *, retry_failed: bool = False) -> bool:
        """Read the outcome of a cell, which may be that of another machine; return whether it has one."""
        folder = cell_folder(self._folder, cell)
        outcome = read_outcome(folder, cell)
        if outcome is not None and outcome.status == "failed" and retry_failed:
            with explain_write_errors(folder):
                (folder / "outcome.json").unlink()
        elif outcome is not None:
            self.outcomes[cell.key] = outcome
        return cell.key in self.outcomes

    def step(self, cells: Sequence[Cell]) -> bool:
        """Submit cells, and wait a moment for outcomes; return whether cells remain."""
        remains, room = False, len(self.running) < self._engine.slots
        # Last those that another machine has been running.
        for cell in sorted(cells, key=lambda cell: self._busy_until.get(cell.key, 0.0)) if room else ():
            if len(self.running) == self._engine.slots:
                break
            if cell.key in self.outcomes or cell.key in self.running or self.read_outcome(cell):
                continue
            remains = True
            if time.monotonic() >= self._busy_until.get(cell.key, 0.0):
                attempts = 1 + self._lost[cell.key, "died"]
                self.running[cell.key] = cell, self._engine.submit(self._folder, cell, attempts)
        if not self.running and not remains:
            return False
        time.sleep(self._engine.poll)
        for cell, future in list(self.running.values()):
            if future.done():
                del self.running[cell.key]
                try:
                    self._settle(cell, future.result())
                except self._engine.died:
                    self._settle(cell, "died")
        return True

    def _settle(self, cell: Cell, ended: Ended | Literal["died"]) -> None:
        """Keep the outcome of a cell. A cell without one runs again, but not forever."""
        if isinstance(ended, Exception):
            raise ended
        if ended == "busy":
            self._busy_until[cell.key] = time.monotonic() + BUSY_POLLS * self._engine.poll
        elif isinstance(ended, str):
            self._lost[cell.key, ended] += 1
            if self._lost[cell.key, ended] == LIMITS[ended]:
                attempts = max(1, self._lost[cell.key, "died"])
                error = f"{PROBLEMS[ended]}, and use --retry-failed"
                outcome = Outcome(key=cell.key, status="failed", error=error, attempts=attempts)
                self.outcomes[cell.key] = record_outcome(cell_folder(self._folder, cell), outcome)
        else:
            self.outcomes[cell.key] = ended
