"""When a training run ends, and which of its epochs is the best."""

from collections.abc import Mapping, Sequence
from math import exp, lgamma, log
from typing import Any, Literal

from reviver.settings.lstm import LSTMConfig

SIGNIFICANCE = 0.01
"""Maximum probability that luck alone explains what is called better."""


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


def is_better(best: float, last: float, size: int, epochs: int, chance: float) -> bool:
    """Return whether `size` validation sequences show that the best epoch of a run is better than its last one, and than chance.

    `best` and `last` are the validation accuracies of the two epochs, `chance` is that of the best constant guess. Luck must
    explain neither, with a probability above `SIGNIFICANCE`:

    - that both epochs are equally accurate. Their correct answers would then be spread over both at random; that one epoch has
      at least as many of them as the best is a hypergeometric tail (Fisher's exact test, one-sided).
    - that the best epoch guesses. At least as many hits with the probability `chance` each are a binomial tail.

    The best epoch is the luckiest of all `epochs`, so both probabilities count as many times (Bonferroni). After 100 epochs, a
    best epoch with all of 80 sequences correct is better than a last one with 67, and one with 40 better than one with 16.
    """
    hits, luck = round(best * size), SIGNIFICANCE / epochs
    total = hits + round(last * size)
    both = _log_comb(2 * size, total)
    ks = range(hits, size + 1)
    fisher = sum(exp(_log_comb(size, k) + _log_comb(size, total - k) - both) for k in ks if k <= total)
    binomial = sum(exp(_log_comb(size, k) + k * log(chance) + (size - k) * log(1 - chance)) for k in ks)
    return fisher <= luck and binomial <= luck


def _log_comb(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


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
