"""Progress on stderr: a bar with the remaining time on a terminal, otherwise a line of text every few seconds."""

import logging
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

logger = logging.getLogger("reviver")

UPDATE_SECONDS = 0.25
"""Minimum time between two updates of the bar."""
LINE_SECONDS = 10.0
"""Minimum time between two lines."""


class ProgressBar:
    """Progress of a loop of `total` `unit`s, such as epochs; a context manager.

    Attributes:
        status: text appended to the text of each update, such as the last score.
    """

    def __init__(self, description: str, total: int, unit: str, *, visible: bool) -> None:
        self.status = ""
        self._total, self._unit, self._visible = total, unit, visible
        self._due = 0.0
        console = Console(stderr=True)
        self._is_bar = visible and console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            refresh_per_second=4,
            speed_estimate_period=float("inf"),
        )
        self._progress.add_task(description, total=total, text="")
        (self._task,) = self._progress.tasks

    def __enter__(self) -> Self:
        if self._is_bar:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_bar:
            self._progress.stop()

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last update for another one."""
        return self._visible and time.monotonic() >= self._due

    def update(self, completed: float, text: str = "") -> None:
        """Show that `completed` units are done, with a `text` such as the current loss; skipped if it is not due."""
        if not self.due and completed < self._total:
            return
        text = ", ".join(text for text in (text, self.status) if text)
        self._due = time.monotonic() + (UPDATE_SECONDS if self._is_bar else LINE_SECONDS)
        self._progress.update(self._task.id, completed=completed, text=text)
        if self._visible and not self._is_bar:
            seconds = self._task.time_remaining
            left = f", {seconds // 60:.0f} min {seconds % 60:.0f} s left" if seconds else ""
            logger.info(
                "%s: %g/%d %s%s  %s", self._task.description, round(completed, 1), self._total, self._unit, left, text
            )
