"""Check files of students, each in a child process with limits of time and memory and a folder of its own.

The limits hold accidents: an endless loop, exit(), a tensor of 10 GB. They are no sandbox: the code runs with the rights of
whoever checks it.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from reviver.checker.assignment import CheckReport
from reviver.checker.pieces import PieceOutcome
from reviver.text import count, one_line

ALONE = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
"""Environment of a child: a thread of its own, and figures without a window."""
MAX_RESULT_BYTES = 1 << 20
PATIENCE = 3
TICK = 0.05
"""Seconds between looks at a child."""


class Limits(NamedTuple):
    """Limits of the check of one file."""

    seconds: float = 60.0
    """Computing time; on a busy machine the check may take PATIENCE times as long."""
    memory_gb: float = 2.0
    """Memory beyond what torch takes itself."""


def check_files(paths: Sequence[Path], limits: Limits, jobs: int) -> Iterator[CheckReport]:
    """Check files, `jobs` at a time, and yield their reports in order."""
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(lambda path: check_file(path, limits, stop), paths)
        finally:
            stop.set()


def check_file(path: Path, limits: Limits, stop: threading.Event) -> CheckReport:
    """Check a file in a child process, which ends at `stop`."""
    if stop.is_set():
        return CheckReport(str(path), (), "not checked")
    with tempfile.TemporaryDirectory(prefix="reviver-check-", ignore_cleanup_errors=True) as name:
        folder, results = Path(name, "work"), Path(name, "results")
        folder.mkdir()
        results.touch()
        try:
            shutil.copyfile(path, folder / "submission.py")
        except OSError as error:
            return CheckReport(str(path), (), f"cannot be read ({error.strerror})")
        numbers = (math.ceil(limits.seconds), int(limits.memory_gb * 2**30))
        command = [
            sys.executable,
            "-P",
            "-m",
            "reviver.checker.child",
            "submission.py",
            str(results),
            *map(str, numbers),
        ]
        with subprocess.Popen(  # noqa: S603
            command,
            cwd=folder,
            env=os.environ | ALONE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as child:
            end = time.monotonic() + PATIENCE * limits.seconds
            try:
                while child.poll() is None and time.monotonic() < end and not stop.is_set():
                    time.sleep(TICK)
                problem = describe_end(child.poll(), limits)
            finally:
                kill(child)
        return read_results(path, results, problem)


def kill(child: subprocess.Popen[bytes]) -> None:
    """End a child and the processes that it started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


def describe_end(status: int | None, limits: Limits) -> str:
    """Return why a child ended before it was done, by its exit status, None if it did not end."""
    if status is None or status == -getattr(signal, "SIGXCPU", 0):
        return f"takes more than {count(limits.seconds, 'seconds')}"
    return f"ends the process by signal {-status}" if status < 0 else f"ends the process with exit code {status}"


def read_results(path: Path, results: Path, problem: str) -> CheckReport:
    """Return the report of what a child wrote; a piece without a result has the `problem`."""
    with results.open("rb") as file:
        lines = file.read(MAX_RESULT_BYTES).decode("utf-8", "replace").splitlines()
    announced: list[Any] = []
    outcomes: list[PieceOutcome] = []
    try:
        for record in map(json.loads, lines):
            if isinstance(record, list):
                outcomes.append(PieceOutcome(*record))
            elif "error" in record:
                return CheckReport(str(path), (), one_line(record["error"]))
            else:
                announced = record["pieces"]
        if lines and not announced:
            return CheckReport(str(path), (), "defines no piece of an assignment; see reviver check --start lstm")
        rest = announced[len(outcomes) :]
        for index, (name, network) in enumerate(rest):
            text = f"waits for {rest[0][0]}" if index else problem
            outcomes.append(PieceOutcome(name, network, "waits" if index else "failed", text))
    except (ValueError, TypeError, KeyError, AttributeError):  # the code under test wrote there
        return CheckReport(str(path), (), "left results that cannot be read")
    return CheckReport(str(path), tuple(outcomes), problem if rest or not lines else "")
