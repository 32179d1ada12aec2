"""How things are timed: in alternation, in one process, by medians; the machine is named beside each number."""

import json
import os
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from reviver.runs.devices import describe_machine
from reviver.runs.folder import RunFolder


def alternate(contenders: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Run each contender once a round, in turn, and return their seconds, without the rounds of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warmup + rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def summary(values: list[float]) -> dict[str, float]:
    """The median of `values` and their range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """The median, over the rounds, of our time by theirs in the same round."""
    return summary([a / b for a, b in zip(ours, theirs, strict=True)])


def machine() -> dict[str, object]:
    """The hardware and the version of torch that the numbers belong to."""
    return {**describe_machine(torch.device("cpu")), "torch": torch.__version__}


def trained(command: Sequence[str], folder: Path) -> tuple[RunFolder, float]:
    """Train by a command of Reviver into `folder`, or go on there, unless it is finished; return it and its peak memory in GB."""
    is_there = (folder / "run.json").exists()
    peak = folder / "peak.json"
    if not is_there or RunFolder.open(folder).status != "finished":
        python = [sys.executable, "-m", *command, "--out", str(folder), *(["--resume"] if is_there else [])]
        process = subprocess.Popen(python, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"{' '.join(command)} failed with status {status}")
        peak.write_text(json.dumps(usage.ru_maxrss / 2**20))
    return RunFolder.open(folder), float(json.loads(peak.read_text()))


class Goal(Protocol):
    """What is measured over seeds: a preset with some settings changed, and what its runs shall reach."""

    @property
    def name(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def seeds(self) -> int: ...
    @property
    def target(self) -> str: ...


AnyGoal = TypeVar("AnyGoal", bound=Goal)


def measure_goals(
    module: str,
    description: str | None,
    title: str,
    path: Path,
    goals: Sequence[AnyGoal],
    run: Callable[[AnyGoal, int], Any],
) -> Iterator[dict[str, Any]]:
    """Measure those of the `goals` that the command line names, seed by seed, with `run`, and keep its rows at `path`.

    Gives all results that are there each time that one is new.
    """
    parser = ArgumentParser(prog=f"python -m {module}", description=description)
    known = [goal.name for goal in goals]
    parser.add_argument("names", nargs="*", metavar="GOAL", help=f"of {', '.join(known)}; default: all")
    parser.add_argument("--seeds", type=int, help="the most seeds of a goal; default: as many as its target asks for")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="runs at a time, which share the cores; all are done sooner, but each takes longer (default: 1)",
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"{', '.join(unknown)}: unknown; choose from {', '.join(known)}")
    if options.jobs < 1:
        parser.error(f"--jobs: {options.jobs} is not possible; give 1 or more")
    if options.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // options.jobs))

    def measure(goal: AnyGoal, seed: int) -> Any:
        sys.stderr.write(f"{goal.name}, seed {seed} ...\n")  # at once, so that lines of several jobs do not mix
        return run(goal, seed)

    rows: dict[str, dict[int, Any]] = {name: {} for name in known}
    pool = ThreadPoolExecutor(options.jobs)
    try:
        measured = {
            pool.submit(measure, goal, seed): (goal, seed)
            for goal in goals
            if goal.name in (options.names or known)
            for seed in range(min(goal.seeds, options.seeds or goal.seeds))
        }
        for future in as_completed(measured):
            goal, seed = measured[future]
            rows[goal.name][seed] = future.result()
            # another process may measure other goals meanwhile
            results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"title": title, "goals": {}}
            results["machine"] = machine()
            results["goals"][goal.name] = {
                "what": goal.what,
                "target": goal.target,
                "rows": [row for _, row in sorted(rows[goal.name].items())],
            }
            results["goals"] = {name: results["goals"][name] for name in known if name in results["goals"]}
            path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            yield results
    finally:
        pool.shutdown(cancel_futures=True)
