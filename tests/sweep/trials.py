"""Functions of trials, and an engine, for tests of sweeps."""

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from reviver.errors import DataError, Interrupted
from reviver.sweep.trials import Ended, Trial


class InlineEngine:
    """Engine that runs each trial in this process at once."""

    slots, poll = 1, 0.0
    threads: Any = None  # as they are
    died: Any = property(lambda _: Died)

    def __init__(self, *_: Any, **__: Any) -> None:
        self.trials: list[Trial] = []

    def submit(self, call: Any) -> Future[Ended]:
        self.trials.append(call.args[1])
        future: Future[Ended] = Future()
        try:
            future.set_result(call())
        except Died as error:
            future.set_exception(error)
        return future

    def close(self, running: Any) -> None:
        assert not running


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def square(folder: Path, x: float) -> dict[str, Any]:
    with (folder / "calls").open("a") as file:
        file.write("x")
    threads = None if "torch" in sys.modules else os.environ.get("OMP_NUM_THREADS")  # torch reads it at its import
    return {"square": x * x, "pid": os.getpid(), "directory": str(Path.cwd()), "threads": threads}


def refuse(folder: Path, value: int) -> dict[str, Any]:
    raise DataError(f"value must be 1,\ngot {value}")


def fail(folder: Path) -> dict[str, Any]:
    return {"ratio": 1 / 0}


def leave(folder: Path) -> dict[str, Any]:
    sys.exit("there is no GPU")


class Died(BaseException):
    """End of a worker of an `InlineEngine`."""


def end(folder: Path) -> dict[str, Any]:
    raise Died


def die(folder: Path) -> dict[str, Any]:
    """Kill this process as `kill -9` does, in the first call."""
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def wait_for(folder: Path, path: str) -> dict[str, Any]:
    """Wait until the file at `path` exists, and save after a signal."""
    (folder / "begun").touch()
    try:
        while not Path(path).exists():
            time.sleep(0.01)
    except Interrupted:
        (folder / "saved").touch()
        raise
    return {}
