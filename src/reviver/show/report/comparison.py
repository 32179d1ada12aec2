"""Compare the original report's numbers with ours; report.typ puts the result into words."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from reviver.show.report.diagrams import read_layers
from reviver.show.report.results import GANResults, LSTMResults
from reviver.show.report.schema import Comparison, Row, Spread, StructureRow, Unit


class Reported(NamedTuple):
    """A number of the original report.

    Attributes:
        value: a fraction, a loss in nats, or an epoch.
        section: section and paragraph of the original.
    """

    value: float
    section: str


TRAIN_ACCURACY = Reported(0.8575, "1.3, third paragraph")
VALIDATION_ACCURACY = Reported(0.9950, "1.3, third paragraph")
TRAIN_LOSS = Reported(0.3915, "1.3, third paragraph")
VALIDATION_LOSS = Reported(0.1444, "1.3, third paragraph")
ACCURACY_GAP = Reported(VALIDATION_ACCURACY.value - TRAIN_ACCURACY.value, "1.3, third paragraph")

BREAKTHROUGH = ((0.40, Reported(12, "1.3, first paragraph")), (0.55, Reported(15, "1.3, first paragraph")))
"""Validation accuracies and the epochs that reach them."""
STABLE_ACCURACY, STABLE_EPOCH = 0.75, Reported(60, "1.3, second paragraph")
"""Training accuracy that is exceeded after this epoch."""
PERFECT_EPOCH = 80
"""Epoch after which validation accuracy is "frequently" 100 % (1.3, third paragraph)."""

TRAIN_SEQUENCES, VALIDATION_SEQUENCES = 800, 200
"""Inferred: the only split of the 1000 palindromes near 80/20 of which both reported accuracies are exact fractions."""

GENERATOR_WIDTHS = (128, 256, 512, 1024, 784)
DISCRIMINATOR_WIDTHS = (512, 256, 1)
BATCH_NORM_WIDTHS = (256, 512, 1024)
NEGATIVE_SLOPE = 0.2
GAN_EPOCHS = 200
"""Not reported; the default of the course script that the original follows."""


def compare(lstm: LSTMResults, gan: GANResults) -> Comparison:
    """Compare every number of the original report with ours, and count those that agree."""
    lstm_rows, gan_rows = compare_lstm(lstm), compare_gan(gan)
    agreements = [row.agrees for row in [*lstm_rows.values(), *gan_rows.values()] if row.agrees is not None]
    return Comparison(lstm=lstm_rows, gan=gan_rows, num_compared=len(agreements), num_agreeing=sum(agreements))


def compare_lstm(results: LSTMResults) -> dict[str, Row | StructureRow]:
    """Return the rows about the LSTM by their names."""
    accuracy = "validation_accuracy"
    gaps = [records[-1][accuracy] - records[-1]["train_accuracy"] for records in results.metrics]
    sizes = [len(results.split.train), len(results.split.validation)]
    rows: dict[str, Row | StructureRow] = {
        "sequences": compare_structure("count", [TRAIN_SEQUENCES, VALIDATION_SEQUENCES], sizes),
        "train_accuracy": compare_number("fraction", results.final("train_accuracy").values, TRAIN_ACCURACY),
        "validation_accuracy": compare_number("fraction", results.final(accuracy).values, VALIDATION_ACCURACY),
        "train_loss": compare_number("nats", results.final("train_loss").values, TRAIN_LOSS),
        "validation_loss": compare_number("nats", results.final("validation_loss").values, VALIDATION_LOSS),
        "accuracy_gap": compare_number("fraction", gaps, ACCURACY_GAP),
    }
    for threshold, epoch in BREAKTHROUGH:
        first_epochs = results.first_epoch_at(accuracy, threshold)
        rows[f"first_epoch_at_{100 * threshold:.0f}"] = compare_number("epoch", first_epochs, epoch)
    stable_epochs = results.first_epoch_above("train_accuracy", STABLE_ACCURACY)
    rows["stable_from_epoch"] = compare_number("epoch", stable_epochs, STABLE_EPOCH)
    rows["first_perfect_epoch"] = compare_number("epoch", results.first_epoch_at(accuracy, 1.0))
    perfect = results.fraction_after(PERFECT_EPOCH, accuracy, 1.0)
    if perfect is not None:
        rows["perfect_epochs"] = compare_number("fraction", perfect.values)
    return rows


def compare_gan(results: GANResults) -> dict[str, Row | StructureRow]:
    """Return the rows about the GAN by their names."""
    generator, discriminator = read_layers(results.run.generator), read_layers(results.run.discriminator)
    batch_norm = [layer for layer in generator if "BatchNorm" in layer.followed_by]
    modules = [*results.run.generator.modules(), *results.run.discriminator.modules()]
    negative_slopes = [module.negative_slope for module in modules if isinstance(module, nn.LeakyReLU)]
    rows: dict[str, Row | StructureRow] = {
        "generator_widths": compare_structure("width", GENERATOR_WIDTHS, [layer.outputs for layer in generator]),
        "batch_norm_widths": compare_structure("width", BATCH_NORM_WIDTHS, [layer.outputs for layer in batch_norm]),
        "discriminator_widths": compare_structure(
            "width", DISCRIMINATOR_WIDTHS, [layer.outputs for layer in discriminator]
        ),
        "negative_slopes": compare_structure(
            "negative slope", [NEGATIVE_SLOPE] * len(negative_slopes), negative_slopes
        ),
        "epochs": compare_number("epoch", [results.run.config.epochs]),
    }
    if results.recognition is not None:
        trained = results.recognition.trained
        rows |= {
            "recognized": compare_number("fraction", [trained.fraction]),
            "recognised_balanced": compare_number("fraction", [trained.balanced_fraction]),
            "digits": compare_number("count", [trained.num_digits]),
        }
    return rows


def compare_number(unit: Unit, ours: Sequence[float | None], reported: Reported | None = None) -> Row:
    """Compare a reported number with ours.

    Args:
        unit: unit of all numbers.
        ours: one number per run, None for a run that has none, such as the epoch of an accuracy that it did not reach.
        reported: the original's number, None if it gives none.
    """
    known = [float(value) for value in ours if value is not None]
    spread = Spread.from_values(known) if known else None
    agrees = None if reported is None else spread is not None and spread.contains(reported.value)
    distance_to_range = distance_in_std = None
    if reported and spread:
        distance_to_range = 0.0 if agrees else min(abs(value - reported.value) for value in spread.values)
        distance_in_std = abs(reported.value - spread.mean) / spread.std if spread.std else None
    return Row(
        unit=unit,
        reported=reported.value if reported else None,
        section=reported.section if reported else None,
        ours=spread,
        num_runs=len(ours),
        agrees=agrees,
        distance_to_range=distance_to_range,
        distance_in_std=distance_in_std,
    )


def compare_structure(unit: Unit, reported: Sequence[float], ours: Sequence[float]) -> StructureRow:
    """Compare numbers that do not depend on the seed; they agree if they are equal."""
    return StructureRow(
        unit=unit, reported=tuple(reported), ours=tuple(ours), agrees=bool(ours) and tuple(reported) == tuple(ours)
    )
