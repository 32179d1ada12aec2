"""Results of the LSTM presets over several seeds: accuracy and training time. Takes hours.

    python -m benchmarks.recall [GOAL ...] [--jobs N]

They are a sweep in runs/recall. Finished runs are skipped, so the same command continues after Ctrl-C. At the end, also
after Ctrl-C, the results are written to docs/measurements/recall.json.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Goal, measure_goals, trained
from reviver.run import LSTMRun, train_lstm
from reviver.sweep.trials import Trial
from reviver.train.lstm.curriculum import find_best


@dataclass(frozen=True)
class Preset(Goal):
    """A preset that is evaluated on fresh sequences.

    Attributes:
        lengths: Lengths of these sequences; that of the run if empty.
        min_size: Minimum number of them.
    """

    lengths: tuple[int, ...] = ()
    min_size: int = 100


LONG, BF16 = (1000, 10_000, 100_000), {"precision": "bf16"}
GOALS = (
    Preset("report", "T = 5, as in the original", 10, preset="original"),
    Preset("recall", "T = 1000, one-hot", 5, lengths=LONG),
    Preset("recall-scalar", "T = 1000, scalar", 5, lengths=LONG),
    Preset("recall-10000", "T = 10 000, one-hot", 5, lengths=(10_000, 100_000)),
    Preset("recall-100000", "T = 100 000, one-hot", 5, lengths=(100_000,), min_size=500),
    Preset("recall-1000000", "T = 1 000 000, one-hot", 3, lengths=(1_000_000,), min_size=200),
    Preset("temporal-order", "temporal order, T = 100"),
    Preset("parity", "parity, T = 1000", lengths=(1000, 10_000)),
    Preset("adding", "adding problem, T = 750"),
    Preset("copy", "copy memory, T = 500"),
    Preset("row-mnist", "MNIST row by row"),
    Preset("report-bf16", "T = 5, bf16 matmuls", 10, "original", BF16),
    Preset("recall-bf16", "T = 1000, bf16 matmuls", 5, "recall", BF16, lengths=(1000, 10_000)),
    Preset("pixel-mnist", "MNIST pixel by pixel", 1),
)


def make_trial(goal: Preset, seed: int) -> Trial:
    """Return the trial that trains and evaluates one seed of a goal."""
    settings = {"preset": goal.preset or goal.name, "seed": seed, **goal.changes}
    arguments = {"settings": settings, "lengths": goal.lengths, "min_size": goal.min_size}
    return Trial(measure, arguments, {"goal": goal.name, "seed": seed})


def measure(folder: Path, *, settings: dict[str, Any], lengths: list[int], min_size: int) -> dict[str, Any]:
    """Train a run in `folder`, unless it is finished, and evaluate it at some lengths, or at its own if there are none."""
    run = trained(train_lstm, folder / "run", **settings)
    metrics, record = run.folder.read_metrics(), run.folder.record
    trained_rows = [row for row in metrics if row["train_loss"] is not None]
    return {
        **settings,
        "epochs": metrics[-1]["epoch"],
        "updates": metrics[-1]["step"],
        "sequences": metrics[-1]["sequences"],
        "seconds": record["seconds"],
        "threads": record["hardware"]["threads"],
        "max_trained_length": max(row.get("length", 0) for row in trained_rows) or None,
        "train_accuracy": trained_rows[-1]["train_accuracy"],
        "validation_accuracy": metrics[-1]["validation_accuracy"],
        "validation_length": metrics[-1].get("length"),
        "validation_sequences": metrics[-1].get("validation_sequences"),
        "best_validation_accuracy": find_best(metrics, run.config)["validation_accuracy"],
        "evaluations": [evaluate(run, length, min_size) for length in lengths or (None,)],
    }


def evaluate(run: LSTMRun, length: int | None, min_size: int) -> dict[str, Any]:
    """Evaluate a run at a length, or at its own if None, on at least `min_size` sequences, on more if they are short."""
    size = None if length is None else max(min_size, min(5000, 10_000_000 // length))
    result = run.evaluate(length, size)
    return {"length": result.length, "baseline": result.baseline, **result.score._asdict()}


def main() -> None:
    measure_goals("recall", __doc__, "Results of the LSTM presets", GOALS, make_trial)


if __name__ == "__main__":
    main()
