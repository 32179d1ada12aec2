"""Checks and conversions that every configuration dataclass shares.

A configuration is a frozen, keyword-only dataclass of plain values. It checks itself in `__post_init__`
with the functions below, so a bad value is refused no matter where it comes from: the command line, a
file, a run folder or Python.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast, get_args

from reviver.errors import ConfigError
from reviver.untrusted import shown

Config = TypeVar("Config")

Precision = Literal["fp32", "bf16"]
"""What the factors of a product are: float32 (or the network's other dtype), or rounded to bfloat16."""

PRECISIONS: tuple[str, ...] = get_args(Precision)

ON_NAN = ("stop", "rollback")
"""What a run does when a loss or a weight is not finite."""

MAX_SEED = 2**63 - 1

MAX_VALUE = 500
"""Characters of a value that an error spells out."""


def check_whole(field: str, value: object, *, minimum: int, maximum: int | None = None) -> None:
    """Refuse `value` unless it is an `int` (not a `bool`) in [minimum, maximum]."""
    wanted = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not (is_whole and minimum <= cast("int", value) and (maximum is None or cast("int", value) <= maximum)):
        raise ConfigError(f"{field}: {shown(value, MAX_VALUE)} is not possible; give a whole number {wanted}")


def check_number(
    field: str,
    value: object,
    *,
    above: float | None = None,
    minimum: float | None = None,
    below: float | None = None,
    maximum: float | None = None,
) -> None:
    """Refuse `value` unless it is a finite number with `above < value`, `minimum <= value`, `value < below`, `value <= maximum`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    number = cast("float", value)
    wanted, holds = [], is_number
    if above is not None:
        wanted.append(f"above {above}")
        holds = holds and number > above
    if minimum is not None:
        wanted.append(f"at least {minimum}")
        holds = holds and number >= minimum
    if below is not None:
        wanted.append(f"below {below}")
        holds = holds and number < below
    if maximum is not None:
        wanted.append(f"at most {maximum}")
        holds = holds and number <= maximum
    if not holds:
        raise ConfigError(f"{field}: {shown(value, MAX_VALUE)} is not possible; give a number {' and '.join(wanted)}")


def check_choice(field: str, value: object, choices: Sequence[str]) -> None:
    """Refuse `value` unless it is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{field}: {shown(value, MAX_VALUE)} is unknown; choose from {', '.join(choices)}")


def check_text(field: str, value: object) -> None:
    """Refuse `value` unless it is text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{field}: {shown(value, MAX_VALUE)} is not possible; give a text")


def check_flag(field: str, value: object) -> None:
    """Refuse `value` unless it is `True` or `False`."""
    if not isinstance(value, bool):
        raise ConfigError(f"{field}: {shown(value, MAX_VALUE)} is not possible; give true or false")


def schedule_factor(schedule: str, progress: float) -> float:
    """The factor of a step size after the part `progress` of a run, from 0 to 1.

    constant: 1.    linear: falls to 0 in a line.    cosine: along half a cosine (Loshchilov & Hutter 2017).
    """
    if schedule == "linear":
        return 1 - progress
    return 1.0 if schedule == "constant" else (1 + math.cos(math.pi * progress)) / 2


def choose_preset(presets: Mapping[str, Config], name: str) -> Config:
    """Return the preset called `name`, or say which there are."""
    if name not in presets:
        raise ConfigError(f"preset: {name!r} is unknown; choose from {', '.join(presets)}")
    return presets[name]


def override(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return `config` with `changes` applied and checked; unknown names are refused."""
    known = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    for name in changes:
        if name not in known:
            raise ConfigError(f"{name}: there is no such setting; the settings are {', '.join(known)}")
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def from_mapping(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """Build a `cls` from a mapping that must hold every field and nothing else.

    This is how a run folder's settings are read back: a run says everything about itself, so a missing
    key means a damaged file, not a default.
    """
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in sorted(known ^ values.keys()):
        problem = "is missing" if name in known else "is not a setting of this version"
        shown_name = name if name in known else shown(name)[1:-1]
        raise ConfigError(f"{shown_name}: {problem}; the run folder was damaged or written by another version")
    return cls(**values)
