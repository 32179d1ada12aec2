"""Check submissions, each in a child process with limits of computing time and memory and on a copy of its own.

The limits hold accidents: an endless loop, exit(), a tensor of 10 GB. They are no sandbox: the code runs with the rights of
whoever checks it.
"""

import json
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from unittest import mock

from reviver.checker import child
from reviver.checker.assignment import CheckReport
from reviver.checker.pieces import PieceOutcome
from reviver.text import count, one_line

ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore"}
"""Environment of children: one thread, no GPU, no modules of the folder that one is in, and no warnings of what they leave."""
MAX_OTHER_BYTES = 10 << 20
"""Maximum size of a file beside code that is copied: settings and texts, but no data sets and checkpoints."""
START: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
"""Children are forks of a process that has torch imported already, where the operating system can do that."""
STARTING = Lock()
"""Held while children start or are reaped: starting one reaps others."""
CODE = (".py", ".ipynb", ".zip")
HIDDEN = re.compile(r"(^|[/\\])(\.[^/\\.]|__MACOSX|__pycache__|site-packages)")
STUDENT = re.compile(
    r"""(\d+-\d+\ -\ |submission_(?=\d))?  # Brightspace, Gradescope
    (?P<student>[^/]+?)
    ((?i:_late)?_\d+_\d+_  # Canvas, which makes no folders
    |(_\d+_assignsubmission_file_?|\ -\ [A-Z][a-z]+\ \d+,\ [^/]*)?/)  # Moodle, Brightspace
    (?P<file>.+)""",
    re.VERBOSE,
)
"""Path of a file in a class: the name of a student, what a system adds to it, and the path in the submission."""
ADVICE = "let it end by itself: no endless loop, no exit(), nothing that waits or needs more memory"
MEND = "mend this first, or let the file define its classes without it"
NOTHING = "defines no piece of an assignment; classes: {}; call the network LSTM, or see reviver check --start lstm"
UNREADABLE = (OSError, RuntimeError, zipfile.BadZipFile)
"""Errors of a file; RuntimeError is that of a zip with a password."""


class Submission(NamedTuple):
    """What one student handed in."""

    name: str
    files: Mapping[str, Path]
    """Files by their names in the submission."""


def find_submissions(paths: Sequence[Path], folder: Path) -> list[Submission]:
    """Return the submissions in files, folders and zips, which are unpacked in `folder`; a folder of folders has one in each."""
    found = []
    for number, path in enumerate(paths):
        root = path
        if path.suffix == ".zip":
            with suppress(*UNREADABLE):  # it is one submission, which cannot be read
                root = unpack(path, folder / str(number))
        found += split(str(path), root) if root.is_dir() else [Submission(str(path), {path.name: path})]
    return found


def is_needed(name: str, size: int) -> bool:
    """Return whether a file is copied, by its name in the submission and its size in bytes."""
    return not HIDDEN.search(name) and (name.endswith(CODE) or size <= MAX_OTHER_BYTES)


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a zip in a folder and return it. Raises one of UNREADABLE."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder, [each for each in archive.infolist() if is_needed(each.filename, each.file_size)])
    return folder


def split(whole: str, root: Path) -> list[Submission]:
    """Return the submissions of a folder: one per folder in it, or per student in the names of files, or one, the whole."""
    paths = {each.relative_to(root).as_posix(): each for each in sorted(root.rglob("*")) if each.is_file()}
    files = {name: path for name, path in paths.items() if is_needed(name, path.stat().st_size)}
    first, *others = {name.partition("/")[0] for name in files} or [""]
    if first not in files and first and not others:  # one folder around everything
        return split(whole, root / first)
    students: dict[str, dict[str, Path]] = {}
    for name, path in files.items():
        match = STUDENT.fullmatch(name)
        student, inner = match.group("student", "file") if match else ("", name)
        students.setdefault(student, {})[inner] = path
    has_loose = any(name.endswith((".py", ".ipynb")) for name in students.pop("", {}))
    found = [Submission(name, each) for name, each in students.items() if any(file.endswith(CODE) for file in each)]
    return [Submission(whole, files)] if has_loose or len(found) < 2 else found


def check_submissions(
    submissions: Sequence[Submission], jobs: int, seconds: float, memory_gb: float, course: Mapping[str, Any]
) -> Iterator[CheckReport]:
    """Check submissions, `jobs` at a time, and yield their reports in order.

    The limits of each are its computing time, whatever the machine does beside, and the memory beyond torch's own.
    """
    check = partial(check_submission, seconds=seconds, num_bytes=int(memory_gb * 2**30), course=course)
    of_optimizers = ["torch._dynamo"] * (len(submissions) > 4)  # their first step imports it, in seconds
    START.set_forkserver_preload([child.__name__, *of_optimizers])
    with mock.patch.dict(os.environ, ALONE), ThreadPoolExecutor(jobs) as threads:
        try:
            yield from threads.map(check, submissions)
        finally:
            with STARTING:
                for process in multiprocessing.active_children():
                    end(process)


def check_submission(submission: Submission, seconds: float, num_bytes: int, course: Mapping[str, Any]) -> CheckReport:
    """Check a copy of a submission in a child process."""
    with tempfile.TemporaryDirectory(prefix="reviver-check-", ignore_cleanup_errors=True) as temporary:
        folder, results = Path(temporary, "work"), Path(temporary, os.urandom(8).hex())
        results.touch()
        try:
            for name, source in submission.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                if source.suffix == ".zip":
                    unpack(source, (folder / name).with_suffix(""))
                else:
                    shutil.copyfile(source, folder / name)
        except UNREADABLE as error:
            problem = f"cannot be read ({getattr(error, 'strerror', None) or error})"
            return CheckReport(submission.name, (), problem)
        process = START.Process(target=child.main, args=(str(folder), str(results), seconds, num_bytes, course))
        with STARTING:
            process.start()
        wait([process.sentinel])
        with STARTING:
            status = process.exitcode
            end(process)
        problem = f"ends the process by signal {-status}" if status < 0 else f"ends the process with exit code {status}"
        if status in child.TOO_LONG:
            problem = f"takes more than {count(seconds, 'seconds')}"
        elif status == child.IDLE:
            idle = count(min(seconds, child.IDLE_SECONDS), "seconds")
            problem = f"waits for something: it computed nothing for {idle}"
        return read_results(submission.name, results, problem)


def end(process: Any) -> None:
    """End a child with all processes that it started."""
    with suppress(ProcessLookupError, AttributeError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def read_results(name: str, results: Path, problem: str) -> CheckReport:
    """Return the report of what a child wrote; a piece without a result has the `problem`."""
    try:
        lines = results.read_text(encoding="utf-8", errors="replace").splitlines()
        if not lines:
            return CheckReport(name, (), f"{problem}; {ADVICE}")
        about, *records = map(json.loads, lines)
        if not about["pieces"]:
            nothing = NOTHING.format(about["found"] or "none")
            return CheckReport(name, (), f"{one_line(about['problem'])}; {MEND}" if about["problem"] else nothing)
        rest = about["pieces"][len(records) :]
        outcomes = [PieceOutcome(*record) for record in records]
        outcomes += [PieceOutcome(piece, network, "unclear", problem, "", ADVICE) for piece, network in rest]
        return CheckReport(name, tuple(outcomes), problem if rest else "", tuple(about["missing"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # the code under test was there
        return CheckReport(name, (), "left results that cannot be read")
