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
from contextlib import suppress
from itertools import accumulate, islice
from multiprocessing.connection import wait
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from unittest import mock

from reviver.checker import child
from reviver.checker.assignment import CheckReport
from reviver.checker.pieces import PieceOutcome
from reviver.text import count, one_line

ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONSAFEPATH": "1"}
"""Environment of children: one thread, no GPU, and no modules of the folder that one is in."""
MAX_OTHER_BYTES = 50 << 20
"""Size of the files beside code that are copied, the smallest first: settings and texts, but no data sets and checkpoints."""
START: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
"""Children are forks of a process that has torch imported already, where the operating system can do that."""
CODE = (".py", ".ipynb", ".zip")
HIDDEN = re.compile(r"(^|[/\\])(\.[^/\\.]|__MACOSX|__pycache__|site-packages)")
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
    files: Mapping[str, Path]
    """Files by their names in the submission."""


def find_submissions(paths: Sequence[Path], folder: Path) -> list[Submission]:
    """Return the submissions in files, folders and zips, which are unpacked in `folder`; a folder of folders has one in each."""
    found = []
    for number, path in enumerate(paths):
        root = path
        if path.suffix == ".zip":
            with suppress(OSError, RuntimeError, zipfile.BadZipFile):  # it is one submission, which cannot be read
                root = unpack(path, folder / str(number))
        if root.is_dir():
            sizes = {
                str(each.relative_to(root)): each.stat().st_size for each in sorted(root.rglob("*")) if each.is_file()
            }
            found += split(str(path), {name: root / name for name in choose(sizes)})
        else:
            found.append(Submission(str(path), {path.name: path}))
    return found


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a zip in a folder and return it. Raises OSError, BadZipFile, or RuntimeError for one with a password."""
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}
        archive.extractall(folder, choose(sizes))
    return folder


def choose(sizes: Mapping[str, int]) -> list[str]:
    """Return the names of files of which a copy is made, of all with their sizes in bytes."""
    names = [name for name in sizes if not HIDDEN.search(name)]
    others = sorted((name for name in names if not name.endswith(CODE)), key=lambda name: sizes[name])
    totals = zip(others, accumulate(sizes[name] for name in others), strict=True)
    large = {name for name, total in totals if total > MAX_OTHER_BYTES}
    return [name for name in names if name not in large]


def split(whole: str, files: Mapping[str, Path]) -> list[Submission]:
    """Return the submissions of a folder: one per folder in it, or per student in the names of files, or one, the whole."""
    parts = {name: PurePath(name).parts for name in files}
    while parts and all(len(each) > 1 for each in parts.values()) and len({each[0] for each in parts.values()}) == 1:
        parts = {name: each[1:] for name, each in parts.items()}  # one folder around everything
    students: dict[str, dict[str, Path]] = {}
    for name, (first, *rest) in parts.items():
        match = None if rest else CANVAS.match(first)
        student = ADDED.sub("", first) if rest else match[1] if match else ""
        inner = str(PurePath(*rest)) if rest else first[match.end() if match else 0 :]
        students.setdefault(student, {})[inner] = files[name]
    has_loose = any(name.endswith((".py", ".ipynb")) for name in students.pop("", {}))
    found = [Submission(name, each) for name, each in students.items() if any(file.endswith(CODE) for file in each)]
    if has_loose or len(found) < 2:
        return [Submission(whole, {str(PurePath(*each)): files[name] for name, each in parts.items()})]
    return found


def check_submissions(
    submissions: Sequence[Submission], jobs: int, seconds: float, memory_gb: float, course: Mapping[str, Any]
) -> Iterator[CheckReport]:
    """Check submissions, `jobs` at a time, and yield their reports in order.

    The limits of each are its computing time, whatever the machine does beside, and the memory beyond torch's own.
    """
    checks = [Check(each, seconds, int(memory_gb * 2**30), course) for each in submissions]
    waiting, running = iter(checks), list[Check]()
    of_optimizers = ["torch._dynamo"] * (len(submissions) > 4)  # their first step imports it, in seconds
    START.set_forkserver_preload([child.__name__, *of_optimizers])
    try:
        for check in checks:
            while check.report is None:
                running += [each for each in islice(waiting, jobs - len(running)) if each.start()]
                wait([each.process.sentinel for each in running], None if running else 0)
                for each in [each for each in running if each.process.exitcode is not None]:
                    running.remove(each)
                    each.finish()
            yield check.report
    finally:
        for each in running:
            each.finish()


class Check:
    """The check of a submission in a child process."""

    process: Any
    report: CheckReport | None = None

    def __init__(self, submission: Submission, seconds: float, num_bytes: int, course: Mapping[str, Any]) -> None:
        self.name, self.files = submission
        self.seconds, self.num_bytes, self.course = seconds, num_bytes, course

    def start(self) -> bool:
        """Copy the submission and start the child; return False, with a report, if it cannot be read."""
        self.temporary = tempfile.TemporaryDirectory(prefix="reviver-check-", ignore_cleanup_errors=True)
        folder, self.results = Path(self.temporary.name, "work"), Path(self.temporary.name, os.urandom(8).hex())
        self.results.touch()
        try:
            for name, source in self.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                if source.suffix == ".zip":
                    unpack(source, (folder / name).with_suffix(""))
                else:
                    shutil.copyfile(source, folder / name)
        except (OSError, RuntimeError, zipfile.BadZipFile) as error:
            self.report = CheckReport(self.name, (), f"cannot be read ({getattr(error, 'strerror', None) or error})")
            self.temporary.cleanup()
            return False
        arguments = (str(folder), str(self.results), self.seconds, self.num_bytes, self.course)
        self.process = START.Process(target=child.main, args=arguments)
        with mock.patch.dict(os.environ, ALONE):
            self.process.start()
        return True

    def finish(self) -> None:
        """End the child with all processes that it started, and read its report."""
        status = self.process.exitcode
        with suppress(ProcessLookupError, AttributeError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        problem = f"ends the process with exit code {status}"
        if status in (child.TOO_LONG, -getattr(signal, "SIGXCPU", 0)):
            problem = f"takes more than {count(self.seconds, 'seconds')}"
        elif status == child.IDLE:
            idle = count(min(self.seconds, child.IDLE_SECONDS), "seconds")
            problem = f"waits for something: it computed nothing for {idle}"
        elif status is not None and status < 0:
            problem = f"ends the process by signal {-status}"
        self.report = read_results(self.name, self.results, problem)
        self.temporary.cleanup()


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
