"""Check submissions, each in a child process with limits of computing time and memory and with a folder of its own.

The limits hold accidents: an endless loop, exit(), a tensor of 10 GB. They are no sandbox: the code runs with the rights of
whoever checks it.
"""

import json
import math
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from reviver.checker import child
from reviver.checker.assignment import CheckReport
from reviver.checker.pieces import PieceOutcome
from reviver.text import count, one_line

ALONE = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"}
"""Environment of a child: a thread of its own, figures without a window, and no modules of the folder that one is in."""
MAX_RESULT_BYTES = 1 << 20
MAX_COPY_BYTES = 50 << 20
"""What of a submission is copied: its code, and other files up to this size in all."""
IDLE_SECONDS = 30
"""A child that computes nothing for so long waits for something."""
TICK = 0.1
"""Seconds between looks at a child."""
START: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
"""Children are forks of a process that has torch imported already, where the operating system can do that."""
STARTING = threading.Lock()
"""One thread at a time starts a child, since the environment is changed for it."""
CODE = (".py", ".ipynb")
HIDDEN = ("__MACOSX", ".ipynb_checkpoints", "__pycache__", ".git", ".venv")
CANVAS = re.compile(r"(.+?)_(?:late_)?\d+_\d+_", re.IGNORECASE)
"""Names of files from Canvas: student_12345_67890_file.py."""
ADDED = re.compile(r"_\d+_assignsubmission_file_?$|^\d+-\d+ - | - [A-Z][a-z]+ \d+, .*$|^submission_(?=\d)")
"""What Moodle and Brightspace add to the name of a student."""
ADVICE = "let it end by itself: no endless loop, no exit(), nothing that waits or needs more memory"
MEND = "mend this first, or let the file define its classes without it"
NOTHING = "defines no piece of an assignment; classes: {}; call the network LSTM, or see reviver check --start lstm"


class Submission(NamedTuple):
    """What one student handed in."""

    name: str
    files: Mapping[str, Path | tuple[Path, str]]
    """Files by their names in the submission; in a zip, the zip and the name there."""


class Limits(NamedTuple):
    """Limits of the check of one submission."""

    seconds: float = 60.0
    """Computing time; how long the check takes on a busy machine does not matter."""
    memory_gb: float = 2.0
    """Memory beyond what torch takes itself."""


def find_submissions(paths: Sequence[Path]) -> list[Submission]:
    """Return the submissions in files, folders and zips: a folder of folders, and a zip of them, has one student in each."""
    found = []
    for path in paths:
        if path.is_dir():
            found += split(
                path, {str(each.relative_to(path)): each for each in sorted(path.rglob("*")) if each.is_file()}
            )
        elif path.suffix == ".zip" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [info.filename for info in archive.infolist() if not info.is_dir() and is_inside(info.filename)]
            found += split(path, {name: (path, name) for name in sorted(names)})
        else:
            found.append(Submission(str(path), {path.name: path}))
    return found


def is_inside(name: str) -> bool:
    """Return whether the name of a file in a zip stays in its folder."""
    return not Path(name).is_absolute() and ".." not in Path(name).parts and not set(":\\") & set(name)


def split(path: Path, files: Mapping[str, Any]) -> list[Submission]:
    """Return the submissions of a folder or zip: one per folder in it, or per student in the names of files, or one in all."""
    parts = {name: Path(name).parts for name in files if not set(HIDDEN) & set(Path(name).parts)}
    while parts and all(len(each) > 1 for each in parts.values()) and len({each[0] for each in parts.values()}) == 1:
        parts = {name: each[1:] for name, each in parts.items()}  # one folder around everything
    students: dict[str, dict[str, Any]] = {}
    for name, each in parts.items():
        match = CANVAS.match(each[0])
        student = ADDED.sub("", each[0]) if len(each) > 1 else match.group(1) if match else ""
        inner = each[1:] if len(each) > 1 else (each[0][match.end() :] if match else each[0],)
        students.setdefault(student, {})[str(Path(*inner))] = files[name]
    loose = any(name.endswith(CODE) for name in students.pop("", {}))
    students = {name: each for name, each in students.items() if any(file.endswith((*CODE, ".zip")) for file in each)}
    if loose or len(students) < 2:
        return [Submission(str(path), {str(Path(*each)): files[name] for name, each in parts.items()})]
    return [Submission(name, each) for name, each in students.items()]


def check_submissions(
    submissions: Sequence[Submission], limits: Limits, jobs: int, course: Mapping[str, Any] | None = None
) -> Iterator[CheckReport]:
    """Check submissions, `jobs` at a time, and yield their reports in order."""
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(lambda each: check_submission(each, limits, stop, course), submissions)
        finally:
            stop.set()


