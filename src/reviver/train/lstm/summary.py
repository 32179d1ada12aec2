"""Summary of an LSTM run: its scores in words, and a metric at the last epoch, at its best, and as a mean of the last epochs.

Validation accuracy dips for single updates (docs/explanation/memory.md), so the last epoch alone says little.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from reviver.data.build import SequenceData
from reviver.data.task import ACCURACY_NAMES, LOSS_NAMES
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import TOLERANCE
from reviver.text import percent
from reviver.train.description import ScoreItem, ScoreTable
from reviver.train.lstm.curriculum import completes_curriculum, end_reason, find_best
from reviver.train.opened import OpenedRun

NUM_LAST_EPOCHS = 10
"""Epochs at the end of a run that its mean is taken over; all of them if there are fewer."""

METRICS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


def mean_of_last(records: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the mean of a metric over the last `NUM_LAST_EPOCHS` epochs."""
    return fmean(record[name] for record in records[-NUM_LAST_EPOCHS:])


def best(records: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the best value of a metric over the epochs: the lowest loss, or the highest accuracy."""
    values = [record[name] for record in records]
    return float(min(values) if name.endswith("loss") else max(values))


def results_of(config: LSTMConfig, metrics: Sequence[Mapping[str, Any]], chance: float | None) -> dict[str, Any]:
    """Return the results of a run with these metrics of its epochs, as the command line gives them.

    They are the metrics of the last and of the best epoch, without a curriculum their mean over the last epochs, and with one
    whether its final `length` was `reached`.
    """
    result: dict[str, Any] = {"last": metrics[-1], "best": find_best(metrics, config)}
    result |= {"ended_by": end_reason(config, metrics), "chance": chance}
    if config.curriculum:
        return result | {"reached": completes_curriculum(config, metrics[-1]), "length": config.length}
    return result | {"mean_of_last": {name: mean_of_last(metrics, name) for name in METRICS}}


def last_trained(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the last record of an epoch of training, at the longest length of a curriculum that was trained; None if none is.

    A curriculum with jumps also has records of validations without training.
    """
    return next((record for record in reversed(records) if record["train_loss"] is not None), None)


def trained_length(run: OpenedRun) -> int:
    """Return the maximum length T that a run was trained at; of custom data, that of the longest sequence."""
    if not run.config.curriculum:
        return run.task.max_length
    return int((last_trained(run.metrics) or {}).get("length", run.config.length))


def find_metrics(run: OpenedRun) -> dict[str, Any] | None:
    """Return the metrics of the last epoch before the checkpoint was saved; None if no epoch was complete."""
    return next((record for record in reversed(run.metrics) if record["step"] <= run.step), None)


def scores_of(run: OpenedRun, data: SequenceData) -> ScoreTable:
    """Return accuracy and loss of validation and training after the last complete epoch, beside chance and the baseline."""
    metrics = find_metrics(run)
    if metrics is None:
        return ScoreTable([], "The run has no complete epoch, so nothing was measured.")
    length = metrics.get("length", run.config.length)
    is_trained = metrics["train_loss"] is not None
    accuracy = "accuracy" if data.target == "class" else f"accuracy of {ACCURACY_NAMES[data.target]}"
    chance, baseline = f"{100 * run.task.chance:.4g} %", f"{run.task.baseline(length):.4g}"
    items = []
    for split in ("validation", "train") if is_trained else ("validation",):
        fraction, loss = metrics[f"{split}_accuracy"], metrics[f"{split}_loss"]
        items.append(ScoreItem(f"{split} {accuracy}", fraction, f"{percent(fraction)} %", None, chance))
        items.append(ScoreItem(f"{split} {LOSS_NAMES[data.target]}", loss, f"{loss:.4g}", None, baseline))
    dropout = run.config.uses_dropout
    training = f", on the training set {'with dropout' if dropout else 'as the mean over the epoch'}"
    note = (
        f"Measured after epoch {metrics['epoch']} in one run with seed {run.config.seed}, so that the spread over seeds is "
        f"unknown: on the validation set{' without dropout' if dropout else ''}{training if is_trained else ''}. The "
        "accuracy stands beside that of the best constant guess, the loss beside that of the best prediction without memory."
    )
    if run.config.curriculum:
        suffix = "" if is_trained else ", at which the network was validated, but not trained"
        note += f" The sequences have length {length:,}{suffix}."
    if data.target == "number":
        note += f" A number counts as correct within {TOLERANCE}."
    return ScoreTable(items, note)
