"""Summary of a metric over the epochs of a run: at the last epoch, at its best, and as a mean over the last epochs.

Validation accuracy dips for single updates (docs/explanation/memory.md), so the last epoch alone says little.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

NUM_LAST_EPOCHS = 10
"""Epochs at the end of a run that its mean is taken over; all of them if there are fewer."""

METRICS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


def last_records(records: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the records of the last `NUM_LAST_EPOCHS` epochs, one per epoch."""
    return records[-NUM_LAST_EPOCHS:]


def mean_of_last(records: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the mean of a metric over the last `NUM_LAST_EPOCHS` epochs."""
    return fmean(record[name] for record in last_records(records))


def best(records: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the best value of a metric over the epochs: the lowest loss, or the highest accuracy."""
    values = [record[name] for record in records]
    return float(min(values) if name.endswith("loss") else max(values))


def last_trained(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the last record of an epoch of training, at the longest length of a curriculum that was trained; None if none is.

    A curriculum with jumps also has records of validations without training.
    """
    return next((record for record in reversed(records) if record["train_loss"] is not None), None)
