"""Supervisor of a worker: it counts crashes, hangs, growth of memory, and wrong outcomes."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.readers import ALL
from tests.fuzz.worker import MAX_GROWTH, SLOW_SECONDS, choose, keep

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
"""Seconds until a worker must have read its first valid file."""


@dataclass
class Tally:
    """Counts of outcomes of the inputs of one reader."""

    inputs: int = 0
    values: int = 0
    errors: int = 0
    crashes: int = 0
    hangs: int = 0
    slow: int = 0
    large: int = 0
    wrong: int = 0
    slowest: float = 0.0
    """Processor time of the slowest input in seconds."""
    growth: int = 0
    """Memory of the input that took the most, in MB."""
    problems: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """Number of inputs with a problem: neither a correct result nor a `ReviverError` in time."""
        return self.crashes + self.hangs + self.slow + self.large + self.wrong

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON, with the first 20 problems."""
        return {**asdict(self), "problems": self.problems[:20]}


def supervise(spans: Mapping[str, range], kept: Path, *, hang_seconds: float) -> dict[str, Tally]:
    """Let a worker read inputs; it is replaced if it crashes or hangs.

    Args:
        spans: numbers of the inputs of each reader.
        kept: folder in which inputs with a problem are saved.
        hang_seconds: an input without an outcome after twice this time hangs, unless it waits for a processor.

    Returns:
        The counts of each reader.
    """
    tallies = {name: Tally() for name in spans}
    pending = dict(spans)
    while pending:
        with tempfile.TemporaryDirectory() as home:
            ended = _run_worker(Path(home), kept, pending, tallies, hang_seconds)
            if ended is None:
                break
            name, number = next(iter(pending.items()))
            _keep_last(Path(home) / name, kept, name, number.start)
        tally = tallies[name]
        tally.inputs += 1
        tally.crashes += ended != "hang"
        tally.hangs += ended == "hang"
        tally.problems.append(f"{name}/{number.start}: {ended}")
        pending = _advanced(pending, name, number.start + 1)
    return tallies


def _keep_last(folder: Path, kept: Path, reader_name: str, number: int) -> None:
    """Save the input at which a worker ended; it is still in the folder of the worker."""
    if folder.is_dir():
        with tempfile.TemporaryDirectory() as home:
            seeds = ALL[reader_name].prepare(Path(home))
        name, _ = choose(reader_name, seeds, number)
        keep((folder / name).read_bytes(), kept, reader_name, number, name)


def _advanced(pending: dict[str, range], name: str, start: int) -> dict[str, range]:
    """Return the pending inputs without those of `name` before `start`."""
    pending = pending | {name: range(start, pending[name].stop)}
    return {name: span for name, span in pending.items() if span}


def _run_worker(
    home: Path, kept: Path, pending: dict[str, range], tallies: Mapping[str, Tally], hang_seconds: float
) -> str | None:
    """Run a worker, and remove the inputs that it has read from `pending`.

    Returns:
        The reason why the worker ended too early, or None if it did not.

    Raises:
        RuntimeError: if a valid file is not read correctly.
        KeyboardInterrupt: if Ctrl-C ended the worker.
    """
    jobs = [f"{name}:{span.start}:{span.stop}" for name, span in pending.items()]
    command = [sys.executable, "-m", "tests.fuzz.worker", str(home), str(kept), *jobs]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        for line in _lines(worker, hang_seconds):
            if line is None:
                worker.kill()
                return "hang"
            if "seed" in line and line["outcome"] != "value":
                worker.kill()
                raise RuntimeError(f"a valid file is not read: {line}")
            if "number" in line:
                _count(tallies[line["reader"]], line)
                advanced = _advanced(pending, line["reader"], line["number"] + 1)
                pending.clear()
                pending.update(advanced)
    if worker.returncode == -signal.SIGINT:
        raise KeyboardInterrupt
    return f"ended by signal or status {worker.returncode}" if pending else None


def _lines(worker: subprocess.Popen[bytes], hang_seconds: float) -> Iterator[dict[str, Any] | None]:
    """Yield the lines of a worker as they come, and None at the end if it is silent for too long.

    It may be silent for longer while it starts or creates valid files; a line marks the end of that.
    """
    assert worker.stdout is not None
    rest, seconds = b"", START_SECONDS
    spent: list[float] = []  # processor time at the end of each wait since the last line
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(seconds):
                state, now = _processor(worker.pid)
                is_asleep = state not in "RD" and now in spent[-1:]  # it neither used nor wants a processor
                if spent and (is_asleep or now - spent[0] > seconds / 2):
                    yield None
                    return
                spent.append(now)
                continue
            spent = []
            content = worker.stdout.read1(1 << 16)
            if not content:
                return
            *texts, rest = (rest + content).split(b"\n")
            for line in map(json.loads, texts):
                seconds = START_SECONDS if line.get("is_last") else hang_seconds
                yield line


def _processor(process: int) -> tuple[str, float]:
    """Return the state of a process (R or D: it uses or wants a processor or the disk) and its processor time in seconds."""
    state, *numbers = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return state, sum(map(int, numbers[10:12])) / os.sysconf("SC_CLK_TCK")


def _count(tally: Tally, line: Mapping[str, Any]) -> None:
    tally.inputs += 1
    tally.values += line["outcome"] == "value"
    tally.errors += line["outcome"] == "error"
    tally.wrong += line["outcome"] == "problem"
    is_slow, is_large = line["seconds"] > SLOW_SECONDS, line["growth"] > MAX_GROWTH
    tally.slow += is_slow
    tally.large += is_large
    tally.slowest = max(tally.slowest, line["seconds"])
    tally.growth = max(tally.growth, line["growth"])
    if line["outcome"] == "problem" or is_slow or is_large:
        cost = f"{line['seconds']} s, {line['growth']} MB"
        tally.problems.append(f"{line['reader']}/{line['number']}: {line['problem'] or line['outcome']} ({cost})")
