"""Results of the LSTM presets over several seeds: accuracy, training time and memory. Takes hours.

    python -m benchmarks.recall [GOAL ...] [--seeds N] [--jobs N]

They are a sweep in runs/recall. Finished runs are skipped, so the same command continues after Ctrl-C. At the end, also
after Ctrl-C, the results are written to docs/measurements/recall.json.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Goal, Row, json_of, measure_goals, trained
from reviver.settings.lstm import LSTMConfig
from reviver.sweep.trials import Trial
from reviver.train.lstm.curriculum import find_best

Reached = Callable[[Row], bool]


def at_least(accuracy: float, seconds: float = math.inf) -> Reached:
    """Return the target of an accuracy on fresh sequences, within a training time."""
    return lambda row: row["evaluations"][0]["accuracy"] >= accuracy and row["seconds"] <= seconds


def in_the_run(size: int, seconds: float) -> Reached:
    """Return the target of 99 %, also in the run itself: in its last validation, at its length, with `size` sequences."""

    def reached(row: Row) -> bool:
        is_long = row["validation_length"] == row["evaluations"][0]["length"] and row["validation_sequences"] >= size
        return is_long and row["validation_accuracy"] >= 0.99 and at_least(0.99, seconds)(row)

    return reached


def tenth_of_the_baseline(row: Row) -> bool:
    """Return whether the loss on fresh sequences is at most a tenth of the baseline."""
    return bool(row["evaluations"][0]["loss"] <= 0.1 * row["evaluations"][0]["baseline"])


@dataclass(frozen=True)
class Preset(Goal):
    """A preset with some changed settings, evaluated on fresh sequences.

    Attributes:
        lengths: Lengths of these sequences; that of the run if empty.
        min_size: Minimum number of them.
        preset: Preset, if it is not `name`.
        changes: Options that change the preset.
    """

    lengths: tuple[int, ...] = ()
    min_size: int = 100
    preset: str = ""
    changes: tuple[str, ...] = ()


LONG, BF16 = (1000, 10_000, 100_000), ("--precision", "bf16")
BEST = "best epoch ≥ 99 %"
LOSS = "loss ≤ 1/10 of the baseline"
IN_THE_RUN = "≥ 99 % of {} in the run, ≤ {}, ≤ 8 GB"
GOALS = (
    Preset(
        "report",
        "T = 5, as in the original",
        10,
        BEST,
        lambda row: row["best_validation_accuracy"] >= 0.99,
        preset="original",
    ),
    Preset("recall", "T = 1000, one-hot", 5, "≥ 99.5 %, ≤ 15 s", at_least(0.995, 15), LONG),
    Preset("recall-scalar", "T = 1000, scalar", 5, "≥ 99 %, ≤ 150 s", at_least(0.99, 150), LONG),
    Preset("recall-10000", "T = 10 000, one-hot", 5, "≥ 99 %, ≤ 60 s, ≤ 8 GB", at_least(0.99, 60), (10_000, 100_000)),
    Preset(
        "recall-100000",
        "T = 100 000, one-hot",
        5,
        IN_THE_RUN.format(500, "150 s"),
        in_the_run(500, 150),
        (100_000,),
        500,
    ),
    Preset(
        "recall-1000000",
        "T = 1 000 000, one-hot",
        3,
        IN_THE_RUN.format(200, "8 min"),
        in_the_run(200, 480),
        (1_000_000,),
        200,
    ),
    Preset("temporal-order", "temporal order, T = 100", 3, "≥ 98 %", at_least(0.98)),
    Preset("parity", "parity, T = 1000", 3, "≥ 99 %", at_least(0.99), (1000, 10_000)),
    Preset("adding", "adding problem, T = 750", 3, LOSS, tenth_of_the_baseline),
    Preset("copy", "copy memory, T = 500", 3, LOSS, tenth_of_the_baseline),
    Preset("row-mnist", "MNIST row by row", 3, "test ≥ 98.5 %", at_least(0.985)),
    Preset("report-bf16", "T = 5, bf16 matmuls", 10, preset="original", changes=BF16),
    Preset("recall-bf16", "T = 1000, bf16 matmuls", 5, lengths=(1000, 10_000), preset="recall", changes=BF16),
    Preset("pixel-mnist", "MNIST pixel by pixel", 1, "test ≥ 97 %", at_least(0.97)),
)


def make_trial(goal: Preset, seed: int) -> Trial:
    """Return the trial that trains and evaluates one seed of a goal."""
    command = ["reviver", "lstm", "train", "--preset", goal.preset or goal.name, *goal.changes, "--seed", str(seed)]
    arguments = {"seed": seed, "command": command, "lengths": list(goal.lengths), "min_size": goal.min_size}
    return Trial(measure, arguments, {"goal": goal.name, "seed": seed})


def measure(folder: Path, *, seed: int, command: list[str], lengths: list[int], min_size: int) -> dict[str, Any]:
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


def main() -> None:
    measure_goals("recall", __doc__, "Results of the LSTM presets", GOALS, make_trial)


if __name__ == "__main__":
    main()
