"""Results of the LSTM presets over several seeds: accuracy, training time and memory. Takes hours.

    python -m benchmarks.recall [GOAL ...] [--seeds N] [--jobs N]

They are a sweep in runs/recall. Finished runs are skipped, so the same command continues after Ctrl-C. At the end, also
after Ctrl-C, the results are written to docs/measurements/recall.json.
"""

from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure import json_of, measure_goals, trained
from reviver.settings.lstm import LSTMConfig
from reviver.sweep.cell import Cell
from reviver.train.lstm.stopping import find_best

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "recall"
RESULTS = ROOT / "docs" / "measurements" / "recall.json"
MIN_SIZE = 100
"""Sequences of an evaluation of a goal that does not ask for more."""


class Goal(NamedTuple):
    """A preset with some changed settings, and the target of its runs."""

    name: str
    what: str
    """Name of the task, for the table."""
    seeds: int
    """Number of seeds."""
    target: str = ""
    """Description of the target, for the table."""
    max_seconds: float | None = None
    """Maximum training time."""
    lengths: tuple[int, ...] = ()
    """Lengths of the fresh sequences for the evaluation; that of the run if empty."""
    min_best_accuracy: float | None = None
    """Minimum validation accuracy of the best epoch."""
    min_accuracy: float | None = None
    """Minimum accuracy of the first evaluation."""
    max_loss_ratio: float | None = None
    """Maximum loss of the first evaluation, as a fraction of the baseline."""
    min_validation: tuple[int, float] | None = None
    """Minimum number of validation sequences at the last length, in the run itself, and their minimum accuracy."""
    preset: str = ""
    """Preset, if it is not `name`."""
    changes: tuple[str, ...] = ()
    """Options that change the preset."""


GOALS = (
    Goal("report", "T = 5, as in the original", 10, "best epoch ≥ 99 %", min_best_accuracy=0.99, preset="original"),
    Goal(
        "recall",
        "T = 1000, one-hot",
        5,
        "≥ 99.5 %, ≤ 15 s",
        15,
        (1000, 10_000, 100_000),
        min_accuracy=0.995,
    ),
    Goal("recall-scalar", "T = 1000, scalar", 5, "≥ 99 %, ≤ 150 s", 150, (1000, 10_000, 100_000), min_accuracy=0.99),
    Goal("recall-10000", "T = 10 000, one-hot", 5, "≥ 99 %, ≤ 60 s, ≤ 8 GB", 60, (10_000, 100_000), min_accuracy=0.99),
    Goal(
        "recall-100000",
        "T = 100 000, one-hot",
        5,
        "≥ 99 % of 500 in the run, ≤ 150 s, ≤ 8 GB",
        150,
        (100_000,),
        min_accuracy=0.99,
        min_validation=(500, 0.99),
    ),
    Goal(
        "recall-1000000",
        "T = 1 000 000, one-hot",
        3,
        "≥ 99 % of 200 in the run, ≤ 8 min, ≤ 8 GB",
        480,
        (1_000_000,),
        min_accuracy=0.99,
        min_validation=(200, 0.99),
    ),
    Goal("temporal-order", "temporal order, T = 100", 3, "≥ 98 %", min_accuracy=0.98),
    Goal("parity", "parity, T = 1000", 3, "≥ 99 %", None, (1000, 10_000), min_accuracy=0.99),
    Goal("adding", "adding problem, T = 750", 3, "loss ≤ 1/10 of the baseline", max_loss_ratio=0.1),
    Goal("copy", "copy memory, T = 500", 3, "loss ≤ 1/10 of the baseline", max_loss_ratio=0.1),
    Goal("row-mnist", "MNIST row by row", 3, "test ≥ 98.5 %", min_accuracy=0.985),
    Goal("report-bf16", "T = 5, bf16 matmuls", 10, preset="original", changes=("--precision", "bf16")),
    Goal(
        "recall-bf16",
        "T = 1000, bf16 matmuls",
        5,
        lengths=(1000, 10_000),
        preset="recall",
        changes=("--precision", "bf16"),
    ),
    Goal("pixel-mnist", "MNIST pixel by pixel", 1, "test ≥ 97 %", min_accuracy=0.97),
)


