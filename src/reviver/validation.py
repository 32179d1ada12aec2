"""Settings and records declared once: strict pydantic models, and their errors in one line.

Bounds, choices and types stand on the fields. Strict means that nothing is converted: `True` is not 1 and `"5"` is
not 5; numbers are finite.
"""

import functools
from typing import Any, NamedTuple, TypeVar, dataclass_transform

import pydantic.dataclasses
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reviver.errors import ConfigError, ReviverError
from reviver.untrusted import shown, suggestion

MAX_VALUE = 500
"""Characters of a value that an error spells out."""

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

JSON_LIST = Field(strict=False, fail_fast=True)
"""Of a tuple that JSON holds as a list. Reading it ends at its first wrong entry: a million problems would fill memory."""

Config = TypeVar("Config")

_REQUIREMENTS = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "literal_error": "must be {expected}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}
"""What a field requires, by pydantic's type of error; its numbers are filled in."""

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_ABSENT = ("missing", "missing_keyword_only_argument")


class Problem(NamedTuple):
    """The first thing that is wrong with a value.

    Attributes:
        field: where, such as `length` or `floor.fid`; empty if it concerns the whole.
        text: what is wrong, such as `must be at least 2, got 1`.
    """

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field} {self.text}".lstrip()


class Record(BaseModel):
    """Base of what is stored as JSON: reading is validating, and unknown keys are errors."""

    model_config = STRICT | ConfigDict(frozen=True)


def find_problem(error: ValidationError, known: tuple[str, ...] = ()) -> Problem:
    """Return the first problem of a pydantic error; `known` names are suggested for an unknown one."""
    first = error.errors(include_url=False)[0]
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    field = ".".join(map(str, first["loc"]))
    if kind in _UNKNOWN:
        name = str(first["loc"][-1])
        field = ".".join([*map(str, first["loc"][:-1]), shown(name)[1:-1]])
        return Problem(field, f"is unknown; {suggestion(name, known) or 'remove it'}")
    if kind in _ABSENT:
        return Problem(field, "is missing")
    if kind == "value_error":
        return Problem(field, str(context["error"]))
    requirement = _REQUIREMENTS.get(kind)
    text = requirement.format(**{key: _tidy(limit) for key, limit in context.items()}) if requirement else first["msg"]
    return Problem(field, f"{text}, got {shown(value, MAX_VALUE)}")


def _tidy(limit: object) -> object:
    """A bound as people write it: 2 rather than 2.0, choices without quotes."""
    if isinstance(limit, float) and limit.is_integer():
        return int(limit)
    return limit.replace("'", "") if isinstance(limit, str) else limit


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[Config]) -> type[Config]:
    """Make a class a frozen, keyword-only dataclass whose fields are validated when an object is made.

    Raises:
        ConfigError: from the dataclass, naming the first wrong field, its value and what is allowed.
    """
    made: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)(cls)
    validate = made.__init__
    names = tuple(made.__dataclass_fields__)

    @functools.wraps(validate)
    def __init__(self: Any, **values: Any) -> None:  # noqa: N807
        try:
            validate(self, **values)
        except ValidationError as error:
            cause = error.errors(include_url=False)[0].get("ctx", {}).get("error")
            if isinstance(cause, ReviverError):  # of a check across fields
                raise cause from None
            problem = find_problem(error, names)
            raise ConfigError(str(problem), field=problem.field) from None

    made.__init__ = __init__
    return made  # type: ignore[no-any-return]
