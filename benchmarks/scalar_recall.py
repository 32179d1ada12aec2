"""Recall of scalar digits over 10 000 steps: recipes over seeds, and how each network holds its digit. Takes an hour.

    python -m benchmarks.scalar_recall [GOAL ...] [--seeds N] [--jobs N]

The runs are a sweep in runs/scalar-recall. Finished runs are skipped, so the same command continues after Ctrl-C. At the
end, also after Ctrl-C, the results are written to docs/measurements/scalar_recall.json, and the figure to
docs/pictures/scalar-recall.png.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple, cast

from benchmarks.measure import measure_goals, trained
from benchmarks.memory_dynamics import displacement_left, drifting_units, hold, time_constants
from benchmarks.scalar_figure import draw
from reviver.io.atomic import write_json
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.evaluation import evaluate
from reviver.lstm.run import load_lstm
from reviver.runs.folder import RunFolder
from reviver.sweep.cell import Cell, cell_folder

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "scalar-recall"
RESULTS = ROOT / "docs" / "measurements" / "scalar_recall.json"
FIGURE = ROOT / "docs" / "pictures" / "scalar-recall.png"
LENGTH, SIZE = 10_000, 500
"""Length and number of the fresh palindromes of the evaluation."""
HOLD_SIZE, HOLD_STEPS = 200, 20_000
"""Number of sequences and of steps of `hold`."""


class Goal(NamedTuple):
    """A recipe, and the target of its runs."""

    name: str
    what: str
    seeds: int
    preset: str
    changes: tuple[str, ...] = ()
    target: str = ""


TRUNCATED = "recall-scalar-10000"
EPOCHS = ("--epochs", "30")
"""Limit of the recipes that do not reach 10 000 steps; the preset needs about 18 epochs."""
GOALS = (
    Goal(TRUNCATED, "both (the preset)", 3, TRUNCATED, target="≥ 99 % at 10 000"),
    Goal("recall-scalar", "neither (`recall-scalar`, T = 1000)", 3, "recall-scalar"),
    Goal("dropout", "dropout 0.2 only, T = 1000", 3, "recall-scalar", ("--hidden-dropout", "0.2")),
    Goal("truncation", "truncation only (dropout 0.5)", 1, TRUNCATED, ("--hidden-dropout", "0.5", *EPOCHS)),
    Goal("lr", "both, constant learning rate", 1, TRUNCATED, ("--lr-length-exponent", "0", *EPOCHS)),
)


def make_cell(goal: Goal, seed: int) -> Cell:
    """Return the cell that trains and measures one seed of a goal."""
    command = ["reviver", "lstm", "train", "--preset", goal.preset, *goal.changes, "--seed", str(seed)]
    arguments = {"seed": seed, "command": command}
    return Cell("benchmarks.scalar_recall:measure", arguments, {"goal": goal.name, "seed": seed})


def measure(folder: Path, *, seed: int, command: list[str]) -> dict[str, Any]:
    """Train a run in `folder`, unless it is finished, evaluate it, and measure how it holds its digit."""
    record, peak_gb = trained(command, folder / "run")
    run = load_lstm(record)
    network, encoding = cast("LSTMClassifier", run.network), run.config.encoding
    result = evaluate(network, run.task, LENGTH, SIZE)
    last = run.metrics[-1]
    return {
        "seed": seed,
        "command": " ".join(command),
        "length": last["length"],
        "epochs": last["epoch"],
        "updates": last["step"],
        "sequences": last["sequences"],
        "seconds": record.record["seconds"],
        "threads": record.record["hardware"]["threads"],
        "peak_gb": peak_gb,
        "train_accuracy": last["train_accuracy"],
        "validation_accuracy": last["validation_accuracy"],
        "evaluation": {"length": LENGTH, "size": result.score.size, "accuracy": result.score.accuracy},
        "hold": hold(network, encoding, size=HOLD_SIZE, steps=HOLD_STEPS, seed=seed),
        "time_constants": time_constants(network, encoding, size=50, seed=seed),
        "displacement_left": displacement_left(network, encoding, size=50, seed=seed),
    }


def add_drift(results: dict[str, Any]) -> None:
    """Add the units that drift in the first network that loses digits."""
    goal = next(goal for goal in GOALS if goal.name == "recall-scalar")
    if goal.name not in results["goals"]:
        return
    row = results["goals"][goal.name]["rows"][0]
    run = load_lstm(RunFolder.open(cell_folder(RUNS, make_cell(goal, row["seed"])) / "run"))
    lost = [middle for _, middle, _ in row["hold"]["lost"]]
    network = cast("LSTMClassifier", run.network)
    results["drift"] = drifting_units(network, run.config.encoding, lost, size=HOLD_SIZE, seed=row["seed"])


def main() -> None:
    title = "Recall of scalar digits"
    try:
        measure_goals("benchmarks.scalar_recall", __doc__, title, RUNS, RESULTS, GOALS, make_cell)
    finally:
        if RESULTS.exists():
            results = json.loads(RESULTS.read_text(encoding="utf-8"))
            add_drift(results)
            write_json(RESULTS, results)
            draw(results, FIGURE)


if __name__ == "__main__":
    main()
