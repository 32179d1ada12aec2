"""Child process of `submissions`: it runs the definitions of a submission, checks its pieces and appends results to a file."""

import ast
import json
import os
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from reviver.checker.assignment import find_pieces, recognize
from reviver.checker.loading import OnCPU, load, prepare
from reviver.checker.pieces import describe, run_pieces

MAX_FILE_BYTES = 64 << 20
"""Maximum size of a file that the code may write."""
MAX_FILES = 60
"""Files of a submission that are read."""
HIDDEN = {".ipynb_checkpoints", "__MACOSX", "__pycache__", "site-packages", ".git"}


def limit(seconds: int, num_bytes: int) -> None:
    """Limit computing time, memory and files of this process, where the operating system can do that."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        num_bytes += int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


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


def main(folder: str, results: str, seconds: int, num_bytes: int, course: Mapping[str, Any]) -> None:
    """Check the submission in a folder within limits and write results, then end the process."""
    leave(folder)
    files = [path for suffix in ("py", "ipynb") for path in sorted(Path.cwd().rglob(f"*.{suffix}"))]
    files = [path for path in files if not HIDDEN & set(path.parts) and not path.name.startswith("._")][:MAX_FILES]
    sys.path[:0] = list(dict.fromkeys(str(path.parent) for path in files))
    missing = prepare()
    limit(seconds, num_bytes)
    with open(results, "a", encoding="utf-8", buffering=1) as file, OnCPU():  # noqa: PTH123
        try:
            sources, problems = load(files)
            names = recognize(sources)
        except BaseException as error:
            print(json.dumps({"error": describe(error)}), file=file)
        else:
            names["*course"] = course
            pieces = find_pieces(names)
            classes = [each.name for source in sources for each in source.tree.body if isinstance(each, ast.ClassDef)]
            about = {"pieces": [(piece.name, piece.network) for piece in pieces], "missing": sorted(set(missing))}
            about |= {"found": ", ".join(classes), "problem": "".join(problems[:1])}
            print(json.dumps(about), file=file)
            for outcome in run_pieces(names, pieces):
                print(json.dumps(outcome), file=file)
    os._exit(0)  # threads of the code under test may run on
