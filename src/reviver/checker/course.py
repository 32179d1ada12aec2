"""What an assignment asks for: which pieces, for how many points, and what it leaves open."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from reviver.checker.assignment import PIECES
from reviver.errors import ConfigError
from reviver.text import did_you_mean

SETTINGS: dict[str, tuple[Any, ...]] = {
    "half": (True, False),
    "output": ("logits", "probabilities"),
    "initialization": ("xavier", "any"),
    "image_range": ("-1 to 1", "0 to 1"),
}
"""Settings of a course, with the values that they may have. Without a course the check accepts each of them."""
BUILT_IN = ("original", "plain")


def read_course(name: str) -> dict[str, Any]:
    """Read a course from a TOML file, or one of those built in by its name. Raises ConfigError."""
    course = read_toml(name, "course")
    points = course.get("points", {})
    if not isinstance(points, dict):
        raise ConfigError(f"course {name}: points must be a table, such as sequence = 3", field="course")
    check_points(f"course {name}", points, "course")
    for key, value in course.items():
        if key == "points":
            continue
        if key not in SETTINGS:
            advice = did_you_mean(key, [*SETTINGS, "points"]) or f"choose from {', '.join([*SETTINGS, 'points'])}"
            raise ConfigError(f"course {name}: {key} is no setting; {advice}", field="course")
        if not any(value is each or (value == each and isinstance(each, str)) for each in SETTINGS[key]):
            values = " or ".join(repr(each).lower() if isinstance(each, bool) else repr(each) for each in SETTINGS[key])
            raise ConfigError(f"course {name}: {key} must be {values}, got {value!r}", field="course")
    return course


def read_points(path: str) -> dict[str, float]:
    """Read the points of each piece from a TOML file; a piece that it does not name has 0. Raises ConfigError."""
    points = read_toml(path, "points")
    check_points(f"points {path}", points, "points")
    return points


def read_toml(name: str, field: str) -> dict[str, Any]:
    """Read a TOML file, or a course that is built in. Raises ConfigError."""
    is_built_in = field == "course" and name in BUILT_IN
    try:
        path = files("reviver.checker") / f"{name}.toml" if is_built_in else Path(name)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        advice = f"; built in are {' and '.join(BUILT_IN)}" if field == "course" and isinstance(error, OSError) else ""
        raise ConfigError(f"{field} {name} cannot be read ({problem}){advice}", field=field) from error


def check_points(name: str, points: Mapping[str, Any], field: str) -> None:
    """Raise ConfigError unless points name pieces and are numbers of at least 0."""
    known = [piece.name for piece in PIECES]
    for piece, value in points.items():
        if piece not in known:
            advice = did_you_mean(piece, known) or f"choose from {', '.join(known)}"
            raise ConfigError(f"{name}: {piece} is no piece; {advice}", field=field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
            raise ConfigError(f"{name}: {piece} must be a number of at least 0, got {value!r}", field=field)
