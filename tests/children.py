"""Child processes that are killed, or whose system calls fail, at a chosen call.

Calls of C functions are counted in all threads by Python's profiling hook: either all calls, or only those that change
files. The processes are forked from a server that has completed a run of each kind already.
"""

import io
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

CHANGES = frozenset({"fsync", "mkdir", "open", "rename", "replace", "rmdir", "unlink", "write"})
"""Names of functions of `os`, and of file methods, whose system calls change files."""


def changes_files(frame: FrameType, function: Any) -> bool:
    """Return whether a call of `function` from `frame` is a system call that changes files or flushes them to disk."""
    if function.__name__ not in CHANGES or isinstance(function.__self__, (io.StringIO, io.BytesIO)):
        return False
    if function.__name__ == "open":
        return not str(frame.f_locals.get("mode", "r")).startswith("r")
    return isinstance(function.__self__, (ModuleType, io.IOBase))


class CallCounter:
    """Counter of C calls that runs `action` just before call number `at`, of all calls or of those that change files."""

    def __init__(self, at: int = 0, action: Callable[[], None] = lambda: None, *, changes_only: bool = False) -> None:
        self.calls = 0
        self.changes = 0
        self._at = at
        self._action = action
        self._changes_only = changes_only

    def __enter__(self) -> "CallCounter":
        threading.setprofile(self._count)
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "c_call":
            return
        is_change = changes_files(frame, argument)
        self.calls += 1
        self.changes += is_change
        if self._at == (self.changes if self._changes_only else self.calls) and (is_change or not self._changes_only):
            self._action()


def die() -> None:
    """Kill this process, as `kill -9` or a loss of power does."""
    os.kill(os.getpid(), signal.SIGKILL)


def open_server(*preload: str) -> ForkServerContext:
    """Return a server that forks children, with one thread and the modules `preload` imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warm", *preload])
    return context


def run_child(server: ForkServerContext, function: Callable[..., None], *arguments: Any) -> int:
    """Call `function` in a child, and return its exit code, or the negative number of the signal that killed it."""
    child = server.Process(target=function, args=arguments)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def write_counts(path: Path, counter: CallCounter) -> None:
    """Write the counts of a child for its parent."""
    path.write_text(f"{counter.calls} {counter.changes}")


def read_counts(path: Path) -> tuple[int, int]:
    """Return the number of all calls, and of those that change files."""
    calls, changes = path.read_text().split()
    return int(calls), int(changes)