def make_cell(goal: Goal, seed: int) -> Cell:
    """Return the cell that trains and evaluates one seed of a goal."""
    command = ["reviver", "lstm", "train", "--preset", goal.preset or goal.name, *goal.changes, "--seed", str(seed)]
    size = goal.min_validation[0] if goal.min_validation else MIN_SIZE
    arguments = {"seed": seed, "command": command, "lengths": list(goal.lengths), "min_size": size}
    return Cell("benchmarks.recall:measure", arguments, {"goal": goal.name, "seed": seed})


def measure(
    folder: Path, *, seed: int, command: list[str], lengths: list[int], min_size: int = MIN_SIZE
) -> dict[str, Any]:
    """Train a run in `folder`, unless it is finished, and evaluate it at some lengths, or at its own if there are none."""
    record, peak_gb = trained(command, folder / "run")
    metrics = record.read_metrics()
    best = find_best(metrics, record.read_config(LSTMConfig))
    trained_rows = [row for row in metrics if row["train_loss"] is not None]
    return {
        "seed": seed,
        "command": " ".join(command),
        "epochs": metrics[-1]["epoch"],
        "updates": metrics[-1]["step"],
        "sequences": metrics[-1]["sequences"],
        "seconds": record.record["seconds"],
        "threads": record.record["hardware"]["threads"],
        "peak_gb": peak_gb,
        "max_trained_length": max(row.get("length", 0) for row in trained_rows) or None,
        "train_accuracy": trained_rows[-1]["train_accuracy"],
        "validation_accuracy": metrics[-1]["validation_accuracy"],
        "validation_length": metrics[-1].get("length"),
        "validation_sequences": metrics[-1].get("validation_sequences"),
        "best_validation_accuracy": best["validation_accuracy"],
        "evaluations": [row for length in lengths or (None,) for row in evaluate(folder / "run", length, min_size)],
    }


def evaluate(folder: Path, length: int | None, min_size: int) -> list[dict[str, Any]]:
    """Evaluate a run at a length, or at its own if None, on at least `min_size` sequences, on more if they are short."""
    options: tuple[str, ...] = ()
    if length is not None:
        options = ("--length", str(length), "--size", str(max(min_size, min(5000, 10_000_000 // length))))
    results: list[dict[str, Any]] = json_of("lstm", "evaluate", str(folder), *options)["results"]
    return results


def reached(goal: Goal, row: dict[str, Any]) -> bool:
    """Return whether a run reached its target."""
    first = row["evaluations"][0]
    return (
        (goal.max_seconds is None or row["seconds"] <= goal.max_seconds)
        and (goal.min_best_accuracy is None or row["best_validation_accuracy"] >= goal.min_best_accuracy)
        and (goal.min_accuracy is None or first["accuracy"] >= goal.min_accuracy)
        and (goal.min_validation is None or validates(goal.min_validation, row))
        and (goal.max_loss_ratio is None or first["loss"] <= goal.max_loss_ratio * first["baseline"])
    )


def validates(minimum: tuple[int, float], row: dict[str, Any]) -> bool:
    """Return whether the last validation of a run has a minimum number of sequences, at its length, and accuracy."""
    size, accuracy = minimum
    at_length = row["validation_length"] == row["evaluations"][0]["length"]
    return bool(at_length and row["validation_sequences"] >= size and row["validation_accuracy"] >= accuracy)


def to_row(goal: Goal, result: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the results; whether it reaches the target is not in the outcome, since targets change."""
    return {**result, "reached": reached(goal, result)}


def main() -> None:
    title = "Results of the LSTM presets"
    measure_goals("benchmarks.recall", __doc__, title, RUNS, RESULTS, GOALS, make_cell, to_row)


if __name__ == "__main__":
    main()
