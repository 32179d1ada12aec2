"""Compare what the original prints with the measured results; report.typ puts the result into words."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from reviver.show.report.diagrams import read_layers
from reviver.show.report.report_json import MeasuredRow, OriginalComparison, Spread, StructureRow, Unit
from reviver.show.report.results import GANResults, LSTMResults, last


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


def compare(lstm: LSTMResults, gan: GANResults) -> OriginalComparison:
    """Compare every number of the original with the measured ones, and count those that agree.

    What is given rather than measured, such as the widths of the layers, does not count.
    """
    rows = {"lstm": compare_lstm(lstm), "gan": compare_gan(gan)}
    measured = [row for part in rows.values() for row in part.values() if isinstance(row, MeasuredRow)]
    agreements = [row.agrees for row in measured if row.agrees is not None]
    return OriginalComparison(**rows, num_compared=len(agreements), num_agreeing=sum(agreements))


def compare_lstm(results: LSTMResults) -> dict[str, MeasuredRow | StructureRow]:
    """Return the rows about the LSTM by their names."""
    accuracy = "validation_accuracy"
    gaps = [records[-1][accuracy] - records[-1]["train_accuracy"] for records in results.metrics]
    sizes = [len(results.split.train), len(results.split.validation)]
    rows: dict[str, MeasuredRow | StructureRow] = {"sequences": compare_structure("count", None, sizes)}
    final = results.spread(last)
    for name, printed in FINAL.items():
        rows[name] = compare_number("nats" if name.endswith("loss") else "fraction", final[name].values, printed)
        if name == accuracy and results.no_dropout is not None:
            without = results.no_dropout.spread(last)[accuracy].values
            rows["validation_accuracy_no_dropout"] = compare_number("fraction", without)
    rows["accuracy_gap"] = compare_number("fraction", gaps, low=-1.0)
    for threshold, epoch in BREAKTHROUGH:
        first_epochs = results.first_epoch_at(accuracy, threshold)
        rows[f"first_epoch_at_{100 * threshold:.0f}"] = compare_number("epoch", first_epochs, epoch)
    stable_epochs = results.first_epoch_above("train_accuracy", STABLE_ACCURACY)
    rows["stable_from_epoch"] = compare_number("epoch", stable_epochs, STABLE_EPOCH)
    rows["first_perfect_epoch"] = compare_number("epoch", results.first_epoch_at(accuracy, 1.0))
    perfect = results.fraction_after(PERFECT_EPOCH, accuracy, 1.0)
    if perfect is not None:
        rows["perfect_epochs"] = compare_number("fraction", perfect)
    return rows


def compare_gan(results: GANResults) -> dict[str, MeasuredRow | StructureRow]:
    """Return the rows about the GAN by their names."""
    generator, discriminator = read_layers(results.run.generator), read_layers(results.run.discriminator)
    batch_norm = [layer.outputs for layer in generator if "BatchNorm" in layer.followed_by]
    modules = [*results.run.generator.modules(), *results.run.discriminator.modules()]
    slopes = [module.negative_slope for module in modules if isinstance(module, nn.LeakyReLU)]
    outputs = [[layer.outputs for layer in layers] for layers in (generator, discriminator)]
    rows: dict[str, MeasuredRow | StructureRow] = {
        "generator_widths": compare_structure("width", GENERATOR_WIDTHS, outputs[0]),
        "batch_norm_widths": compare_structure("width", BATCH_NORM_WIDTHS, batch_norm),
        "discriminator_widths": compare_structure("width", DISCRIMINATOR_WIDTHS, outputs[1]),
        "negative_slopes": compare_structure("negative slope", [NEGATIVE_SLOPE] * len(slopes), slopes),
        "epochs": compare_number("epoch", [results.run.config.epochs]),
    }
    if results.recognition is not None:
        trained = results.recognition.trained
        rows["recognized"] = compare_number("fraction", [trained.fraction])
        rows["recognized_balanced"] = compare_number("fraction", [trained.balanced_fraction])
        rows["digits"] = compare_number("count", [trained.num_digits])
    return rows


def compare_number(
    unit: Unit, measured: Sequence[float | None], printed: Printed | None = None, low: float = 0.0
) -> MeasuredRow:
    """Compare a number of the original, or None, with the one of each run, None for a run that has none.

    `low` is the least value of the quantity.
    """
    known = [float(value) for value in measured if value is not None]
    spread = Spread.from_values(known, low, 1.0 if unit == "fraction" else math.inf) if known else None
    original, section = printed or (None, None)
    agrees = to_range = in_std = None
    if original is not None:
        agrees = spread is not None and spread.contains(original)
    if original is not None and spread is not None:
        to_range = 0.0 if agrees else min(abs(value - original) for value in spread.values)
        in_std = abs(original - spread.mean) / spread.std if spread.std else None
    return MeasuredRow(
        unit=unit,
        original=original,
        section=section,
        measured=spread,
        num_runs=len(measured),
        agrees=agrees,
        distance_to_range=to_range,
        distance_in_std=in_std,
    )


def compare_structure(unit: Unit, original: Sequence[float] | None, found: Sequence[float]) -> StructureRow:
    """Compare numbers that do not depend on the seed; they agree if they are equal."""
    printed = None if original is None else tuple(original)
    agrees = None if printed is None else bool(found) and printed == tuple(found)
    return StructureRow(unit=unit, original=printed, measured=tuple(found), agrees=agrees)
