"""Settings and records declared once: strict pydantic models, and their errors in one line.

Bounds, choices and types stand on the fields. Strict means that nothing is converted: `True` is not 1 and `"5"` is
not 5; numbers are finite.
"""

import dataclasses
import functools
from typing import Any, NamedTuple, NoReturn, TypeVar, dataclass_transform, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from reviver.errors import ConfigError
from reviver.io.json import MAX_INTEGER
from reviver.text import did_you_mean, short_repr

MAX_VALUE = 500
"""Characters of a value that an error spells out."""

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

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
    field = ".".join(short_repr(str(part))[1:-1] for part in first["loc"])  # a key may be anything, also many lines
    if kind == "extra_forbidden":
        return Problem(field, f"is unknown; {did_you_mean(str(first['loc'][-1]), known) or 'remove it'}")
    if kind == "missing":
        return Problem(field, "is missing")
    if kind == "value_error":
        return Problem(field, str(context["error"]))
    requirement = _REQUIREMENTS.get(kind)
    text = requirement.format(**{key: _tidy(limit) for key, limit in context.items()}) if requirement else first["msg"]
    return Problem(field, f"{text}, got {short_repr(value, MAX_VALUE)}")


def _tidy(limit: object) -> object:
    """A bound as people write it: 2 rather than 2.0, choices without quotes."""
    if isinstance(limit, float) and limit.is_integer():
        return int(limit)
    return limit.replace("'", "") if isinstance(limit, str) else limit


def describe_fields(cls: type) -> dict[str, str]:
    """Return what each setting of a dataclass means: its docstring on one line."""
    import docstring_parser

    parsed = docstring_parser.parse_from_object(cls)
    return {one.arg_name: " ".join((one.description or "").split()) for one in parsed.params}


def show_value(value: object) -> str:
    """Show a setting's value as it is typed: true, none, 0.001."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_bounds(cls: type, name: str) -> str:
    """Describe the bounds of a field in words, such as "at least 2, less than 10"; empty if it has none."""
    limits = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
    found: dict[str, Any] = {}
    pending = [get_type_hints(cls, include_extras=True)[name]]
    while pending:
        hint = pending.pop()
        for metadata in getattr(hint, "__metadata__", ()):
            for bound in getattr(metadata, "metadata", ()):
                found |= {key: getattr(bound, key) for key in limits if hasattr(bound, key)}
        pending += get_args(hint)
    return ", ".join(
        f"{limits[key]} {_tidy(found[key])}" for key in limits if found.get(key, MAX_INTEGER) != MAX_INTEGER
    )


def check(field: str, value: object, kind: Any) -> None:
    """Validate one value against a type such as `Annotated[int, Field(ge=1)]`.

    Raises:
        ConfigError: naming the field, the value and what is allowed.
    """
    try:
        TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value, strict=True)
    except ValidationError as error:
        problem = find_problem(error)
        raise ConfigError(f"{field} {problem.text}", field=field) from None


def refuse(field: str, problem: str) -> NoReturn:
    """Raise the ConfigError of a field for a problem such as "must be 28, got 27"."""
    raise ConfigError(f"{field} {problem}", field=field)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[Config]) -> type[Config]:
    """Make a class a frozen, keyword-only dataclass whose fields, all with defaults, are validated when an object is made.

    Raises:
        ConfigError: from the dataclass, naming the first wrong field, its value and what is allowed.
    """
    made: Any = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    fields = dataclasses.fields(made)
    initialise = made.__init__

    @functools.cache
    def model() -> type[BaseModel]:
        hints = get_type_hints(made, include_extras=True)
        definitions: Any = {one.name: (hints[one.name], one.default) for one in fields}
        return create_model(made.__name__, __config__=STRICT, **definitions)

    @functools.wraps(initialise)
    def __init__(self: Any, /, **values: Any) -> None:  # noqa: N807
        try:
            checked = model().model_validate(values)
        except ValidationError as error:
            problem = find_problem(error, tuple(one.name for one in fields))
            raise ConfigError(str(problem), field=problem.field) from None
        initialise(self, **{one.name: getattr(checked, one.name) for one in fields})

    made.__init__ = __init__
    return made  # type: ignore[no-any-return]
