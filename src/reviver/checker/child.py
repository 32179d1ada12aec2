"""Child process of `submissions`: it runs the code of a file, checks its pieces and appends results to a file, a line each.

python -P -m reviver.checker.child FILE RESULTS SECONDS MEMORY_BYTES
"""

import importlib.util
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 64 << 20
"""Maximum size of a file that the code may write."""


def limit(seconds: int, num_bytes: int) -> None:
    """Limit computing time, memory and files of this process, where the operating system can do that."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        num_bytes += int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def load(path: str) -> dict[str, Any]:
    """Run the code of a file, and return the names that it defines."""
    spec = importlib.util.spec_from_file_location("submission", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["submission"] = module
    spec.loader.exec_module(module)
    return vars(module)


def main() -> None:
    """Check the file."""
    import torch

    from reviver.checker.assignment import find_pieces
    from reviver.checker.pieces import describe, run_pieces

    path, results, *limits = sys.argv[1:]
    torch.set_num_threads(1)
    limit(*map(int, limits))
    with open(results, "a", encoding="utf-8", buffering=1) as file:  # noqa: PTH123
        try:
            names = load(path)
        except BaseException as error:
            print(json.dumps({"error": describe(error)}), file=file)
            return
        pieces = find_pieces(names)
        print(json.dumps({"pieces": [(piece.name, piece.network) for piece in pieces]}), file=file)
        for outcome in run_pieces(names, pieces):
            print(json.dumps(outcome), file=file)
        file.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # threads of the code under test may run on
