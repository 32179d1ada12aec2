"""What the LSTM reaches: each preset over several seeds, by its command, with time and memory. Takes hours.

    python -m benchmarks.recall [GOAL ...] [--seeds N] [--jobs N]

Runs stay in runs/recall; those that are finished are not run again, so the same command goes on after Ctrl-C.
Results are kept in docs/measurements/recall.json after each run.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure import measure_goals, trained
from reviver.lstm.training import rank

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "recall"
RESULTS = ROOT / "docs" / "measurements" / "recall.json"


class Goal(NamedTuple):
    """A preset with some settings changed, and what its runs shall reach."""

    name: str
    what: str
    seeds: int
    target: str = ""
    seconds: float | None = None
    """Of training, at most."""
    lengths: tuple[int, ...] = ()
    """At which the trained network is measured on fresh sequences; none: at the run's own."""
    least_best: float | None = None
    """Validation accuracy of the best epoch, at least."""
    least: float | None = None
    """Accuracy at the first of `lengths`, or on the task's evaluation set, at least."""
    most_loss: float | None = None
    """Loss there, as a part of the baseline, at most."""
    preset: str = ""
    """Where it is not the name."""
    changes: tuple[str, ...] = ()


GOALS = (
    Goal("report", "T = 5, the report's run", 10, "best epoch ≥ 99 %", least_best=0.99),
    Goal(
        "recall",
        "T = 1000, one-hot",
        5,
        "≥ 99.5 %, ≤ 60 s",
        60,
        (1000, 10_000, 100_000),
        least=0.995,
    ),
    Goal("recall-scalar", "T = 1000, scalar", 5, "≥ 99 %, ≤ 150 s", 150, (1000, 10_000, 100_000), least=0.99),
    Goal("recall-10000", "T = 10 000, one-hot", 5, "≥ 99 %, ≤ 240 s, ≤ 8 GB", 240, (10_000, 100_000), least=0.99),
    Goal(
        "recall-100000",
        "T = 100 000, one-hot",
        3,
        "≥ 99 %, ≤ 40 min, ≤ 8 GB",
        2400,
        (100_000, 1_000_000),
        least=0.99,
    ),
    Goal("temporal-order", "temporal order, T = 100", 3, "≥ 98 %", least=0.98),
    Goal("parity", "parity, T = 1000", 3, "≥ 99 %", None, (1000, 10_000), least=0.99),
    Goal("adding", "adding problem, T = 750", 3, "loss ≤ 1/10 of the baseline", most_loss=0.1),
    Goal("copy", "copy memory, T = 500", 3, "loss ≤ 1/10 of the baseline", most_loss=0.1),
    Goal("row-mnist", "MNIST row by row", 3, "test ≥ 98.5 %", least=0.985),
    Goal("report-bf16", "T = 5, products in bf16", 10, preset="report", changes=("--precision", "bf16")),
    Goal(
        "recall-bf16",
        "T = 1000, products in bf16",
        5,
        lengths=(1000, 10_000),
        preset="recall",
        changes=("--precision", "bf16"),
    ),
    Goal("pixel-mnist", "MNIST pixel by pixel", 1, "test ≥ 97 %", least=0.97),
)


def run(goal: Goal, seed: int) -> dict[str, Any]:
    """Train and measure one seed of a goal; what is there already is kept."""
    folder = RUNS / f"{goal.name}-seed{seed}"
    command = ["reviver", "lstm", "train", "--preset", goal.preset or goal.name, *goal.changes, "--seed", str(seed)]
    record, peak_gb = trained(command, folder)
    points = record.read_metrics()
    measured = [evaluation for length in goal.lengths or (None,) for evaluation in evaluate(folder, length)]
    best = max(points, key=rank)
    row = {
        "seed": seed,
        "command": " ".join(command),
        "epochs": points[-1]["epoch"],
        "sequences": points[-1]["sequences"],
        "seconds": record.record["seconds"],
        "threads": record.record["hardware"]["threads"],
        "peak_gb": peak_gb,
        "train_accuracy": points[-1]["train_accuracy"],
        "validation_accuracy": points[-1]["validation_accuracy"],
        "best_validation_accuracy": best["validation_accuracy"],
        "evaluations": measured,
    }
    return {**row, "reached": reached(goal, row)}


def evaluate(folder: Path, length: int | None) -> list[dict[str, Any]]:
    """Measure a trained network at a length, on so many sequences that it takes less than a minute, or at its own."""
    command = [sys.executable, "-m", "reviver", "lstm", "evaluate", str(folder), "--json"]
    if length is not None:
        command += ["--length", str(length), "--size", str(max(100, min(5000, 10_000_000 // length)))]
    results: list[dict[str, Any]] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )["results"]
    return results


def reached(goal: Goal, row: dict[str, Any]) -> bool:
    """Whether a run reached its goal."""
    first = row["evaluations"][0]
    return (
        (goal.seconds is None or row["seconds"] <= goal.seconds)
        and (goal.least_best is None or row["best_validation_accuracy"] >= goal.least_best)
        and (goal.least is None or first["accuracy"] >= goal.least)
        and (goal.most_loss is None or first["loss"] <= goal.most_loss * first["baseline"])
    )


def main() -> None:
    for _ in measure_goals("benchmarks.recall", __doc__, "What the LSTM reaches", RESULTS, GOALS, run):
        pass


if __name__ == "__main__":
    main()
