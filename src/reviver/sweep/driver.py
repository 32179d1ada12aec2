"""Driver of a sweep: submits cells to an engine while it has room, until all have an outcome."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from reviver.errors import Interrupted, RunFolderError
from reviver.files.atomic import make_folder
from reviver.files.file_errors import explain_write_errors
from reviver.progress import ProgressBar
from reviver.sweep.cells import Cell, Ended, Outcome, cell_folder, execute, read_outcome, record_outcome
from reviver.sweep.engines import Engine
from reviver.system import handling_signals

LIMITS = {
    "died": (5, "its worker died 5 times (killed, or out of memory); use fewer --jobs or more memory"),
    "stopped": (100, "its job was stopped 100 times; raise timeout_min in [slurm]"),
}
"""Number of workers without an outcome after which a cell fails, and its error: of those that died or were stopped."""
BUSY_POLLS = 40
"""Looks at the running cells after which a cell that another machine runs is submitted again."""


def open_sweep(folder: Path, kind: str = "sweep", parts: Sequence[str] = ("cells",)) -> None:
    """Create the folder of a sweep, or check that it is one: that it has the folders `parts`. `kind` is its name in errors.

    Raises:
        RunFolderError: if it holds something else, or cannot be written.
    """
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not is_empty and not all((folder / part).is_dir() for part in parts):
        raise RunFolderError(f"{folder}: exists and is not the folder of a {kind}; choose another --out")
    with explain_write_errors(folder):
        for part in parts:
            make_folder(folder / part)


def run_cells(
    folder: Path,
    cells: Sequence[Cell],
    engine: Engine,
    *,
    select: Callable[[Mapping[str, Outcome]], Sequence[Cell]] | None = None,
    retry_failed: bool = False,
    title: str = "sweep",
    progress: bool = False,
) -> dict[str, Outcome]:
    """Run the cells of a sweep that have no outcome, and return the outcomes by the keys of the cells.

    With `retry_failed`, cells that failed before run again. `select` is given the outcomes so far and returns the cells
    that may start; by default all may. The engine is closed at the end.

    Raises:
        Interrupted: after SIGINT or SIGTERM, once the running cells are saved.
        ReviverError: if a cell is damaged or cannot be written, or the engine fails.
    """
    signals: list[int] = []
    driver = _Driver(folder.absolute(), engine)
    outcomes, running = driver.outcomes, driver.running
    with (
        handling_signals(lambda number, _: signals.append(number)),
        ProgressBar(title, len(cells), "cells", visible=progress) as bar,
    ):
        try:
            for cell in cells if retry_failed else ():
                driver.forget_failure(cell)
            while not signals and driver.submit(cells if select is None else select(outcomes)):
                time.sleep(engine.poll)
                for cell, future in [pair for pair in running.values() if pair[1].done()]:
                    del running[cell.key]
                    driver.settle(cell, future)
                failed = sum(outcome.status == "failed" for outcome in outcomes.values())
                bar.update(len(outcomes), f"{len(running)} running" + (f", {failed} failed" if failed else ""))
        finally:
            engine.close([future for _, future in running.values()])
    if signals:
        raise Interrupted(f"{folder}: stopped, the runs are saved; go on with the same command", signals[0])
    return outcomes


@dataclass
class _Driver:
    """State of a sweep, by the keys of the cells."""

    folder: Path
    engine: Engine
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    running: dict[str, tuple[Cell, Future[Ended]]] = field(default_factory=dict)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)  # workers without an outcome, also by the reason
    waits_until: dict[str, float] = field(default_factory=dict)  # when a cell of another machine is submitted again

    def is_done(self, cell: Cell) -> bool:
        """Return whether a cell has an outcome, which may be that of another machine."""
        if outcome := self.outcomes.get(cell.key) or read_outcome(cell_folder(self.folder, cell), cell):
            self.outcomes[cell.key] = outcome
        return outcome is not None

    def forget_failure(self, cell: Cell) -> None:
        """Remove the outcome of a cell if it has failed."""
        if self.is_done(cell) and self.outcomes[cell.key].status == "failed":
            del self.outcomes[cell.key]
            folder = cell_folder(self.folder, cell)
            with explain_write_errors(folder):
                for name in ("outcome.json", "traceback.txt"):
                    (folder / name).unlink(missing_ok=True)  # another machine may do the same

    def submit(self, cells: Sequence[Cell]) -> bool:
        """Submit cells while the engine has room, last those of other machines; return whether to go on."""
        known, waits = len(self.outcomes), False
        for cell in sorted(cells, key=lambda cell: self.waits_until.get(cell.key, 0.0)):
            if len(self.running) == self.engine.slots:
                break
            if cell.key in self.running or self.is_done(cell):
                continue
            if time.monotonic() < self.waits_until.get(cell.key, 0.0):
                waits = True
                continue
            attempts = 1 + self.lost[cell.key, "died"]
            call = partial(execute, self.folder, cell, self.engine.threads, attempts)
            self.running[cell.key] = cell, self.engine.submit(call)
        return waits or bool(self.running) or len(self.outcomes) > known  # an outcome may let other cells start

    def settle(self, cell: Cell, future: Future[Ended]) -> None:
        """Keep the outcome of a cell. A cell without one runs again, but not forever."""
        try:
            ended: Ended | Literal["died"] = future.result()
        except self.engine.died:
            ended = "died"
        if isinstance(ended, Exception):
            raise ended
        if isinstance(ended, Outcome):
            self.outcomes[cell.key] = ended
        elif ended == "busy":
            self.waits_until[cell.key] = time.monotonic() + BUSY_POLLS * self.engine.poll
        else:
            self.lost[cell.key, ended] += 1
            limit, problem = LIMITS[ended]
            if self.lost[cell.key, ended] == limit:
                error, attempts = f"{problem}, and use --retry-failed", max(1, self.lost[cell.key, "died"])
                outcome = Outcome(key=cell.key, status="failed", error=error, attempts=attempts)
                self.outcomes[cell.key] = record_outcome(cell_folder(self.folder, cell), outcome)
