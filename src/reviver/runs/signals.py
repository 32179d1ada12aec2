"""Stop signals: Ctrl-C (SIGINT) and SIGTERM let a training loop end its step and save, before it stops."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from reviver.system import STOP_SIGNALS


class StopSignal:
    """The `number` of the first stop signal that this process has received, None before.

    At a second one, `KeyboardInterrupt` is raised at once, unless it `ignores_others`.
    """

    def __init__(self, *, ignores_others: bool) -> None:
        self.number: int | None = None
        self._ignores_others = ignores_others

    def handle(self, number: int, _: FrameType | None) -> None:
        """Remember the first signal, so that the loop can stop."""
        if self.number is None:
            self.number = number
        elif not self._ignores_others:
            raise KeyboardInterrupt


@contextmanager
def handling_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `handler` at SIGINT and SIGTERM inside; outside the main thread, change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, previous_handler in previous.items():
            signal.signal(number, previous_handler)
