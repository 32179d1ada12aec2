"""The length curriculum: which length comes next, and whether the network trains there or is only validated.

Each time a length passes, the run goes on to the next one and trains there. With `LSTMConfig.jump_factor` it validates
before it trains: first at a length up to that factor further on; while the threshold holds, it jumps on from there. If it
breaks, a bisection of the lengths between finds the shortest of them that breaks, and the run trains there.

The position is a part of `TrainingState.extra`, so that a checkpoint has it:

    stage     number of lengths, from the shortest, that have passed
    broken    only with `jump_factor`: index of the shortest length known to break with the present weights; None if none is
"""

import math
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

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
