"""The original report's numbers beside ours. Whether they agree is computed, and the explanation follows from it."""

from collections.abc import Sequence
from typing import NamedTuple

from reviver.gan.latent import CONFIDENCE
from reviver.report import numbers, original
from reviver.report.evidence import GANEvidence, LSTMEvidence, Recognition
from reviver.report.model import Text, plain, prose
from reviver.report.numbers import Format, Spread
from reviver.report.original import Reported
from reviver.report.structure import read_layers


class Row(NamedTuple):
    """A number of the report beside ours.

    Attributes:
        agrees: whether the report's number lies in the range of our seeds, or is the same where there is no
            chance in it; None where the report gives no number.
    """

    quantity: Text
    reported: Text
    ours: Text
    explanation: Text
    agrees: bool | None


def lstm_rows(evidence: LSTMEvidence) -> list[Row]:
    """The rows about the LSTM."""
    return [
        _data_row(evidence),
        _final_row(evidence, "Final training accuracy (dropout on)", "train_accuracy", original.TRAIN_ACCURACY),
        _final_row(evidence, "Final validation accuracy", "validation_accuracy", original.VALIDATION_ACCURACY),
        _final_row(evidence, "Final training loss (dropout on)", "train_loss", original.TRAIN_LOSS),
        _final_row(evidence, "Final validation loss", "validation_loss", original.VALIDATION_LOSS),
        _gap_row(evidence),
        *_breakthrough_rows(evidence),
        _stable_row(evidence),
        *_perfect_rows(evidence),
    ]


def _data_row(evidence: LSTMEvidence) -> Row:
    total, train, validation = (
        numbers.whole(count)
        for count in (
            evidence.train_size + evidence.validation_size,
            evidence.train_size,
            evidence.validation_size,
        )
    )
    reported_train, reported_validation = original.TRAIN_SEQUENCES, original.VALIDATION_SEQUENCES
    right_train = round(original.TRAIN_ACCURACY.value * reported_train)
    right_validation = round(original.VALIDATION_ACCURACY.value * reported_validation)
    agrees = (evidence.train_size, evidence.validation_size) == (reported_train, reported_validation)
    note = (
        f"The report gives no sizes, but its accuracies are fractions of these: {right_train}/{reported_train} and "
        f"{right_validation}/{reported_validation}. "
        + ("They agree with ours." if agrees else "Ours are others: these runs have other settings.")
    )
    return Row(
        plain("Palindromes: training + validation"),
        plain(f"{numbers.whole(reported_train + reported_validation)} = {reported_train} + {reported_validation}"),
        plain(f"{total} = {train} + {validation}"),
        plain(note),
        agrees,
    )


def _final_row(evidence: LSTMEvidence, quantity: str, name: str, reported: Reported) -> Row:
    ours = evidence.final(name)
    show = numbers.percent if name.endswith("accuracy") else numbers.loss
    note = place(reported.value, ours, show)
    if name == "validation_accuracy":
        note += " " + _last_epoch_note(evidence)
    return Row(
        plain(quantity), plain(show(reported.value)), plain(ours.show(show)), plain(note), ours.holds(reported.value)
    )


def _last_epoch_note(evidence: LSTMEvidence) -> str:
    """Why the last epoch alone says little of validation accuracy."""
    step = numbers.percent(1 / evidence.validation_size)
    best = evidence.best("validation_accuracy").show_range(numbers.percent)
    return f"One sequence is {step}, and the last epoch is one of many: the best epochs reach {best}."


def place(reported: float, ours: Spread, show: Format) -> str:
    """Say whether a number of the report lies within the range of our seeds, and what follows."""
    show_difference = numbers.points if show is numbers.percent else show
    if ours.deviation is None:
        return f"One run gives no range; the difference is {show_difference(abs(reported - ours.mean))}."
    if ours.holds(reported):
        return f"Within our range, {ours.show_range(show)}."
    nearest = min(ours.values, key=lambda value: abs(value - reported))
    text = f"Outside our range, {ours.show_range(show)}, by {show_difference(abs(reported - nearest))}"
    if ours.deviation == 0:
        return f"{text}; all our seeds agree."
    distance = abs(reported - ours.mean) / ours.deviation
    return f"{text} ({distance:.1f} standard deviations from our mean); its seed and split are unknown."


