"""Common parts of benchmarks: alternating timings in one process, medians, the machine, and goals over seeds."""

import json
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from reviver.files.atomic import write_json
from reviver.run import load
from reviver.runs.environment import describe_machine
from reviver.runs.folder import RunFolder
from reviver.sweep.driver import run_trials
from reviver.sweep.engines import Pool
from reviver.sweep.trials import Trial, read_outcome, trial_folder
from reviver.system import limit_spinning

ROOT = Path(__file__).parents[1]


def alternate(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Run each contender once per round, in turn, and return the seconds per round, without warm-up rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warmup + rounds):
        for name, run in contenders.items():
            started = clock()
            run()
            if number >= warmup:
                seconds[name].append(clock() - started)
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


def trained(train: Callable[..., Any], folder: Path, **settings: Any) -> Any:
    """Return the finished run in `folder`; unless it is finished, `train` begins it or goes on with it."""
    exists = (folder / "run.json").exists()
    if exists and RunFolder.open(folder).status == "finished":
        return load(folder)
    return train(folder, resume=exists, progress=False, **settings)


@dataclass(frozen=True)
class Goal:
    """A preset with some changed settings, which is measured over seeds.

    Attributes:
        name: Name on the command line.
        what: Name in tables.
        seeds: Number of seeds.
        preset: Preset, if it is not `name`.
        changes: Settings that change the preset.
    """

    name: str
    what: str
    seeds: int = 3
    preset: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)


AnyGoal = TypeVar("AnyGoal", bound=Goal)


def measure_goals(
    name: str,
    description: str | None,
    title: str,
    goals: Sequence[AnyGoal],
    make_trial: Callable[[AnyGoal, int], Trial],
) -> dict[str, Any]:
    """Measure the goals that the command line names, over seeds, as a sweep in runs/NAME.

    Return all results in docs/measurements/NAME.json, where they are saved, also when the sweep is stopped.
    """
    runs, path = ROOT / "runs" / name.replace("_", "-"), ROOT / "docs" / "measurements" / f"{name}.json"
    parser = ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    known = [goal.name for goal in goals]
    parser.add_argument("names", nargs="*", metavar="GOAL", help=f"one of {', '.join(known)}; default: all")
    parser.add_argument("--jobs", type=int, default=1, help="parallel runs, which share the cores; default: 1")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"{', '.join(unknown)}: unknown; choose from {', '.join(known)}")
    chosen = [goal for goal in goals if goal.name in (options.names or known)]
    trials = {goal.name: [make_trial(goal, seed) for seed in range(goal.seeds)] for goal in chosen}
    all_trials = [trial for of_goal in trials.values() for trial in of_goal]
    limit_spinning()  # as the command does, for the processes of the trials
    try:
        outcomes = run_trials(runs, all_trials, Pool(options.jobs), retry_failed=True, title=title, progress=True)
    finally:
        results = json.loads(path.read_text(encoding="utf-8"))
        for goal in chosen:
            found = [read_outcome(trial_folder(runs, trial)) for trial in trials[goal.name]]
            rows = [outcome.result for outcome in found if outcome is not None and outcome.result]
            elsewhere = {} if machine() == results["machine"] else {"machine": machine()}
            if rows:
                results["goals"][goal.name] = {"what": goal.what, "rows": rows, **elsewhere}
        write_json(path, results)
    if failed := [key for key, outcome in outcomes.items() if outcome.status == "failed"]:
        raise SystemExit(f"failed: {', '.join(failed)}; see traceback.txt in {runs / 'trials'}")
    return results
