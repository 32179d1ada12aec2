"""Common parts of the settings of all runs: types, groups, and learning-rate schedules.

The settings of each kind of run are one frozen dataclass, made by `validation.settings`. A field declares type, bounds,
choices, group and default of a setting, and its docstring is the help, for command line, files and Python alike.
"""

import dataclasses
import math
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_type_hints

from pydantic import Field

from reviver.settings.validation import MAX_INTEGER

Config = TypeVar("Config")


class Group(NamedTuple):
    """A group of settings, the metadata of their annotations: a section of the help and of the settings page."""

    name: str
    order: int


DATA = Group("Data", 1)
MODEL = Group("Model", 2)
OPTIMIZATION = Group("Optimization", 3)
CURRICULUM = Group("Curriculum", 4)
REGULARIZATION = Group("Regularization", 5)
EVALUATION = Group("Evaluation", 6)
CHECKPOINTS = Group("Checkpoints", 7)

Seed = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Count = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
CountOrZero = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]
"""Probability of an event that must not be certain, such as dropping a unit."""
Text = Annotated[str, Field(min_length=1)]
Precision = Literal["fp32", "bf16"]
"""Operands of matrix multiplications: the network's dtype, usually float32, or rounded to bfloat16."""
OnNaN = Literal["stop", "rollback"]


def groups_of(cls: type) -> dict[str, Group]:
    """Return the group of each field of a dataclass of settings, by name."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: next(item for item in get_args(hint) if isinstance(item, Group)) for name, hint in hints.items()}


def select(cls: type[Config], source: object, **values: Any) -> Config:
    """Return an instance of `cls` with `values` and, for its other fields, the attributes of `source` of these names.

    Raises `ConfigError` if a value is not allowed, or a field without a default gets none.
    """
    names = [field.name for field in dataclasses.fields(cls) if field.name not in values]  # type: ignore[arg-type]
    return cls(**{name: getattr(source, name) for name in names if hasattr(source, name)}, **values)


def lr_scale(schedule: str, progress: float, final_ratio: float = 0.0) -> float:
    """Return the factor of the learning rate at a point of the run: from 1 at the start to `final_ratio` at the end.

        constant   1
        linear     r + (1 - r) (1 - t)
        cosine     r + (1 - r) (1 + cos π t) / 2    (Loshchilov & Hutter 2017, without restarts)

    t is `progress`, the fraction of the run that is done, in [0, 1], and r is `final_ratio`.
    """
    if schedule == "constant":
        return 1.0
    decay = 1 - progress if schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return final_ratio + (1 - final_ratio) * decay
