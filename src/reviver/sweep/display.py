"""Progress of a sweep on stderr: a live table on a terminal, otherwise a line of text every few seconds."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reviver.runs.progress import LINE_SECONDS, UPDATE_SECONDS, logger
from reviver.sweep.cell import Cell, Outcome
from reviver.validation import show_value

MAX_ROWS = 20
"""Maximum number of running cells in the table."""


class Display:
    """Progress of a sweep; a context manager.

    Args:
        title: title, such as `sweep`.
        cells: all cells of the sweep.
        visible: whether to show anything.
        console: terminal, or file, to write to; stderr if None.

    Attributes:
        started: time when the sweep began, by `time.monotonic`.
    """

    def __init__(self, title: str, cells: Sequence[Cell], *, visible: bool, console: Console | None = None) -> None:
        self._title = title
        self._cells = {cell.key: cell for cell in cells}
        self._visible = visible
        self._due = 0.0
        self.started = time.monotonic()
        self._weight_before = 0.0
        self._starts: dict[str, float] = {}
        console = console or Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._visible and self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._visible and self._live is not None:
            self._live.stop()

    def start(self, outcomes: Mapping[str, Outcome]) -> None:
        """Begin to measure the time; `outcomes` were there before."""
        self._weight_before = self._weight(outcomes)
        self.started = time.monotonic()

    def update(self, outcomes: Mapping[str, Outcome], running: Mapping[str, str], remaining: Sequence[Cell]) -> None:
        """Show the state of the sweep; skipped if the last update was a moment ago.

        Args:
            outcomes: outcomes by the keys of the cells.
            running: machines of the running cells by key; empty for those of this process.
            remaining: cells that have no outcome yet.
        """
        now = time.monotonic()
        if not self._visible or now < self._due:
            return
        self._due = now + (LINE_SECONDS if self._live is None else UPDATE_SECONDS)
        left = [cell for cell in remaining if cell.key not in outcomes]
        counts = self.describe(outcomes, running, left, now)
        if self._live is None:
            logger.info("%s: %s", self._title, counts)
            return
        self._starts = {key: self._starts.get(key, now) for key in running}
        bar = ProgressBar(total=len(outcomes) + len(left), completed=len(outcomes), width=40)
        rows = Table.grid()
        for row in (Text(f"{self._title}: {counts}"), bar, self._table(running, now)):
            rows.add_row(row)
        self._live.update(rows, refresh=True)

    def describe(
        self, outcomes: Mapping[str, Outcome], running: Mapping[str, str], left: Sequence[Cell], now: float
    ) -> str:
        """Return how many cells are done, running, to go and failed, and the time left at the time `now`."""
        failed = sum(outcome.status == "failed" for outcome in outcomes.values())
        text = f"{len(outcomes) - failed} done, {len(running)} running, {len(left) - len(running)} to go"
        text += f", {failed} failed" if failed else ""
        done = self._weight(outcomes) - self._weight_before
        if not done:
            return text
        # The running cells are half done on average.
        weight = sum(cell.weight * (0.5 if cell.key in running else 1.0) for cell in left)
        half = sum(self._cells[key].weight for key in running) / 2
        seconds = (now - self.started) * weight / (done + half)
        return f"{text}, {seconds // 60:.0f} min {seconds % 60:.0f} s left"

    def _table(self, running: Mapping[str, str], now: float) -> Table:
        rows = [(self._cells[key], host) for key, host in running.items()][:MAX_ROWS]
        names = list(dict.fromkeys(name for cell, _ in rows for name in cell.axes))
        table = Table(*names, "seconds", "machine", box=None, header_style="dim")
        for cell, host in rows:
            values = [show_value(_short(cell.axes.get(name, ""))) for name in names]
            table.add_row(*values, f"{now - self._starts[cell.key]:.0f}", host)
        return table

    def _weight(self, outcomes: Mapping[str, Outcome]) -> float:
        return sum(self._cells[key].weight for key in outcomes)


def _short(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value
