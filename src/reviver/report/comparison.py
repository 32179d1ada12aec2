"""The original report's numbers beside ours. Whether they agree is computed; report.typ puts it into words."""

from collections.abc import Sequence

from torch import nn

from reviver.report import reported
from reviver.report.records import Comparison, Row, Spread, StructureRow, Unit
from reviver.report.reported import Reported
from reviver.report.results import GANResults, LSTMResults
from reviver.report.structure import read_layers


def compare(lstm: LSTMResults, gan: GANResults) -> Comparison:
    """Set every number that the original report gives beside ours, and say which agree."""
    lstm_rows, gan_rows = compare_lstm(lstm), compare_gan(gan)
    judged = [row.agrees for row in [*lstm_rows.values(), *gan_rows.values()] if row.agrees is not None]
    return Comparison(lstm=lstm_rows, gan=gan_rows, compared=len(judged), agreeing=sum(judged))


def compare_lstm(results: LSTMResults) -> dict[str, Row | StructureRow]:
    """Return the rows about the LSTM."""
    accuracy = "validation_accuracy"
    gap = [
        validation - train
        for validation, train in zip(
            results.final(accuracy).values, results.final("train_accuracy").values, strict=True
        )
    ]
    rows: dict[str, Row | StructureRow] = {
        "sequences": structure_row(
            "count",
            (reported.TRAIN_SEQUENCES, reported.VALIDATION_SEQUENCES),
            (results.train_size, results.validation_size),
        ),
        "train_accuracy": row("fraction", results.final("train_accuracy").values, reported.TRAIN_ACCURACY),
        "validation_accuracy": row("fraction", results.final(accuracy).values, reported.VALIDATION_ACCURACY),
        "train_loss": row("nats", results.final("train_loss").values, reported.TRAIN_LOSS),
        "validation_loss": row("nats", results.final("validation_loss").values, reported.VALIDATION_LOSS),
        "accuracy_gap": row("fraction", gap, reported.ACCURACY_GAP),
    }
    for threshold, epoch in reported.BREAKTHROUGH:
        rows[f"first_epoch_at_{100 * threshold:.0f}"] = row("epoch", results.first_at(accuracy, threshold), epoch)
    rows["stable_from_epoch"] = row(
        "epoch", results.above_from("train_accuracy", reported.STABLE_ACCURACY), reported.STABLE_EPOCH
    )
    rows["first_perfect_epoch"] = row("epoch", results.first_at(accuracy, 1.0))
    perfect = results.fraction_after(reported.PERFECT_EPOCH, accuracy, 1.0)
    if perfect is not None:
        rows["perfect_epochs"] = row("fraction", perfect.values)
    return rows


def compare_gan(results: GANResults) -> dict[str, Row | StructureRow]:
    """Return the rows about the GAN."""
    generator, discriminator = read_layers(results.run.generator), read_layers(results.run.discriminator)
    normalised = [layer.outputs for layer in generator if "BatchNorm" in layer.followers]
    modules = [*results.run.generator.modules(), *results.run.discriminator.modules()]
    slopes = [module.negative_slope for module in modules if isinstance(module, nn.LeakyReLU)]
    rows: dict[str, Row | StructureRow] = {
        "generator_widths": structure_row("width", reported.GENERATOR_WIDTHS, [layer.outputs for layer in generator]),
        "batch_norm_widths": structure_row("width", reported.NORMALISED_WIDTHS, normalised),
        "discriminator_widths": structure_row(
            "width", reported.DISCRIMINATOR_WIDTHS, [layer.outputs for layer in discriminator]
        ),
        "negative_slopes": structure_row("slope", [reported.NEGATIVE_SLOPE] * len(slopes), slopes),
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
    if original is None:
        agrees = outside = distance = None
    elif spread is None:
        agrees, outside, distance = False, None, None
    else:
        agrees = spread.holds(original.value)
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
    return StructureRow(
        unit=unit, reported=tuple(original), ours=tuple(ours), agrees=bool(ours) and tuple(original) == tuple(ours)
    )
