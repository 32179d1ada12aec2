"""Settings and records as strict pydantic models, with errors in one line.

Types, bounds and choices are declared once, on the fields. Strict means that no value is converted: `True` is not 1, and
`"5"` is not 5. Numbers must be finite.
"""

import dataclasses
import functools
from typing import Any, NamedTuple, NoReturn, TypeVar, dataclass_transform

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs

from reviver.errors import ConfigError
from reviver.text import did_you_mean, short_repr

MAX_INTEGER = 2**63 - 1
"""Maximum absolute value of an integer in settings and in JSON."""
MAX_VALUE = 500
"""Maximum length of a value in an error, in characters."""

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

JSON_LIST = Field(strict=False, fail_fast=True)
"""Field of a tuple, which JSON stores as a list. Validation stops at the first invalid entry: a million errors fill memory."""

Config = TypeVar("Config")

_WORDS = {"Input should": "must", "String should": "must", "List should": "must", "a valid boolean": "true or false"}
_WORDS |= {"have at least 1 character": "not be empty", "a valid integer": "an integer", "a valid string": "text"}
_WORDS |= {"a valid dictionary": "an object", "a valid tuple": "a list", "a valid": "a", "'": ""}
_WORDS |= {"greater than or equal to": "at least", "less than or equal to": "at most"}
"""Our words for those of pydantic's messages."""


class Problem(NamedTuple):
    """First problem of an invalid value."""

    field: str
    """Path of the invalid field, such as `length` or `real_baseline.fid`; empty for the value as a whole."""
    text: str
    """The problem, such as `must be at least 2, got 1`."""

    def __str__(self) -> str:
        return f"{self.field} {self.text}".lstrip()


class Record(BaseModel):
    """Base of the records stored as JSON; unknown keys are errors."""

    model_config = STRICT | ConfigDict(frozen=True)


def find_problem(error: ValidationError, known: tuple[str, ...] = ()) -> Problem:
    """Return the first problem of a pydantic error; one of the `known` names is suggested for an unknown name."""
    first = error.errors(include_url=False)[0]
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    field = ".".join(short_repr(str(part))[1:-1] for part in first["loc"])  # a key may be any text
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return Problem(field, f"is unknown; {did_you_mean(str(first['loc'][-1]), known) or 'remove it'}")
    if kind == "missing":
        return Problem(field, "is missing")
    if kind == "value_error":
        return Problem(field, str(context["error"]))
    text = first["msg"].partition(" or instance of ")[0]
    for theirs, ours in _WORDS.items():
        text = text.replace(theirs, ours)
    return Problem(field, f"{text}, got {short_repr(value, MAX_VALUE)}")


def describe_fields(cls: type) -> dict[str, str]:
    """Return the docstring of each field of a dataclass, on one line, by name."""
    import docstring_parser

    parsed = docstring_parser.parse_from_object(cls)
    return {field.arg_name: " ".join((field.description or "").split()) for field in parsed.params}


def show_value(value: object) -> str:
    """Return the value of a setting as a user types it: true, none, 0.001."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def describe_bounds(cls: type) -> dict[str, str]:
    """Return the bounds of each field of a dataclass in words, such as "at least 2, less than 10"; empty if it has none."""
    limits = {"minimum": "at least", "exclusiveMinimum": "greater than"}
    limits |= {"maximum": "at most", "exclusiveMaximum": "less than"}
    bounds = {}
    for name, schema in TypeAdapter(cls).json_schema()["properties"].items():
        parts = schema.get("anyOf", [schema])
        found = [(words, part.get(key, MAX_INTEGER)) for key, words in limits.items() for part in parts]
        bounds[name] = ", ".join(f"{words} {show_value(limit)}" for words, limit in found if limit != MAX_INTEGER)
    return bounds


def check(field: str, value: object, kind: Any) -> None:
    """Validate one value against a type such as `Annotated[int, Field(ge=1)]`; a wrong one is a `ConfigError`."""
    try:
        TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value, strict=True)
        return
    except ValidationError as error:
        problem = find_problem(error).text
    refuse(field, problem)


def refuse(field: str, problem: str) -> NoReturn:
    """Raise the ConfigError of a field for a problem such as "must be 28, got 27"."""
    raise ConfigError(f"{field} {problem}", field=field)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[Config]) -> type[Config]:
    """Decorate a class as a frozen, keyword-only dataclass that validates its fields when an instance is created.

    The ConfigError of its constructor names the first invalid field, its value and its requirement.
    """
    decorated: Any = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    decorated.__pydantic_config__ = STRICT
    validator = functools.cache(lambda: TypeAdapter(decorated).validator)  # built when it is needed

    @functools.wraps(decorated.__init__)
    def __init__(self: Any, /, **values: Any) -> None:  # noqa: N807
        try:
            validator().validate_python(ArgsKwargs((), values), self_instance=self)
        except ValidationError as error:
            cause = error.errors(include_url=False)[0].get("ctx", {}).get("error")
            problem = find_problem(error, tuple(field.name for field in dataclasses.fields(decorated)))
            ours = ConfigError(str(problem), field=problem.field)
            raise (cause if isinstance(cause, ConfigError) else ours) from None  # of __post_init__

    decorated.__init__ = __init__
    return decorated  # type: ignore[no-any-return]
