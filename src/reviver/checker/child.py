"""Child process of `submissions`: it runs the definitions of a submission, checks its pieces and appends results to a file.

python -P -m reviver.checker.child RESULTS SECONDS MEMORY_BYTES COURSE, in a folder with a copy of the submission
"""

import ast
import json
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 64 << 20
"""Maximum size of a file that the code may write."""
MAX_FILES = 60
"""Files of a submission that are read."""


def limit(seconds: int, num_bytes: int) -> None:
    """Limit computing time, memory and files of this process, where the operating system can do that."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        num_bytes += int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def find_files(folder: Path) -> list[Path]:
    """Return the code of a submission: its modules, and its notebooks."""
    found = [path for suffix in ("py", "ipynb") for path in sorted(folder.rglob(f"*.{suffix}"))]
    hidden = (".ipynb_checkpoints", "__MACOSX", "__pycache__", "site-packages", ".git")
    return [path for path in found if not set(hidden) & set(path.parts) and not path.name.startswith("._")][:MAX_FILES]


def main() -> None:
    """Check the submission in the current folder."""
    import torch

    from reviver.checker.assignment import find_pieces, recognize
    from reviver.checker.loading import OnCPU, load, prepare
    from reviver.checker.pieces import describe, run_pieces

    results, seconds, num_bytes, course = sys.argv[1:]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    files = find_files(Path.cwd())
    sys.path[:0] = list(dict.fromkeys(str(path.parent) for path in files))
    missing = prepare()
    limit(int(seconds), int(num_bytes))
    with open(results, "a", encoding="utf-8", buffering=1) as file, OnCPU():  # noqa: PTH123
        try:
            sources, problems = load(files)
            names = recognize(sources)
        except BaseException as error:
            print(json.dumps({"error": describe(error)}), file=file)
            return
        if course:
            names["*course"] = json.loads(course)
        pieces = find_pieces(names)
        about: dict[str, Any] = {
            "pieces": [(piece.name, piece.network) for piece in pieces],
            "missing": sorted(set(missing)),
        }
        about["found"] = ", ".join(
            each.name for source in sources for each in source.tree.body if isinstance(each, ast.ClassDef)
        )
        print(json.dumps(about | {"problem": problems[0] if problems else ""}), file=file)
        for outcome in run_pieces(names, pieces):
            print(json.dumps(outcome), file=file)
        file.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # threads of the code under test may run on
