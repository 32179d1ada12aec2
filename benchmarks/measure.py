"""Common parts of benchmarks: alternating timings in one process, medians, the machine, and goals over seeds."""

import json
import os
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from reviver.errors import Interrupted, ReviverError
from reviver.files.atomic import write_json
from reviver.runs.environment import describe_machine
from reviver.runs.folder import RunFolder
from reviver.runs.session import handling_signals
from reviver.sweep.driver import run_trials
from reviver.sweep.engines import Pool
from reviver.sweep.trials import Outcome, Trial, read_outcome, trial_folder

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


def trained(command: Sequence[str], folder: Path) -> tuple[RunFolder, float]:
    """Run a training command into `folder`, resumed if it exists, unless the run is finished.

    It is a process of its own, for its peak memory. A signal that stops this process is passed on, so that it saves.

    Returns:
        The run folder, and the peak memory of the process in GiB.

    Raises:
        Interrupted: if a signal stopped the training.
        ReviverError: if the training failed.
    """
    exists = (folder / "run.json").exists()
    while exists and RunFolder.open(folder).is_training:  # the training of a worker that died
        time.sleep(1.0)
    peak = folder / "peak.json"
    if not exists or RunFolder.open(folder).status != "finished":
        status, peak_gb = run_measured([*command, "--quiet", "--out", str(folder), *(["--resume"] if exists else [])])
        if status != 0:
            raise ReviverError(f"{' '.join(command)} failed with status {status}")
        peak.write_text(json.dumps(peak_gb))
    return RunFolder.open(folder), float(json.loads(peak.read_text()))


def json_of(*words: str) -> dict[str, Any]:
    """Run a command of `reviver` with `--json`, and return its result."""
    command = [sys.executable, "-m", "reviver", *words, "--json", "--quiet"]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def run_measured(command: Sequence[str]) -> tuple[int, float]:
    """Run a module of Python with its arguments; return its exit status and its peak memory in GiB.

    Raises:
        Interrupted: if a signal stopped this process, which passed it on.
    """
    signals: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: object) -> None:
        if not signals and process is not None:  # training ends without saving at the second signal
            process.send_signal(number)
        signals.append(number)

    with handling_signals(pass_on):
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL)
        if signals:  # it arrived before there was a process
            process.send_signal(signals[0])
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # otherwise it would wait for the process again
    if signals:
        raise Interrupted(f"{' '.join(command)}: stopped", signals[0])
    return process.returncode, usage.ru_maxrss / 2**20


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """Measurement over seeds, and the target of its runs.

    Attributes:
        name: Name on the command line.
        what: Name in tables.
        seeds: Number of seeds.
        target: The target in words; empty if there is none.
        reached: Whether the results of a run reach it.
    """

    name: str
    what: str
    seeds: int = 3
    target: str = ""
    reached: Callable[[Row], bool] | None = None


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
    parser.add_argument("--seeds", type=int, help="maximum number of seeds of a goal; default: that of its target")
    parser.add_argument("--jobs", type=int, default=1, help="parallel runs, which share the cores; default: 1")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"{', '.join(unknown)}: unknown; choose from {', '.join(known)}")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    trials = {
        goal: [make_trial(goal, seed) for seed in range(min(goal.seeds, options.seeds or goal.seeds))]
        for goal in goals
        if goal.name in (options.names or known)
    }
    all_trials = [trial for of_goal in trials.values() for trial in of_goal]
    try:
        run_trials(runs, all_trials, Pool(options.jobs), retry_failed=True, title=title, progress=True)
    except Interrupted as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from error
    finally:
        outcomes = {trial.key: read_outcome(trial_folder(runs, trial)) for trial in all_trials}
        results = save_results(title, path, known, trials, outcomes)
    failed = [outcome for outcome in outcomes.values() if outcome is not None and outcome.status == "failed"]
    for outcome in failed:
        sys.stderr.write(f"{runs / 'trials' / outcome.key}: {outcome.error}\n")
    if failed:
        raise SystemExit(1)
    return results


def save_results(
    title: str,
    path: Path,
    known: Sequence[str],
    trials: Mapping[AnyGoal, Sequence[Trial]],
    outcomes: Mapping[str, Outcome | None],
) -> dict[str, Any]:
    """Add the rows of goals of which at least one trial is done to the results at `path`, and return all results.

    Whether a row reaches the target is not in the outcome of its trial, since targets change.
    """
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"title": title, "goals": {}}
    results["machine"] = machine()
    for goal, of_goal in trials.items():
        found = [outcomes[trial.key] for trial in of_goal]
        rows = [dict(outcome.result) for outcome in found if outcome is not None and outcome.result]
        if goal.reached is not None:
            rows = [{**row, "reached": goal.reached(row)} for row in rows]
        if rows:
            results["goals"][goal.name] = {"what": goal.what, "target": goal.target, "rows": rows}
    goals = results["goals"]  # also those of earlier commits, whose rows their pages show
    results["goals"] = {
        name: goals[name] for name in sorted(goals, key=lambda name: known.index(name) if name in known else len(known))
    }
    write_json(path, results)
    return results
