"""Progress on stderr: a bar with the remaining time on a terminal, otherwise a line of text every few seconds."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Self

from rich import progress as rich
from rich.console import Console
from rich.table import Column
from rich.text import Text

from reviver.text import count, duration, escape_controls

logger = logging.getLogger("reviver")

UPDATE_SECONDS = 0.25
"""Minimum time between two updates of the bar."""
LINE_SECONDS = 10.0
"""Minimum time between two lines."""
_announcement: ContextVar[str] = ContextVar("announcement", default="")


@contextmanager
def announcing(text: str) -> Iterator[None]:
    """Let the first bar inside log a line before it starts, such as how long a training takes."""
    token = _announcement.set(text)
    try:
        yield
    finally:
        _announcement.reset(token)


class _StatusColumn(rich.ProgressColumn):
    """The text of the last update, cut to the width that is left."""

    max_refresh = None

    def render(self, task: rich.Task) -> Text:
        return Text(task.fields["text"], no_wrap=True, overflow="ellipsis")


class ProgressBar:
    """Progress of a loop of `total` units, such as `epochs`, with a `description`; a context manager.

    Attributes:
        status: text appended to the text of each update, such as the last score.
    """

    def __init__(self, description: str, total: int, unit: str, *, visible: bool) -> None:
        self.status = ""
        self._total, self._unit, self._visible = total, unit, visible
        self._due = 0.0
        console = Console(stderr=True)
        self._is_bar = visible and console.is_terminal
        whole = Column(no_wrap=True)  # on a narrow terminal only the bar and the text give way
        self._progress = rich.Progress(
            rich.TextColumn("{task.description}", markup=False, table_column=whole),  # a name may have brackets
            rich.BarColumn(bar_width=None, table_column=Column(max_width=24)),
            rich.MofNCompleteColumn(table_column=whole),
            rich.TextColumn(unit.removesuffix("s") if total == 1 else unit, table_column=whole),
            rich.TimeElapsedColumn(table_column=whole),
            rich.TextColumn("left", table_column=whole),
            rich.TimeRemainingColumn(compact=True, table_column=whole),
            _StatusColumn(),
            console=console,
            refresh_per_second=4,
            speed_estimate_period=float("inf"),
        )
        self._progress.add_task(escape_controls(description), total=total, text="")
        (self._task,) = self._progress.tasks

    def __enter__(self) -> Self:
        if self._visible and _announcement.get():
            logger.info(_announcement.get())
            _announcement.set("")
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
            left = f", {duration(seconds)} left" if seconds else ""
            done = count(self._total, self._unit)
            logger.info("%s: %g/%s%s  %s", self._task.description, round(completed, 1), done, left, text)
