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

Points = create_model("Points", __base__=Record, **{piece.name: (NonNegative | None, None) for piece in PIECES})  # type: ignore[call-overload]
"""The points of each piece; one without has 0."""


class Course(Record):
    """What a course asks for; what it does not say is left open."""

    half: bool | None = None
    output: Literal["logits", "probabilities"] | None = None
    initialization: Literal["xavier", "any"] | None = None
    image_range: Literal["-1 to 1", "0 to 1"] | None = None
    points: Points | None = None  # type: ignore[valid-type]


def read_course(name: str, option: str = "course") -> dict[str, Any]:
    """Read the TOML file of an option, course or points, which has the points alone, or a built-in one. Raises ConfigError."""
    built_in = files("reviver.checker") / f"{name}.toml"
    try:
        content = tomllib.loads((built_in if built_in.is_file() else Path(name)).read_text(encoding="utf-8"))
        Course.model_validate({"points": content} if option == "points" else content)
    except ValidationError as error:
        problem = str(find_problem(error, (*Course.model_fields, *Points.model_fields))).removeprefix("points.")
        raise ConfigError(f"{option} {name}: {problem}", field=option) from error
    except (OSError, ValueError) as error:
        problem = f"{getattr(error, 'strerror', None) or error}"
        advice = "; built in are original and plain" * (option == "course")
        raise ConfigError(f"{option} {name} cannot be read ({problem}){advice}", field=option) from error
    return content
