"""Runs a worker and watches it: a crash, a hang, growth of memory and any outcome but the two that are right are noted."""

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
"""Until a worker must have read its first real file."""


@dataclass
class Tally:
    """What came of the inputs of one reader."""

    inputs: int = 0
    values: int = 0
    errors: int = 0
    crashes: int = 0
    hangs: int = 0
    slow: int = 0
    large: int = 0
    wrong: int = 0
    slowest: float = 0.0
    """Seconds of processor time of the slowest input."""
    growth: int = 0
    """MB of the input that took the most memory."""
    problems: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """Inputs with another outcome than a right answer or our own error in time."""
        return self.crashes + self.hangs + self.slow + self.large + self.wrong

    def to_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {**asdict(self), "problems": self.problems[:20]}


def supervise(spans: Mapping[str, range], kept: Path, *, hang_seconds: float) -> dict[str, Tally]:
    """Let a worker read the inputs in `spans` of each reader; it is replaced if it crashes or hangs.

    An input hangs that has no outcome after twice `hang_seconds`, unless it waits for a processor. Inputs that something
    is wrong with are saved in `kept`.
    """
    tallies = {name: Tally() for name in spans}
    left = dict(spans)
    while left:
        with tempfile.TemporaryDirectory() as home:
            ended = _run_worker(Path(home), kept, left, tallies, hang_seconds)
            if ended is None:
                break
            name, number = next(iter(left.items()))
            _keep_last(Path(home) / name, kept, name, number.start)
        tally = tallies[name]
        tally.inputs += 1
        tally.crashes += ended != "hang"
        tally.hangs += ended == "hang"
        tally.problems.append(f"{name}/{number.start}: {ended}")
        left = _advanced(left, name, number.start + 1)
    return tallies


def _keep_last(folder: Path, kept: Path, reader_name: str, number: int) -> None:
    """Save the input that a worker did not live to answer: it lies where the worker put it."""
    if folder.is_dir():
        with tempfile.TemporaryDirectory() as home:
            seeds = ALL[reader_name].prepare(Path(home))
        name, _ = choose(reader_name, seeds, number)
        keep((folder / name).read_bytes(), kept, reader_name, number, name)


def _advanced(left: dict[str, range], name: str, start: int) -> dict[str, range]:
    """What is left once the inputs of `name` before `start` are read."""
    left = left | {name: range(start, left[name].stop)}
    return {name: span for name, span in left.items() if span}


def _run_worker(
    home: Path, kept: Path, left: dict[str, range], tallies: Mapping[str, Tally], hang_seconds: float
) -> str | None:
    """Read a worker's lines and take what it did out of `left`; returns how it ended before its time, or None.

    Raises:
        RuntimeError: if a real file is not read as it should be.
        KeyboardInterrupt: if Ctrl-C ended the worker.
    """
    jobs = [f"{name}:{span.start}:{span.stop}" for name, span in left.items()]
    command = [sys.executable, "-m", "tests.fuzz.worker", str(home), str(kept), *jobs]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        for line in _lines(worker, hang_seconds):
            if line is None:
                worker.kill()
                return "hang"
            if "seed" in line and line["outcome"] != "value":
                worker.kill()
                raise RuntimeError(f"a real file is not read: {line}")
            if "number" in line:
                _note(tallies[line["reader"]], line)
                advanced = _advanced(left, line["reader"], line["number"] + 1)
                left.clear()
                left.update(advanced)
    if worker.returncode == -signal.SIGINT:
        raise KeyboardInterrupt
    return f"ended by signal or status {worker.returncode}" if left else None


def _lines(worker: subprocess.Popen[bytes], hang_seconds: float) -> Iterator[dict[str, Any] | None]:
    """The lines of a worker as they come; None if it is silent for too long, which is the last.

    It may be silent for longer while it starts or makes real files, which ends with a line of its own.
    """
    assert worker.stdout is not None
    rest, seconds = b"", START_SECONDS
    spent: list[float] = []  # processor time at each end of a wait since the last line
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(seconds):
                state, now = _processor(worker.pid)
                is_asleep = state not in "RD" and now in spent[-1:]  # it neither had nor wants a processor
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
    """The state of a process, R or D if it has or wants a processor or the disk, and its seconds of processor time."""
    state, *numbers = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return state, sum(map(int, numbers[10:12])) / os.sysconf("SC_CLK_TCK")


def _note(tally: Tally, line: Mapping[str, Any]) -> None:
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
        facts = f"{line['seconds']} s, {line['growth']} MB"
        tally.problems.append(f"{line['reader']}/{line['number']}: {line['problem'] or line['outcome']} ({facts})")