def check_submission(
    submission: Submission, limits: Limits, stop: threading.Event, course: Mapping[str, Any] | None = None
) -> CheckReport:
    """Check a submission in a child process, which ends at `stop`."""
    if stop.is_set():
        return CheckReport(submission.name, (), "not checked")
    with tempfile.TemporaryDirectory(prefix="reviver-check-", ignore_cleanup_errors=True) as name:
        folder, results = Path(name, "work"), Path(name, f".results-{os.urandom(8).hex()}")
        folder.mkdir()
        results.touch()
        try:
            copy_files(submission, folder)
        except (OSError, zipfile.BadZipFile) as error:
            return CheckReport(submission.name, (), f"cannot be read ({getattr(error, 'strerror', None) or error})")
        numbers = (math.ceil(limits.seconds), int(limits.memory_gb * 2**30))
        process = START.Process(target=child.main, args=(str(folder), str(results), *numbers, course or {}))
        with STARTING, mock.patch.dict(os.environ, ALONE):
            START.set_forkserver_preload([child.__name__])
            process.start()
        try:
            problem = wait(process, limits, stop)
        finally:
            with suppress(ProcessLookupError, AttributeError):
                os.killpg(process.pid or 0, signal.SIGKILL)  # and the processes that it started
            process.kill()
            process.join()
        return read_results(submission.name, results, problem)


def copy_files(submission: Submission, folder: Path) -> None:
    """Copy a submission, with the zips in it unpacked."""
    left = MAX_COPY_BYTES
    for name, source in submission.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, tuple):
            with zipfile.ZipFile(source[0]) as archive:
                left -= archive.getinfo(source[1]).file_size
                if left > 0:
                    target.write_bytes(archive.read(source[1]))
        else:
            left -= source.stat().st_size
            if left > 0:
                shutil.copyfile(source, target)
        if target.suffix == ".zip" and target.exists() and zipfile.is_zipfile(target):
            with zipfile.ZipFile(target) as archive:
                left -= sum(info.file_size for info in archive.infolist())
                if left > 0:
                    archive.extractall(target.with_suffix(""), [each for each in archive.namelist() if is_inside(each)])


def wait(process: Any, limits: Limits, stop: threading.Event) -> str:
    """Wait for a child while it computes; return why it ended before it was done. How busy the machine is does not count."""
    used, since = 0.0, time.monotonic()
    while process.exitcode is None and not stop.is_set():
        process.join(TICK)
        now = computing_time(process.pid)
        if now is not None and now > used:
            used, since = now, time.monotonic()
        if used > limits.seconds + 2:
            break
        if time.monotonic() - since > (IDLE_SECONDS if now is not None else 3 * limits.seconds):
            return f"waits for something: it computed nothing for {IDLE_SECONDS} seconds"
    status = process.exitcode
    if status is None or status == -getattr(signal, "SIGXCPU", 0):
        return f"takes more than {count(limits.seconds, 'seconds')}"
    return f"ends the process by signal {-status}" if status < 0 else f"ends the process with exit code {status}"


def computing_time(process: int) -> float | None:
    """Return the computing time of a process in seconds; None where the operating system does not say."""
    with suppress(OSError, ValueError, AttributeError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return None


def read_results(name: str, results: Path, problem: str) -> CheckReport:
    """Return the report of what a child wrote; a piece without a result has the `problem`."""
    with results.open("rb") as file:
        lines = file.read(MAX_RESULT_BYTES).decode("utf-8", "replace").splitlines()
    if not lines:
        return CheckReport(name, (), f"{problem}; {ADVICE}" if problem else "")
    try:
        about, *records = map(json.loads, lines)
        if "error" in about or not about["pieces"]:
            reason = about.get("error") or about["problem"]
            text = f"{one_line(reason)}; {MEND}" if reason else NOTHING.format(about["found"] or "none")
            return CheckReport(name, (), text)
        outcomes = [PieceOutcome(*record)._replace(remarks=tuple(record[-1])) for record in records]
        rest = about["pieces"][len(outcomes) :]
        for index, (piece, network) in enumerate(rest):
            verdict = ("waits", f"waits for {rest[0][0]}") if index else ("unclear", problem, "", ADVICE)
            outcomes.append(PieceOutcome(piece, network, *verdict))
        return CheckReport(name, tuple(outcomes), problem if rest else "", tuple(about["missing"]))
    except (ValueError, TypeError, KeyError, AttributeError):  # the code under test wrote there
        return CheckReport(name, (), "left results that cannot be read")
