"""Progress on stderr: a bar with the time left on a terminal, a plain line now and then elsewhere."""

import logging
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger("reviver")

UPDATE_SECONDS = 0.25
LINE_SECONDS = 10.0


class ProgressBar:
    """Shows how far a loop is. A context manager; `total` counts `unit`s such as epochs.

    Attributes:
        note: what is shown behind the facts of each update.
    """

    def __init__(self, description: str, total: int, unit: str, *, visible: bool) -> None:
        self.note = ""
        self._description = description
        self._total = total
        self._unit = unit
        self._visible = visible
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._due = 0.0
        self._started: tuple[float, float] | None = None
        console = Console(stderr=True)
        if visible and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn(unit),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[facts]}"),
                console=console,
                refresh_per_second=4,
            )
            self._task = self._bar.add_task(description, total=total, facts="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last update to be worth another one."""
        return self._visible and time.monotonic() >= self._due

    def update(self, completed: float, facts: str = "") -> None:
        """Show `completed` units done, with `facts` such as the current loss."""
        if not self.due and completed < self._total:
            return
        facts = ", ".join(text for text in (facts, self.note) if text)
        now = time.monotonic()
        self._due = now + (UPDATE_SECONDS if self._bar is not None else LINE_SECONDS)
        self._started = self._started or (now, completed)
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, facts=facts)
        elif self._visible:
            done = f"{completed:.1f}/{self._total} {self._unit}"
            logger.info("%s: %s%s  %s", self._description, done, self._time_left(now, completed), facts)

    def _time_left(self, now: float, completed: float) -> str:
        """The time left at the pace since the first update, in words, once it can be told."""
        started, completed_then = self._started or (now, completed)
        if completed <= completed_then or completed >= self._total:
            return ""
        seconds = (now - started) / (completed - completed_then) * (self._total - completed)
        return f", {seconds // 60:.0f} min {seconds % 60:.0f} s left"