def _gap_row(evidence: LSTMEvidence) -> Row:
    reported = original.VALIDATION_ACCURACY.value - original.TRAIN_ACCURACY.value
    pairs = zip(evidence.final("validation_accuracy").values, evidence.final("train_accuracy").values, strict=True)
    ours = Spread(tuple(validation - train for validation, train in pairs))
    undropped = Spread(tuple(score.accuracy for score in evidence.undropped))
    return Row(
        plain("Validation minus training accuracy, at the end"),
        plain(numbers.points(reported)),
        plain(ours.show(numbers.points)),
        plain(
            f"{place(reported, ours, numbers.points)} Training accuracy is measured with dropout on; with dropout off "
            f"the same weights know {undropped.show(numbers.percent)} of the training sequences."
        ),
        ours.holds(reported),
    )


def _breakthrough_rows(evidence: LSTMEvidence) -> list[Row]:
    low, high = (epoch.value for epoch in original.BREAKTHROUGH_EPOCHS)
    rows = []
    for threshold, epoch, word in (
        (original.BREAKTHROUGH_FROM.value, low, "about"),
        (original.BREAKTHROUGH_TO.value, high, "by"),
    ):
        epochs = evidence.first_at("validation_accuracy", threshold)
        rows.append(
            Row(
                plain(f"Epoch of the first validation accuracy of {numbers.coarse_percent(threshold)}"),
                plain(f"{word} {numbers.whole(epoch)}"),
                plain(show_epochs(epochs)),
                plain(_epoch_note(epoch, epochs, f"The report reads both from its curve as {low:g} to {high:g}.")),
                _agrees(epoch, epochs),
            )
        )
    return rows


def _stable_row(evidence: LSTMEvidence) -> Row:
    epochs = evidence.above_from("train_accuracy", original.STABLE_ACCURACY.value)
    return Row(
        plain(f"Training accuracy stays above {numbers.coarse_percent(original.STABLE_ACCURACY.value)} from epoch"),
        plain(f"after {numbers.whole(original.STABLE_EPOCH.value)}"),
        plain(show_epochs(epochs)),
        plain(
            _epoch_note(
                original.STABLE_EPOCH.value, epochs, "The epoch after the last one at or below; one dip moves it far."
            )
        ),
        _agrees(original.STABLE_EPOCH.value, epochs),
    )


def _perfect_rows(evidence: LSTMEvidence) -> list[Row]:
    epoch = original.PERFECT_EPOCH.value
    first = evidence.first_at("validation_accuracy", 1.0)
    share = evidence.share_after(epoch, "validation_accuracy", 1.0)
    perfect = numbers.coarse_percent(1)
    rows = [
        Row(
            plain(f"Epoch of the first validation accuracy of {perfect}"),
            plain("not said"),
            plain(show_epochs(first)),
            plain(
                f"The report says only that {perfect} is frequent after epoch {epoch:g}; the first time may be earlier."
            ),
            None,
        )
    ]
    if share is not None:
        rows.append(
            Row(
                plain(f"Share of the epochs after {numbers.whole(epoch)} with {perfect} validation accuracy"),
                plain("“frequently”"),
                plain(share.show(numbers.coarse_percent)),
                plain(
                    f"No number to compare. Our seeds range from {share.show_range(numbers.coarse_percent)}; accuracy "
                    "dips between perfect epochs, as the report says too."
                ),
                None,
            )
        )
    return rows


def known(epochs: Sequence[int | None]) -> Spread | None:
    """The epochs of the seeds that got there; None if none did."""
    values = tuple(float(epoch) for epoch in epochs if epoch is not None)
    return Spread(values) if values else None


def show_epochs(epochs: Sequence[int | None]) -> str:
    """Show at which epoch something happened."""
    found = known(epochs)
    if found is None:
        return "not reached"
    missing = len(epochs) - len(found.values)
    shown = found.show(lambda value: f"{value:.1f}") if found.deviation is not None else numbers.whole(found.mean)
    return shown + (f" (in {len(found.values)} of {len(epochs)} seeds)" if missing else "")


def count_digits(recognition: Recognition) -> str:
    """Say how many different digits were recognised."""
    return (
        "no digit"
        if not recognition.digits
        else "one digit"
        if recognition.digits == 1
        else f"{recognition.digits} digits"
    )


