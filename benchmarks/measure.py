"""Common parts of benchmarks: alternating timings in one process, medians, the machine, and goals over seeds."""

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
    """Run each contender once per round, in turn, and return the seconds per round, without warm-up rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warmup + rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def summary(values: list[float]) -> dict[str, float]:
    """Return the median of `values`, their range and number."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def ratio(times: list[float], baseline: list[float]) -> dict[str, float]:
    """Return the summary of the ratios of `times` to `baseline` in the same round."""
    return summary([a / b for a, b in zip(times, baseline, strict=True)])


def machine() -> dict[str, object]:
    """Return the hardware and the version of torch of a measurement."""
    return {**describe_machine(torch.device("cpu")), "torch": torch.__version__}


def trained(command: Sequence[str], folder: Path) -> tuple[RunFolder, float]:
    """Run a training command into `folder`, resumed if it exists, unless the run is finished.

    Returns:
        The run folder, and the peak memory of the process in GB.
    """
    exists = (folder / "run.json").exists()
    peak = folder / "peak.json"
    if not exists or RunFolder.open(folder).status != "finished":
        python = [sys.executable, "-m", *command, "--out", str(folder), *(["--resume"] if exists else [])]
        process = subprocess.Popen(python, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"{' '.join(command)} failed with status {status}")
        peak.write_text(json.dumps(usage.ru_maxrss / 2**20))
    return RunFolder.open(folder), float(json.loads(peak.read_text()))


class Goal(Protocol):
    """Measurement over seeds: a preset with changed settings, and a target for its runs."""

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
    """Measure the goals that the command line names, seed by seed, and save the results at `path`.

    Args:
        module: module of the command, for its help.
        description: description of the command.
        title: title of the results.
        path: JSON file of the results.
        goals: all goals.
        run: function that measures a goal with a seed and returns a row.

    Yields:
        All results in the file, each time that a new row is added.
    """
    parser = ArgumentParser(prog=f"python -m {module}", description=description)
    known = [goal.name for goal in goals]
    parser.add_argument("names", nargs="*", metavar="GOAL", help=f"one of {', '.join(known)}; default: all")
    parser.add_argument("--seeds", type=int, help="maximum number of seeds of a goal; default: that of its target")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="number of parallel runs, which share the cores (default: 1)",
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"{', '.join(unknown)}: unknown; choose from {', '.join(known)}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    if options.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // options.jobs))

    def measure(goal: AnyGoal, seed: int) -> Any:
        sys.stderr.write(f"{goal.name}, seed {seed} ...\n")  # one write, so that lines of several jobs do not mix
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
            # another process may have added other goals
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
