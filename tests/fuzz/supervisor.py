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

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON, with the first 20 problems."""
        return {**asdict(self), "problems": self.problems[:20]}

    def add(self, line: Mapping[str, Any]) -> None:
        """Count the input that a line of a worker describes."""
        self.inputs += 1
        self.values += line["outcome"] == "value"
        self.errors += line["outcome"] == "error"
        self.wrong += line["outcome"] == "problem"
        is_slow, is_large = line["seconds"] > SLOW_SECONDS, line["growth"] > MAX_GROWTH
        self.slow += is_slow
        self.large += is_large
        self.slowest = max(self.slowest, line["seconds"])
        self.growth = max(self.growth, line["growth"])
        if line["outcome"] == "problem" or is_slow or is_large:
            cost = f"{line['seconds']} s, {line['growth']} MB"
            self.problems.append(f"{line['reader']}/{line['number']}: {line['problem'] or line['outcome']} ({cost})")


def supervise(spans: Mapping[str, range], kept: Path, *, hang_seconds: float) -> dict[str, Tally]:
    """Let a worker read the inputs of each reader whose numbers are given; it is replaced if it crashes or hangs.

    Inputs with a problem are saved in the folder `kept`. An input without an outcome after twice `hang_seconds` hangs,
    unless it waits for a processor.
    """
    tallies = {name: Tally() for name in spans}
    pending = {name: span for name, span in spans.items() if span}
    while pending:
        with tempfile.TemporaryDirectory() as home:
            ended = _run_worker(Path(home), kept, pending, tallies, hang_seconds)
            if not ended:
                break
            name, number = next(iter(pending.items()))[0], next(iter(pending.values())).start
            folder = Path(home) / name
            if folder.is_dir():  # save the input at which the worker ended
                with tempfile.TemporaryDirectory() as other:
                    file_name, _ = choose(name, ALL[name].prepare(Path(other)), number)
                keep((folder / file_name).read_bytes(), kept, name, number, file_name)
        tally = tallies[name]
        tally.inputs += 1
        tally.crashes += ended != "hang"
        tally.hangs += ended == "hang"
        tally.problems.append(f"{name}/{number}: {ended}")
        _advance(pending, name, number + 1)
    return tallies


def _advance(pending: dict[str, range], name: str, start: int) -> None:
    """Remove the inputs of `name` before `start`."""
    pending[name] = range(start, pending[name].stop)
    if not pending[name]:
        del pending[name]


def _run_worker(
    home: Path, kept: Path, pending: dict[str, range], tallies: Mapping[str, Tally], hang_seconds: float
) -> str:
    """Run a worker, remove the inputs that it has read from `pending`, and return why it ended too early, if it did.

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
            if "number" in line:
                tallies[line["reader"]].add(line)
                _advance(pending, line["reader"], line["number"] + 1)
            elif line["outcome"] != "value":
                worker.kill()
                raise RuntimeError(f"a valid file is not read: {line}")
    if worker.returncode == -signal.SIGINT:
        raise KeyboardInterrupt
    return f"ended by signal or status {worker.returncode}" if pending else ""


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
                stat = Path(f"/proc/{worker.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
                now = sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")
                is_asleep = stat[0] not in "RD" and now in spent[-1:]  # it neither used nor wants a processor
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
