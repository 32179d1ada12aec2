"""Child process of `submissions`: it runs the definitions of a submission, checks its pieces and appends results to a file."""

import ast
import json
import os
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, process_time, sleep
from typing import Any

import torch

from reviver.checker.assignment import find_pieces, overlooked, recognize
from reviver.checker.loading import SourceFile, load, prepare
from reviver.checker.pieces import describe, run_pieces

MAX_FILE_BYTES = 64 << 20
"""Maximum size of a file that the code may write."""
TOO_LONG, IDLE = (200, -24), 201
"""Exit codes of a process that computes for too long, in a long call of C by SIGXCPU, and of one that waits for something."""
IDLE_SECONDS = 30
"""A process that computes nothing for so long, or for its whole time limit, waits for something."""


def limit(seconds: float, num_bytes: int) -> None:
    """Limit computing time, memory and files of this process."""
    threading.Thread(target=watch, args=(seconds,), daemon=True).start()
    with suppress(ImportError, OSError, ValueError):  # what the operating system can do
        import resource

        most = int(process_time() + seconds) + 2  # for a long call of C, in which no other thread runs
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
        num_bytes += int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))


def watch(seconds: float) -> None:
    """End this process when it has computed for some seconds, or has waited for so long, at most IDLE_SECONDS."""
    end, used, since = process_time() + seconds, process_time(), monotonic()
    while process_time() < end:
        if process_time() > used + 0.1:  # what this thread takes does not count
            used, since = process_time(), monotonic()
        if monotonic() > since + min(seconds, IDLE_SECONDS):
            os._exit(IDLE)
        sleep(0.2)
    os._exit(TOO_LONG[0])


def leave(folder: str) -> None:
    """Enter a folder and leave the terminal, the group of processes and the threads of who started this one."""
    os.chdir(folder)
    if hasattr(os, "setsid"):
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def main(folder: str, results: str, seconds: float, num_bytes: int, course: Mapping[str, Any]) -> None:
    """Check the submission in a folder within limits and write results, then end the process."""
    leave(folder)
    files = [path for suffix in ("py", "ipynb") for path in sorted(Path.cwd().rglob(f"*.{suffix}"))]
    missing = prepare()
    limit(seconds, num_bytes)
    sources, problems, names = list[SourceFile](), list[str](), dict[str, Any]()
    with open(results, "a", encoding="utf-8", buffering=1) as file:  # noqa: PTH123
        try:
            sources, problems, watch = load(files)
            names = recognize(sources) | {"*course": course, "*seen": watch}
        except BaseException as error:
            problems = [describe(error)]
        pieces = find_pieces(names)
        pieces += overlooked(names) if pieces else []
        classes = [each.name for source in sources for each in source.tree.body if isinstance(each, ast.ClassDef)]
        about = {"pieces": [(piece.name, piece.network) for piece in pieces], "missing": sorted(set(missing))}
        print(json.dumps(about | {"found": ", ".join(classes), "problem": "".join(problems[:1])}), file=file)
        for outcome in run_pieces(names, pieces):
            print(json.dumps(outcome), file=file)
    os._exit(0)  # threads of the code under test may run on
