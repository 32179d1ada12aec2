"""Processes that die, or whose system calls fail, at a chosen moment.

A moment is a number: that of a call into C, or of one of those that change files. They are counted in every thread,
by Python's hook for profilers. The processes are forked off a server that has made a run of each kind already.
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
"""Names of the functions of `os`, and of files, whose system calls change files."""


def changes_files(frame: FrameType, function: Any) -> bool:
    """Whether a call of `function`, from `frame`, is a system call that changes files, or durably keeps what was changed."""
    if function.__name__ not in CHANGES or isinstance(function.__self__, (io.StringIO, io.BytesIO)):
        return False
    if function.__name__ == "open":
        return not str(frame.f_locals.get("mode", "r")).startswith("r")
    return isinstance(function.__self__, (ModuleType, io.IOBase))


class Moments:
    """Counts the calls into C, and does `action` just before the one of the number `at`, of all or of `changes_only`."""

    def __init__(self, at: int = 0, action: Callable[[], None] = lambda: None, *, changes_only: bool = False) -> None:
        self.calls = 0
        self.changes = 0
        self._at = at
        self._action = action
        self._changes_only = changes_only

    def __enter__(self) -> "Moments":
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "c_call":
            return
        is_change = changes_files(frame, argument)
        self.calls += 1
        self.changes += is_change
        if self._at == (self.changes if self._changes_only else self.calls) and (is_change or not self._changes_only):
            self._action()


def die() -> None:
    """What loss of power or `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def open_server(*preload: str) -> ForkServerContext:
    """Return what children are forked off, with one thread and the modules `preload` imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warm", *preload])
    return context


def run_child(server: ForkServerContext, function: Callable[..., None], *arguments: Any) -> int:
    """Call `function` in a child; returns its exit code, or the negative number of the signal that killed it."""
    child = server.Process(target=function, args=arguments)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def note_counts(path: Path, moments: Moments) -> None:
    """Let a child tell its parent what it counted."""
    path.write_text(f"{moments.calls} {moments.changes}")


def read_counts(path: Path) -> tuple[int, int]:
    """Calls, and those of them that change files."""
    calls, changes = path.read_text().split()
    return int(calls), int(changes)
