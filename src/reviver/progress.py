"""Progress: a bar with the remaining time on a terminal, a line in a notebook, otherwise lines of the log."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Self

from rich import progress as rich
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar as Bar
from rich.segment import Segment

from reviver.text import count, duration, escape_controls

logger = logging.getLogger("reviver")

UPDATE_SECONDS = 0.25
"""Minimum time between two updates of the bar."""
MIN_BAR, MAX_BAR = 10, 24
"""Range of the width of the bar, in characters."""
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


class _Line:
    """A task on one line: description, bar, units, time left, and the parts of its text, of which the first matters most.

    On a narrow terminal the last parts of the text are left out first, then the bar, the first part, and the time left. Only
    a description that is too long is cut.
    """

    def __init__(self, task: rich.Task) -> None:
        self.task = task

    def __rich_measure__(self, _: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        task, width = self.task, options.max_width - 1
        done = f" {int(task.completed)}/{task.total:.0f} {task.fields['unit']}"
        name = task.description
        free = width - cell_len(name) - len(done)
        if free < 0:
            name, free = set_cell_size(name, max(0, width - len(done))), 0

        def fit(text: str, reserved: int = 0) -> str:
            nonlocal free
            text = text if len(text) + reserved <= free else ""
            free -= len(text)
            return text

        left = fit(self.time_left)
        first, *others = task.fields["text"].split(", ")
        text = fit(f"  {first}")
        for part in others if text else ():
            longer = fit(f", {part}", reserved=MIN_BAR + 1)
            text += longer
            if not longer:
                break
        yield Segment(name)
        if free > MIN_BAR:
            yield Segment(" ")
            yield Bar(task.total or 1, task.completed, width=min(MAX_BAR, free - 1))
        yield Segment(done, console.get_style("progress.download"))
        yield Segment(left, console.get_style("progress.remaining"))
        yield Segment(text)

    @property
    def time_left(self) -> str:
        """Text for the time left, empty as long as it is unknown, and at the end."""
        seconds = self.task.time_remaining
        if seconds is None or self.task.finished:
            return ""
        minutes, seconds = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"  {hours}:{minutes:02}:{seconds:02} left" if hours else f"  {minutes:02}:{seconds:02} left"


class _LineColumn(rich.ProgressColumn):
    max_refresh = None

    def render(self, task: rich.Task) -> _Line:
        return _Line(task)


class ProgressBar:
    """Progress of a loop of `total` units, such as `epochs`, with a `description`; a context manager.

    Attributes:
        status: text before the text of each update, such as the last score.
    """

    def __init__(self, description: str, total: int, unit: str, *, visible: bool) -> None:
        self.status = ""
        self._total, self._unit, self._visible = total, unit, visible
        self._due = 0.0
        console = Console(stderr=True)
        self._is_bar = visible and console.is_terminal
        self._in_notebook = visible and console.is_jupyter
        self._width = 0  # of the line in a notebook
        self._progress = rich.Progress(
            _LineColumn(), console=console, refresh_per_second=4, speed_estimate_period=float("inf"), expand=True
        )
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
        """Show that `completed` units are done, with a `text` such as the current loss; skipped if it is not due.

        Parts of the text have commas between, those that matter most first: the last ones are left out where there is no room.
        """
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
