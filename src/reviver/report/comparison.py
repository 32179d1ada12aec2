"""The original report's numbers beside ours. Whether they agree is computed; report.typ puts it into words."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from reviver.report.records import Comparison, Row, Spread, StructureRow, Unit
from reviver.report.results import GANResults, LSTMResults
from reviver.report.structure import read_layers


class Reported(NamedTuple):
    """A number of the original report, as fractions and epochs; `place` is its section and paragraph."""

    value: float
    place: str


TRAIN_ACCURACY = Reported(0.8575, "1.3, third paragraph")
VALIDATION_ACCURACY = Reported(0.9950, "1.3, third paragraph")
TRAIN_LOSS = Reported(0.3915, "1.3, third paragraph")
VALIDATION_LOSS = Reported(0.1444, "1.3, third paragraph")
ACCURACY_GAP = Reported(VALIDATION_ACCURACY.value - TRAIN_ACCURACY.value, "1.3, third paragraph")

BREAKTHROUGH = ((0.40, Reported(12, "1.3, first paragraph")), (0.55, Reported(15, "1.3, first paragraph")))
"""Validation accuracies, and the epochs at which they are reached."""
STABLE_ACCURACY, STABLE_EPOCH = 0.75, Reported(60, "1.3, second paragraph")
"""The training accuracy that is exceeded after this epoch."""
PERFECT_EPOCH = 80
"""Validation accuracy is "frequently" 100 % after it (1.3, third paragraph)."""

TRAIN_SEQUENCES, VALIDATION_SEQUENCES = 800, 200
"""Not given there; the only split of the 1000 palindromes in which both accuracies are whole fractions near 80/20."""

GENERATOR_WIDTHS = (128, 256, 512, 1024, 784)
DISCRIMINATOR_WIDTHS = (512, 256, 1)
NORMALISED_WIDTHS = (256, 512, 1024)
NEGATIVE_SLOPE = 0.2
GAN_EPOCHS = 200
"""Not given there; the default of the course's script that the report follows."""


def compare(lstm: LSTMResults, gan: GANResults) -> Comparison:
    """Set every number that the original report gives beside ours, and say which agree."""
    lstm_rows, gan_rows = compare_lstm(lstm), compare_gan(gan)
    judged = [row.agrees for row in [*lstm_rows.values(), *gan_rows.values()] if row.agrees is not None]
    return Comparison(lstm=lstm_rows, gan=gan_rows, compared=len(judged), agreeing=sum(judged))


def compare_lstm(results: LSTMResults) -> dict[str, Row | StructureRow]:
    """Return the rows about the LSTM."""
    accuracy = "validation_accuracy"
    gap = [points[-1][accuracy] - points[-1]["train_accuracy"] for points in results.metrics]
    sequences = [len(part) for part in (results.split.train, results.split.validation)]
    rows: dict[str, Row | StructureRow] = {
        "sequences": structure_row("count", [TRAIN_SEQUENCES, VALIDATION_SEQUENCES], sequences),
        "train_accuracy": row("fraction", results.final("train_accuracy").values, TRAIN_ACCURACY),
        "validation_accuracy": row("fraction", results.final(accuracy).values, VALIDATION_ACCURACY),
        "train_loss": row("nats", results.final("train_loss").values, TRAIN_LOSS),
        "validation_loss": row("nats", results.final("validation_loss").values, VALIDATION_LOSS),
        "accuracy_gap": row("fraction", gap, ACCURACY_GAP),
    }
    for threshold, epoch in BREAKTHROUGH:
        rows[f"first_epoch_at_{100 * threshold:.0f}"] = row("epoch", results.first_at(accuracy, threshold), epoch)
    stable = results.above_from("train_accuracy", STABLE_ACCURACY)
    rows["stable_from_epoch"] = row("epoch", stable, STABLE_EPOCH)
    rows["first_perfect_epoch"] = row("epoch", results.first_at(accuracy, 1.0))
    perfect = results.fraction_after(PERFECT_EPOCH, accuracy, 1.0)
    if perfect is not None:
        rows["perfect_epochs"] = row("fraction", perfect.values)
    return rows


def compare_gan(results: GANResults) -> dict[str, Row | StructureRow]:
    """Return the rows about the GAN."""
    generator, discriminator = read_layers(results.run.generator), read_layers(results.run.discriminator)
    modules = [*results.run.generator.modules(), *results.run.discriminator.modules()]
    slopes = [module.negative_slope for module in modules if isinstance(module, nn.LeakyReLU)]
    widths = {
        "generator_widths": (GENERATOR_WIDTHS, generator),
        "batch_norm_widths": (NORMALISED_WIDTHS, [one for one in generator if "BatchNorm" in one.followers]),
        "discriminator_widths": (DISCRIMINATOR_WIDTHS, discriminator),
    }
    rows: dict[str, Row | StructureRow] = {
        **{name: structure_row("width", of, [one.outputs for one in layers]) for name, (of, layers) in widths.items()},
        "negative_slopes": structure_row("slope", [NEGATIVE_SLOPE] * len(slopes), slopes),
        "epochs": row("epoch", [results.run.config.epochs]),
    }
    if results.recognition is not None:
        after = results.recognition.after
        rows |= {
            "recognised": row("fraction", [after.fraction]),
            "recognised_balanced": row("fraction", [after.balanced]),
            "digits": row("count", [after.digits]),
        }
    return rows


def row(unit: Unit, ours: Sequence[float | None], original: Reported | None = None) -> Row:
    """Compare a number of the original with those of our runs, which are None where a run did not get there."""
    known = [float(value) for value in ours if value is not None]
    spread = Spread.of(known) if known else None
    agrees = None if original is None else spread is not None and spread.holds(original.value)
    outside = distance = None
    if original and spread:
        outside = 0.0 if agrees else min(abs(value - original.value) for value in spread.values)
        distance = abs(original.value - spread.mean) / spread.std if spread.std else None
    return Row(
        unit=unit,
        reported=original.value if original else None,
        place=original.place if original else None,
        ours=spread,
        runs=len(ours),
        agrees=agrees,
        outside=outside,
        distance_in_std=distance,
    )


def structure_row(unit: Unit, original: Sequence[float], ours: Sequence[float]) -> StructureRow:
    """Compare numbers in which there is no chance."""
    reported, counted = tuple(original), tuple(ours)
    return StructureRow(unit=unit, reported=reported, ours=counted, agrees=bool(ours) and reported == counted)