def _epoch_note(reported: float, epochs: Sequence[int | None], remark: str) -> str:
    found = known(epochs)
    if found is None:
        return f"Not reached in these runs. {remark}"
    return f"{place(reported, found, numbers.whole)} {remark}"


def _agrees(reported: float, epochs: Sequence[int | None]) -> bool:
    found = known(epochs)
    return found is not None and found.holds(reported)


def gan_rows(evidence: GANEvidence) -> list[Row]:
    """The rows about the GAN."""
    return [*_layer_rows(evidence), _epochs_row(evidence), *_judgement_rows(evidence)]


def _layer_rows(evidence: GANEvidence) -> list[Row]:
    generator, discriminator = read_layers(evidence.run.generator), read_layers(evidence.run.discriminator)
    ours = tuple(layer.outputs for layer in generator)
    theirs = tuple(layer.outputs for layer in discriminator)
    normalised = tuple(layer.outputs for layer in generator if "BatchNorm" in layer.followers)
    leaky = sum(f"LeakyReLU {original.NEGATIVE_SLOPE:g}" in layer.followers for layer in generator + discriminator)
    unnamed = " One stands after 256 in the discriminator, where the report names none: two linear layers in a row would be one."
    return [
        _structure_row("Generator: widths of its linear layers", original.GENERATOR_WIDTHS, ours),
        _structure_row("Generator: widths with BatchNorm", original.NORMALISED_WIDTHS, normalised),
        _structure_row("Discriminator: widths of its linear layers", original.DISCRIMINATOR_WIDTHS, theirs),
        Row(
            plain("Slope of LeakyReLU"),
            plain(f"{original.NEGATIVE_SLOPE:g}"),
            plain(f"{original.NEGATIVE_SLOPE:g}, {leaky} times" if leaky else "none"),
            plain("Counted from the modules." + unnamed),
            leaky > 0,
        ),
    ]


def _structure_row(quantity: str, reported: Sequence[int], ours: Sequence[int]) -> Row:
    agrees = tuple(reported) == tuple(ours)
    note = "Counted from the modules: the same." if agrees else "Counted from the modules: this run has other images."
    return Row(
        plain(quantity), plain(", ".join(map(str, reported))), plain(", ".join(map(str, ours))), plain(note), agrees
    )


def _epochs_row(evidence: GANEvidence) -> Row:
    epochs = evidence.run.config.epochs
    if epochs == original.GAN_EPOCHS:
        note = prose("The report gives no number; this is the default of the script it follows.")
    else:
        note = prose(
            "The report gives no number; {default} is the default of the script it follows. `reviver report --full` "
            "trains for {default}.",
            default=str(original.GAN_EPOCHS),
        )
    return Row(plain("Epochs of training"), plain(f"not said ({original.GAN_EPOCHS})"), plain(epochs), note, None)


def _judgement_rows(evidence: GANEvidence) -> list[Row]:
    judged = evidence.judgement
    if judged is None:
        return []
    share = numbers.plus_minus(judged.after.share, judged.after.error, numbers.percent)
    return [
        Row(
            plain(f"Samples recognised as a digit with at least {numbers.coarse_percent(CONFIDENCE)} confidence"),
            plain("“clear, structured outputs”"),
            plain(share),
            plain(
                f"Ceiling: {numbers.percent(judged.real.share)} of {judged.real.size} real test images. One run; ± is "
                f"the standard error from {judged.after.size} samples, not a spread over seeds. Before training it is "
                f"{numbers.coarse_percent(judged.before.share)}, all taken for {count_digits(judged.before)}: see the "
                "next row."
            ),
            None,
        ),
        Row(
            plain("The same, counting at most a tenth of all samples for each digit"),
            plain("“diverse”"),
            plain(numbers.percent(judged.after.balanced)),
            plain(
                f"Ceiling: {numbers.percent(judged.real.balanced)} of real test images. Chance: "
                f"{numbers.coarse_percent(1 / len(judged.after.counts))}, which a generator gets that repeats one "
                f"digit; the untrained one gets {numbers.percent(judged.before.balanced)}."
            ),
            None,
        ),
        Row(
            plain("Digits among those samples"),
            plain("not said"),
            plain(f"{judged.after.digits} of {len(judged.after.counts)}"),
            plain(f"Real images: {judged.real.digits} of {len(judged.real.counts)}."),
            None,
        ),
    ]
