"""Time stamps of the collectives of a training step, which split its time into computing, reducing and waiting.

The processes of one machine share a clock (`time.monotonic`). A collective can end only after the last process has
started it; before that the others wait. The product takes no time stamps: `recorded` replaces functions of
`torch.distributed`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch.distributed as dist


class Collective(NamedTuple):
    """Time stamps of one process in one collective, in seconds."""

    started: float
    """When it gave its numbers."""
    blocked: float
    """When it began to wait for the result; later than `started` if it computed meanwhile."""
    done: float
    """When it had the result."""


class Split(NamedTuple):
    """Seconds of a step of one process; their sum is the step."""

    computing: float
    reducing: float
    """Blocked after the last process had started the collective."""
    waiting: float
    """Blocked before that."""


class RecordedWork:
    """Replaces the `Work` of an asynchronous collective, and notes when it is waited for."""

    def __init__(self, work: Any, log: list[Collective]) -> None:
        self._work, self._log = work, log
        self._index = len(log)
        log.append(Collective(time.monotonic(), 0.0, 0.0))  # in the order in which they start, as on every process

    def wait(self, *arguments: Any) -> Any:
        """Wait for the result."""
        blocked = time.monotonic()
        result = self._work.wait(*arguments)
        self._log[self._index] = Collective(self._log[self._index].started, blocked, time.monotonic())
        return result


@contextmanager
def recorded() -> Iterator[list[Collective]]:
    """Collect the time stamps of the all-reduces and all-gathers inside, in the order in which they start."""
    log: list[Collective] = []

    def recording(collective: Callable[..., Any]) -> Callable[..., Any]:
        def record(*arguments: Any, async_op: bool = False, **keywords: Any) -> Any:
            work = RecordedWork(collective(*arguments, async_op=True, **keywords), log)
            return work if async_op else work.wait()

        return record

    with ExitStack() as patches:
        for name in ("all_reduce", "all_gather"):
            patches.enter_context(patch.object(dist, name, recording(getattr(dist, name))))
        yield log


def split(seconds: float, own: Sequence[Collective], everyone: Sequence[Sequence[Collective]]) -> Split:
    """Split `seconds` of one process by its collectives `own` and those of `everyone`."""
    reducing = waiting = 0.0
    for index, collective in enumerate(own):
        last_start = max(log[index].started for log in everyone)
        ready = min(max(collective.blocked, last_start), collective.done)
        waiting += ready - collective.blocked
        reducing += collective.done - ready
    return Split(seconds - reducing - waiting, reducing, waiting)
