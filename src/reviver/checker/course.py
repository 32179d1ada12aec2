"""What an assignment asks for: which pieces, for how many points, and what it leaves open."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError, create_model

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


def read_course(name: str) -> dict[str, Any]:
    """Read a course from a TOML file, or one of those built in by its name. Raises ConfigError."""
    return read_toml(name, "course", Course)


def read_points(path: str) -> dict[str, float]:
    """Read the points of each piece from a TOML file; a piece that it does not name has 0. Raises ConfigError."""
    return read_toml(path, "points", Points)


def read_toml(name: str, field: str, kind: type[BaseModel]) -> dict[str, Any]:
    """Read a TOML file, or a course that is built in, and check what it says. Raises ConfigError."""
    is_built_in = field == "course" and name in BUILT_IN
    try:
        path = files("reviver.checker") / f"{name}.toml" if is_built_in else Path(name)
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        kind.model_validate(content)
        return content
    except ValidationError as error:
        known = (*Course.model_fields, *Points.model_fields)
        raise ConfigError(f"{field} {name}: {find_problem(error, known)}", field=field) from error
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        advice = f"; built in are {' and '.join(BUILT_IN)}" if field == "course" and isinstance(error, OSError) else ""
        raise ConfigError(f"{field} {name} cannot be read ({problem}){advice}", field=field) from error
