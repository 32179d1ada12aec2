"""Worker that reads damaged files and writes one line of JSON for each, so that the supervisor knows where it ended.

    python -m tests.fuzz.worker FOLDER KEPT READER:FIRST:END ...

An input is determined by its number, except for times and the machine in the valid files. Inputs with a problem are
saved in KEPT. Lines are written to the original stdout.
"""

import gc
import json
import logging
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random

import torch

from tests.fuzz.readers import ALL, Reader, Seeds, outcome

SLOW_SECONDS = 1.0
"""Maximum processor time of an input in seconds."""
MAX_GROWTH = 200
"""Maximum memory of an input in MB."""
MAX_ADDRESS_GROWTH = 6 << 30
"""Bytes of address space that a worker may allocate, to protect the machine."""


def choose(reader_name: str, seeds: Seeds, number: int) -> tuple[str, bytes]:
    """Return the name of the file that input `number` damages, and the damaged content."""
    random = Random(f"{reader_name}/{number}")
    name = random.choice(sorted(seeds))
    return name, ALL[reader_name].damaged(name, seeds, random)


def try_one(reader: Reader, path: Path, content: bytes, original: bytes) -> tuple[str, str]:
    """Read one damaged file and restore the original; return the outcome and the problem, if any."""
    path.write_bytes(content)
    try:
        return outcome(reader, path), ""
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "problem", f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
    finally:
        path.write_bytes(original)


def memory(which: str) -> int:
    """Return the memory of this process in KiB: the current one (VmRSS), or the peak (VmHWM) since it was reset.

    The peak of getrusage would include that of the parent process.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{which}:")[2].split()[0])


def keep(content: bytes, kept: Path, reader_name: str, number: int, name: str) -> None:
    """Save an input; the name of the file identifies it."""
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{reader_name}-{number}-{Path(name).name}").write_bytes(content)


def main(home: Path, kept: Path, jobs: list[str]) -> None:
    """Run the jobs one after the other."""
    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C must not count as an outcome
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable()
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MAX_ADDRESS_GROWTH
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for job in jobs:
        reader_name, first, end = job.split(":")
        reader, folder = ALL[reader_name], home / reader_name
        folder.mkdir(parents=True)
        seeds = reader.prepare(folder)
        for name, content in sorted(seeds.items()):  # allocate what stays allocated before the first damaged file
            result, problem = try_one(reader, folder / name, content, content)
            print(json.dumps({"reader": reader_name, "seed": name, "outcome": result, "problem": problem}), file=report)
        gc.collect()
        for number in range(int(first), int(end)):
            name, content = choose(reader_name, seeds, number)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
            before, started = memory("VmRSS"), time.process_time()
            result, problem = try_one(reader, folder / name, content, seeds[name])
            seconds = time.process_time() - started
            growth = (memory("VmHWM") - before) // 1024
            if result == "problem" or seconds > SLOW_SECONDS or growth > MAX_GROWTH:
                keep(content, kept, reader_name, number, name)
            line = {"reader": reader_name, "number": number, "outcome": result, "problem": problem}
            line |= {"seconds": round(seconds, 4), "growth": growth, "is_last": number == int(end) - 1}
            print(json.dumps(line), file=report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
