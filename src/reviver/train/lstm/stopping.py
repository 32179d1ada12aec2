"""When a training run ends, and which of its epochs is the best."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from reviver.settings.lstm import LSTMConfig


def rank(metrics: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the sort key of an epoch by its metrics; an epoch with a higher one is an improvement.

    The longest sequences come first, then the highest validation accuracy, then the lowest validation loss.
    """
    return metrics.get("length", 0), metrics["validation_accuracy"], -metrics["validation_loss"]


def rank_checkpoint(metrics: Mapping[str, Any], patience: int | None) -> tuple[float, ...]:
    """Return the sort key of an epoch whose maximum is the epoch of the best checkpoint.

    It is that of `rank`, but with early stopping (`patience`) the last one of the epochs with the highest validation accuracy is the
    best. In a small validation set many epochs have the same accuracy. The one with the lowest loss comes early, since
    the loss grows with the confidence in the few errors while the network still learns.
    """
    if patience is None:
        return rank(metrics)
    return metrics["validation_accuracy"], metrics["epoch"]


def find_best(metrics: Sequence[Mapping[str, Any]], config: LSTMConfig) -> Mapping[str, Any]:
    """Return the metrics of the epoch of the best checkpoint, see `rank_checkpoint`.

    A validation without training counts if it passed. Otherwise it only says where the network breaks.
    """
    counting = [row for row in metrics if row["train_loss"] is not None or passes(config, row)]
    return max(counting, key=lambda row: rank_checkpoint(row, config.patience))


def stopped_early(patience: int | None, epoch: int, improved: int) -> bool:
    """Return whether the last improvement, in the epoch `improved`, lies `patience` epochs or more before `epoch`."""
    return patience is not None and epoch - improved >= patience


def end_reason(config: LSTMConfig, metrics: Sequence[Mapping[str, Any]]) -> Literal["epochs", "patience", "threshold"]:
    """Return the setting that ended a finished run with these metrics of its epochs."""
    last = metrics[-1]
    if config.curriculum and completes_curriculum(config, last):
        return "threshold"
    return "patience" if stopped_early(config.patience, last["epoch"], max(metrics, key=rank)["epoch"]) else "epochs"


def completes_curriculum(config: LSTMConfig, last: Mapping[str, Any]) -> bool:
    """Return whether the metrics of the last epoch pass the threshold of the final length of a curriculum."""
    return bool(last["length"] == config.length) and passes(config, last)


def passes(config: LSTMConfig, metrics: Mapping[str, Any]) -> bool:
    """Return whether the validation accuracy in `metrics` passes the threshold of their length of a curriculum."""
    return bool(metrics["validation_accuracy"] >= config.threshold_at(metrics["length"]))
