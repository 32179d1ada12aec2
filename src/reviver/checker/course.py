"""What an assignment asks for: which pieces, for how many points, and what it leaves open."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, create_model

from reviver.checker.assignment import PIECES
from reviver.errors import ConfigError
from reviver.settings.fields import NonNegative
from reviver.settings.validation import Record, find_problem

BUILT_IN = ("original", "plain")
Points = create_model("Points", __base__=Record, **{piece.name: (NonNegative | None, None) for piece in PIECES})  # type: ignore[call-overload]
"""The points of each piece; one without has 0."""


class Course(Record):
    """What a course asks for; what it does not say is left open."""

    half: bool | None = None
    output: Literal["logits", "probabilities"] | None = None
    initialization: Literal["xavier", "any"] | None = None
    image_range: Literal["-1 to 1", "0 to 1"] | None = None
    points: Points | None = None  # type: ignore[valid-type]


def read_course(name: str, field: str = "course") -> dict[str, Any]:
    """Read a course from a TOML file, or a built-in one by its name, or with `field` "points" those alone. Raises ConfigError."""
    path: Any = files("reviver.checker") / f"{name}.toml" if field == "course" and name in BUILT_IN else Path(name)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        (Course if field == "course" else Points).model_validate(content)
    except ValidationError as error:
        known = (*Course.model_fields, *Points.model_fields)
        raise ConfigError(f"{field} {name}: {find_problem(error, known)}", field=field) from error
    except OSError as error:
        advice = f"; built in are {' and '.join(BUILT_IN)}" if field == "course" else ""
        raise ConfigError(f"{field} {name} cannot be read ({error.strerror}){advice}", field=field) from error
    except ValueError as error:
        raise ConfigError(f"{field} {name} cannot be read ({error})", field=field) from error
    return content
