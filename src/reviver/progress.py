"""Progress: a bar with the remaining time on a terminal, a line in a notebook, otherwise lines of the log."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Self

from rich import progress as rich
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group
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


@contextmanager
def logging_lines() -> Iterator[None]:
    """Log to stderr inside, as commands do, unless there is a bar, or the caller has set up logging."""
    console = Console(stderr=True)
    if logger.hasHandlers() or console.is_terminal or console.is_jupyter:
        yield
        return
    handler, level = logging.StreamHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _PartsThatFit(rich.ProgressColumn):
    """A text, cut at the last comma before which it fits."""

    max_refresh = None

    def render(self, task: rich.Task) -> Group:
        return Group(_Parts(task.fields["text"]))


class _Parts(str):
    __slots__ = ()

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[Text]:
        parts = self.split(", ")
        while len(parts) > 1 and cell_len(", ".join(parts)) > options.max_width:
            parts.pop()
        yield Text(", ".join(parts), no_wrap=True, overflow="ellipsis")


class ProgressBar:
    """Progress of a loop of `total` units, such as `epochs`, with a `description`; a context manager."""

    def __init__(self, description: str, total: int, unit: str, *, visible: bool) -> None:
        self.status = ""  # before the text of each update, such as the last score
        self._total, self._unit, self._visible = total, unit, visible
        self._due = 0.0
        console = Console(stderr=True)
        self._is_bar = visible and console.is_terminal
        self._in_notebook = visible and console.is_jupyter
        self._width = 0  # of the line in a notebook
        room = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._progress = rich.Progress(
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(bar_width=12),
            rich.TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}", style="progress.download"),
            rich.TimeRemainingColumn(compact=True),
            _PartsThatFit(table_column=room),
            console=console, refresh_per_second=4, speed_estimate_period=float("inf"), expand=True,
        )  # fmt: skip
        self._progress.add_task(
            escape_controls(description), total=total, text="", unit=unit.removesuffix("s") if total == 1 else unit
        )
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
        elif self._width:
            sys.stdout.write("\n")

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last update for another one."""
        return self._visible and time.monotonic() >= self._due

    def update(self, completed: float, text: str = "") -> None:
        """Show that `completed` units are done, with a `text`, cut at the last comma before which it fits; skipped if not due."""
        if not self.due and completed < self._total:
            return
        text = ", ".join(text for text in (self.status, text) if text)
        self._due = time.monotonic() + (UPDATE_SECONDS if self._is_bar or self._in_notebook else LINE_SECONDS)
        self._progress.update(self._task.id, completed=completed, text=text)
        if self._visible and not self._is_bar:
            seconds = self._task.time_remaining
            left = f", {duration(seconds)} left" if seconds else ""
            line = f"{self._task.description}: {round(completed, 1):g}/{count(self._total, self._unit)}{left}  {text}"
            if self._in_notebook:
                sys.stdout.write(f"\r{line:<{self._width}}")  # over the line before
                sys.stdout.flush()
                self._width = len(line)
            else:
                logger.info(line)
