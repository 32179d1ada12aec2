"""Actions just before chosen calls of C functions, and child processes.

Python's profiling hook counts the calls: all, or only those that change files. The processes are forked from a server
that has completed a run of each kind already.
"""

import io
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Container
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
    """Counter of C calls that runs `action` just before some: by their number among all, or among those that change files."""

    def __init__(
        self, action: Callable[[], None] = lambda: None, *, calls: Container[int] = (), changes: Container[int] = ()
    ) -> None:
        self.calls = 0
        self.changes = 0
        self._action = action
        self._chosen_calls = calls
        self._chosen_changes = changes

    def __enter__(self) -> "CallCounter":
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "c_call":
            return
        is_change = changes_files(frame, argument)
        self.calls += 1
        self.changes += is_change
        if self.calls in self._chosen_calls or (is_change and self.changes in self._chosen_changes):
            self._action()


class Copier:
    """Action that copies a folder, if it is there: the copies are what SIGKILL at these moments would leave on the disk."""

    def __init__(self, folder: Path, copies: Path) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._copies = copies

    def __call__(self) -> None:
        self.paths.append(self._copies / f"{self._folder.name}-{len(self.paths)}")
        if self._folder.exists():
            shutil.copytree(self._folder, self.paths[-1])


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
