"""Compare what the original prints with the measured results; report.typ puts the result into words."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from reviver.text import leaves_bounds

Records = Sequence[Mapping[str, Any]]


class Printed(NamedTuple):
    """A number that the original prints: a fraction, a loss in nats or an epoch, with its section and paragraph."""

    value: float
    section: str


FINAL = {
    "train_accuracy": Printed(0.8575, "1.3, third paragraph"),
    "validation_accuracy": Printed(0.9950, "1.3, third paragraph"),
    "train_loss": Printed(0.3915, "1.3, third paragraph"),
    "validation_loss": Printed(0.1444, "1.3, third paragraph"),
}
"""Metrics at the last epoch."""
BREAKTHROUGH = ((0.40, Printed(12, "1.3, first paragraph")), (0.55, Printed(15, "1.3, first paragraph")))
"""Validation accuracies and the epochs that reach them."""
STABLE_ACCURACY, STABLE_EPOCH = 0.75, Printed(60, "1.3, second paragraph")
"""Training accuracy that is exceeded after this epoch."""
PERFECT_EPOCH = 80
"""Epoch after which validation accuracy is "frequently" 100 % (1.3, third paragraph)."""

GENERATOR_WIDTHS = (128, 256, 512, 1024, 784)
DISCRIMINATOR_WIDTHS = (512, 256, 1)
BATCH_NORM_WIDTHS = (256, 512, 1024)
NEGATIVE_SLOPE = 0.2
GAN_EPOCHS = 200
"""Not printed; the default of the course script that the original follows."""


def summarize(values: Sequence[float], low: float = 0.0, high: float = math.inf) -> dict[str, Any]:
    """Summarize the values of at least one run, of a quantity that lies between `low` and `high`."""
    return {
        "values": list(values),
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "min": min(values),
        "max": max(values),
        "median": statistics.median(values),
        "leaves_bounds": leaves_bounds(values, low, high),
    }


def compare_with_original(
    lstm: Mapping[str, Any], metrics: Sequence[Records], gan: Mapping[str, Any]
) -> dict[str, Any]:
    """Compare every number of the original with the measured ones, and count those that agree, of those that are measured."""
    rows = {"lstm": compare_lstm(lstm, metrics), "gan": compare_gan(gan)}
    measured = [row for part in rows.values() for row in part.values() if "num_runs" in row]
    agreements = [row["agrees"] for row in measured if row["agrees"] is not None]
    return {**rows, "num_compared": len(agreements), "num_agreeing": sum(agreements)}


def compare_lstm(section: Mapping[str, Any], metrics: Sequence[Records]) -> dict[str, dict[str, Any]]:
    """Return the rows about the LSTM by their names."""
    accuracy = "validation_accuracy"
    gaps = [records[-1][accuracy] - records[-1]["train_accuracy"] for records in metrics]
    sizes = [section["num_train_sequences"], section["num_validation_sequences"]]
    rows = {"sequences": compare_structure("count", None, sizes)}
    for name, printed in FINAL.items():
        unit = "nats" if name.endswith("loss") else "fraction"
        rows[name] = compare_number(unit, section["final"][name]["values"], printed)
        if name == accuracy and section["no_dropout"] is not None:
            without = section["no_dropout"]["final"][accuracy]["values"]
            rows["validation_accuracy_no_dropout"] = compare_number("fraction", without)
    rows["accuracy_gap"] = compare_number("fraction", gaps, low=-1.0)
    for threshold, epoch in BREAKTHROUGH:
        rows[f"first_epoch_at_{100 * threshold:.0f}"] = compare_number(
            "epoch", first_epoch_at(metrics, accuracy, threshold), epoch
        )
    stable: list[int | None] = []
    for records in metrics:
        low = max((record["epoch"] for record in records if record["train_accuracy"] <= STABLE_ACCURACY), default=0)
        stable.append(low + 1 if low < records[-1]["epoch"] else None)
    rows["stable_from_epoch"] = compare_number("epoch", stable, STABLE_EPOCH)
    rows["first_perfect_epoch"] = compare_number("epoch", first_epoch_at(metrics, accuracy, 1.0))
    later = [[record[accuracy] >= 1.0 for record in records if record["epoch"] > PERFECT_EPOCH] for records in metrics]
    if all(later):
        rows["perfect_epochs"] = compare_number("fraction", [statistics.fmean(values) for values in later])
    return rows


def first_epoch_at(metrics: Sequence[Records], name: str, threshold: float) -> list[int | None]:
    """Return the first epoch of each run at which a metric is at least `threshold`; None if there is none."""
    return [next((record["epoch"] for record in records if record[name] >= threshold), None) for records in metrics]


def compare_gan(section: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows about the GAN by their names."""
    generator, discriminator = section["generator"]["layers"], section["discriminator"]["layers"]
    batch_norm = [layer["outputs"] for layer in generator if "BatchNorm" in layer["followed_by"]]
    followers = [follower for layer in (*generator, *discriminator) for follower in layer["followed_by"]]
    slopes = [float(follower.split()[1]) for follower in followers if follower.startswith("LeakyReLU")]
    rows = {
        "generator_widths": compare_structure("width", GENERATOR_WIDTHS, [layer["outputs"] for layer in generator]),
        "batch_norm_widths": compare_structure("width", BATCH_NORM_WIDTHS, batch_norm),
        "discriminator_widths": compare_structure(
            "width", DISCRIMINATOR_WIDTHS, [layer["outputs"] for layer in discriminator]
        ),
        "negative_slopes": compare_structure("negative slope", [NEGATIVE_SLOPE] * len(slopes), slopes),
        "epochs": compare_number("epoch", [section["run"]["epochs"]]),
    }
    if section["recognition"] is not None:
        trained = section["recognition"]["trained"]
        rows["recognized"] = compare_number("fraction", [trained["fraction"]])
        rows["recognized_balanced"] = compare_number("fraction", [trained["balanced_fraction"]])
        rows["digits"] = compare_number("count", [trained["num_digits"]])
    return rows


def compare_number(
    unit: str, measured: Sequence[float | None], printed: Printed | None = None, low: float = 0.0
) -> dict[str, Any]:
    """Compare a number of the original, or None, with the one of each run, None for a run that has none.

    It agrees if it lies between the least and the greatest of the runs, up to rounding. `low` is the least value it can have.
    """
    known = [float(value) for value in measured if value is not None]
    spread = summarize(known, low, 1.0 if unit == "fraction" else math.inf) if known else None
    original, section = printed or (None, None)
    agrees = to_range = in_std = None
    if original is not None:
        agrees = spread is not None and spread["min"] - 1e-9 <= original <= spread["max"] + 1e-9
    if original is not None and spread is not None:
        to_range = 0.0 if agrees else min(abs(value - original) for value in spread["values"])
        in_std = abs(original - spread["mean"]) / spread["std"] if spread["std"] else None
    return {
        "unit": unit,
        "original": None if original is None else float(original),
        "section": section,
        "measured": spread,
        "num_runs": len(measured),
        "agrees": agrees,
        "distance_to_range": to_range,
        "distance_in_std": in_std,
    }


def compare_structure(unit: str, original: Sequence[float] | None, found: Sequence[float]) -> dict[str, Any]:
    """Compare numbers that do not depend on the seed; they agree if they are equal."""
    measured = list(map(float, found))
    printed = None if original is None else list(map(float, original))
    agrees = None if printed is None else bool(found) and printed == measured
    return {"unit": unit, "original": printed, "measured": measured, "agrees": agrees}
