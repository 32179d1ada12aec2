"""A process that reads damaged files, and its supervisor: it counts crashes, hangs, growth of memory, wrong outcomes."""

import gc
import logging
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import torch

from tests.fuzz.readers import READERS, Reader, write_files

SLOW_SECONDS = 1.0
"""Maximum processor time of an input in seconds."""
MAX_GROWTH = 200
"""Maximum memory of an input in MB."""
MAX_ADDRESS_GROWTH = 6 << 30
"""Bytes of address space that a worker may allocate, to protect the machine."""
COUNTS = ("inputs", "values", "errors", "crashes", "hangs", "slow", "large", "wrong")
SPAWN = multiprocessing.get_context("spawn")


def new_tally() -> dict[str, Any]:
    """Return the counts of a reader before its first input; with the most seconds and the most MB of an input."""
    return {**dict.fromkeys(COUNTS, 0), "slowest": 0.0, "growth": 0, "problems": []}


def supervise(
    tallies: Mapping[str, dict[str, Any]], ends: Mapping[str, int], kept: Path, *, hang_seconds: float
) -> None:
    """Let a worker read the inputs of each reader from `tally["inputs"]` to its end; it is replaced if it crashes or hangs.

    Inputs with a problem are saved in the folder `kept`. An input hangs if it takes `hang_seconds` of processor time, or
    ten times as long by the clock.

    Raises:
        RuntimeError: if a valid file is not read correctly.
        KeyboardInterrupt: if Ctrl-C ended the worker.
    """
    kept.mkdir(parents=True, exist_ok=True)
    while jobs := {
        name: range(tally["inputs"], ends[name]) for name, tally in tallies.items() if tally["inputs"] < ends[name]
    }:
        receiver, sender = SPAWN.Pipe(duplex=False)
        with receiver, tempfile.TemporaryDirectory(dir=kept) as home, suppress(EOFError):
            worker = SPAWN.Process(target=work, args=(jobs, Path(home), kept, hang_seconds, sender))
            worker.start()
            sender.close()
            while True:
                add(tallies, *receiver.recv())
        worker.join()
        if worker.exitcode == -signal.SIGINT:
            raise KeyboardInterrupt
        if worker.exitcode == 1:
            raise RuntimeError("the worker has an error of its own, or a valid file is not read correctly")
        if worker.exitcode:
            name = next(name for name in jobs if tallies[name]["inputs"] < ends[name])
            outcome = "hangs" if -worker.exitcode in (signal.SIGPROF, signal.SIGALRM) else "crashes"
            add(tallies, name, outcome, f"{outcome} (status {worker.exitcode})", 0.0, 0)


def add(
    tallies: Mapping[str, dict[str, Any]], name: str, outcome: str, problem: str, seconds: float, growth: int
) -> None:
    """Count the next input of a reader."""
    tally = tallies[name]
    if problem or seconds > SLOW_SECONDS or growth > MAX_GROWTH:
        tally["problems"].append(f"{name}/{tally['inputs']}: {problem or outcome} ({seconds} s, {growth} MB)")
    for count in ("inputs", outcome, *["slow"] * (seconds > SLOW_SECONDS), *["large"] * (growth > MAX_GROWTH)):
        tally[count] += 1
    tally["slowest"], tally["growth"] = max(tally["slowest"], seconds), max(tally["growth"], growth)


def work(jobs: Mapping[str, range], home: Path, kept: Path, hang_seconds: float, connection: Connection) -> None:
    """Read damaged files, and send what came of each; an input is determined by its number, except for times in a file."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C must not count as an outcome
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable()
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MAX_ADDRESS_GROWTH
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    write_files(home)
    gc.freeze()  # what is imported stays
    for name, numbers in jobs.items():
        reader = READERS[name]
        files = {str(path.relative_to(home)): path.read_bytes() for path in home.glob(reader.pattern)}
        assert files, f"no {reader.pattern}"
        for file_name, content in files.items():  # allocate what stays allocated before the first damaged file
            outcome, problem = try_one(reader, home / file_name, content, content)
            assert outcome == "values", f"a valid file is not read: {name}/{file_name}: {problem}"
        gc.collect()
        for number in numbers:
            file_name, content = reader.damaged(files, Random(f"{name}/{number}"))
            copy = kept / f"{name}-{number}-{Path(file_name).name}"
            copy.write_bytes(content)  # it stays if this process ends
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
            signal.setitimer(signal.ITIMER_PROF, hang_seconds)  # its signal ends the process
            signal.setitimer(signal.ITIMER_REAL, 10 * hang_seconds)
            before, started = memory("VmRSS"), time.process_time()
            outcome, problem = try_one(reader, home / file_name, content, files[file_name])
            seconds, growth = time.process_time() - started, (memory("VmHWM") - before) // 1024
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if not problem and seconds <= SLOW_SECONDS and growth <= MAX_GROWTH:
                copy.unlink()
            connection.send((name, outcome, problem, round(seconds, 4), growth))


def try_one(reader: Reader, path: Path, content: bytes, original: bytes) -> tuple[str, str]:
    """Read one damaged file and restore the original; return the count that it belongs to, and the problem, if any."""
    path.write_bytes(content)
    try:
        return reader.outcome(path), ""
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "wrong", f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
    finally:
        path.write_bytes(original)


def memory(which: str) -> int:
    """Return the memory of this process in KiB: the current one (VmRSS), or the peak (VmHWM) since it was reset."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{which}:")[2].split()[0])
