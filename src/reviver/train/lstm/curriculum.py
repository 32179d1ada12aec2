"""The length curriculum and the end of a run: which length comes next, and which epoch is the best.

Each time a length passes, the run goes on to the next one and trains there. With `LSTMConfig.jump_factor` it validates
before it trains: first at a length up to that factor further on; while the threshold holds, it jumps on from there. If it
breaks, a bisection of the lengths between finds the shortest of them that breaks, and the run trains there.

The position is a part of `TrainingState.extra`, so that a checkpoint has it:

    stage     number of lengths, from the shortest, that have passed
    broken    only with `jump_factor`: index of the shortest length known to break with the present weights; None if none is
"""

import math
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Literal, NamedTuple

from reviver.settings.lstm import LSTMConfig

ROUNDING = 1e-4
"""Tolerance in the number of lengths of a jump: a `length_factor` of 2.15444 and a `jump_factor` of 10 are three lengths."""


class Stage(NamedTuple):
    """What a run does next."""

    number: int
    """Index of the length in `LSTMConfig.lengths`."""
    trains: bool
    """Whether the network trains for an epoch at this length before its validation there."""


def start(config: LSTMConfig) -> dict[str, int]:
    """Return the position of a run before its first epoch. It trains at the shortest length, since it has learned nothing."""
    return {"stage": 0} if config.jump_factor is None else {"stage": 0, "broken": 0}


def next_stage(config: LSTMConfig, position: Mapping[str, Any]) -> Stage:
    """Return what a run does next at a position before the end of its curriculum."""
    stage = position["stage"]
    broken = position.get("broken", stage)
    if broken == stage:
        return Stage(stage, trains=True)
    if broken is not None:
        return Stage((stage + broken) // 2, trains=False)
    assert config.jump_factor is not None
    ratio = math.log(config.jump_factor) / math.log(config.length_factor)
    size = max(1, math.floor(ratio + ROUNDING))  # number of lengths that a jump goes on
    return Stage(min(stage - 1 + size, len(config.lengths) - 1), trains=False)


def advance(position: MutableMapping[str, Any], stage: Stage, *, passed: bool) -> None:
    """Change the position after the validation at `stage`."""
    if passed:
        position["stage"] = stage.number + 1
        if stage.trains and "broken" in position:
            position["broken"] = None  # new weights: where they break is unknown
    elif not stage.trains:
        position["broken"] = stage.number


def rank(metrics: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the sort key of an epoch by its metrics; an epoch with a higher one is an improvement.

    The longest sequences come first, then the highest validation accuracy, then the lowest validation loss.
    """
    return metrics.get("length", 0), metrics["validation_accuracy"], -metrics["validation_loss"]


def rank_checkpoint(metrics: Mapping[str, Any], patience: int | None) -> tuple[float, ...]:
    """Return the sort key of an epoch whose maximum is the epoch of the best checkpoint.

    It is that of `rank`, but with early stopping the last of the epochs with the highest validation accuracy is the best. In a
    small validation set many have the same accuracy. The one with the lowest loss comes early, since the loss grows with the
    confidence in the few errors while the network still learns.
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
