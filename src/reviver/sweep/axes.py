"""Axes of a sweep: the points of a grid, of zipped lists, of random samples and of seeds."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated, Any

from pydantic import Field

from reviver.config import Seed
from reviver.errors import ConfigError
from reviver.text import did_you_mean, short_repr
from reviver.validation import check

MAX_CELLS = 100_000
"""Maximum number of cells of a sweep."""
DIGITS = 6
"""Significant digits of a random number."""
_CellCount = Annotated[int, Field(ge=1, le=MAX_CELLS)]

Point = dict[str, Any]
"""Values of some options."""


def grid_axes(grid: Mapping[str, list[Any]]) -> list[list[Point]]:
    """Return an axis for each option of a grid.

    Raises:
        ConfigError: if an axis is empty.
    """
    for name, values in grid.items():
        check_axis(f"grid.{name}", values)
    return [[{name: value} for value in values] for name, values in grid.items()]


def zip_axis(lists: Mapping[str, list[Any]]) -> list[list[Point]]:
    """Return one axis, whose point number i has value i of every list; no axis if there are no lists.

    Raises:
        ConfigError: if a list is empty, or two have different lengths.
    """
    for name, values in lists.items():
        check_axis(f"zip.{name}", values)
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ConfigError(f"zip must have lists of one length, but {found} values")
    points = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    return [points] if points else []


def random_axis(table: Mapping[str, Any]) -> list[list[Point]]:
    """Return one axis of random points; no axis if the table is empty.

    Each option has its own random numbers, so that more samples or options keep the values of the others.

    Args:
        table: `samples`, the number of points; `seed`; and for each option a list of choices, or `min`, `max` and `log`.

    Raises:
        ConfigError: if a value of the table is wrong.
    """
    if not table:
        return []
    if "samples" not in table:
        raise ConfigError("random.samples is missing; give the number of random points")
    samples: Any = table["samples"]
    seed: Any = table.get("seed", 0)
    check("random.samples", samples, _CellCount)
    check("random.seed", seed, Seed)
    options = {name: value for name, value in table.items() if name not in ("samples", "seed")}
    if not options:
        raise ConfigError("random must have an option besides samples and seed; add one, such as learning_rate")
    values = {name: list(_sample(name, value, samples, seed)) for name, value in options.items()}
    return [[dict(zip(values, point, strict=True)) for point in zip(*values.values(), strict=True)]]


def _sample(name: str, domain: Any, count: int, seed: int) -> Iterator[Any]:
    """Yield random values of an option."""
    rng = random.Random(f"{seed} {name}")  # noqa: S311
    if isinstance(domain, list):
        check_axis(f"random.{name}", domain)
        for _ in range(count):
            yield domain[math.floor(rng.random() * len(domain))]
        return
    low, high, is_log = _check_domain(name, domain)
    is_integer = isinstance(low, int) and isinstance(high, int)
    for _ in range(count):
        u = rng.random()
        end = high + 1 if is_integer else high  # the last integer is as likely as the others
        value = low * (end / low) ** u if is_log else low + (end - low) * u
        exact = math.floor(value) if is_integer else float(f"{value:.{DIGITS}g}")
        yield min(max(exact, low), high)


def _check_domain(name: str, domain: Any) -> tuple[float, float, bool]:
    """Return minimum, maximum and whether the logarithm is uniform."""
    allowed = ("min", "max", "log")
    if not isinstance(domain, dict):
        raise ConfigError(f"random.{name} must be a list of choices, or have min and max, got {short_repr(domain)}")
    for key in domain:
        if key not in allowed:
            raise ConfigError(
                f"random.{name}.{key} is unknown; {did_you_mean(key, allowed) or 'give min, max and log'}"
            )
    for key in ("min", "max"):
        if key not in domain:
            raise ConfigError(f"random.{name}.{key} is missing")
        check(f"random.{name}.{key}", domain[key], float)
    is_log = domain.get("log", False)
    check(f"random.{name}.log", is_log, bool)
    if not domain["min"] < domain["max"]:
        raise ConfigError(f"random.{name}.max must be greater than min {domain['min']}, got {domain['max']}")
    if is_log and domain["min"] <= 0:
        raise ConfigError(f"random.{name}.min must be greater than 0 with log, got {domain['min']}")
    return domain["min"], domain["max"], is_log


def seed_axis(seeds: int | list[int] | None) -> list[list[Point]]:
    """Return the axis of the seeds: 0 to `seeds` - 1, or those of a list; no axis for None.

    Raises:
        ConfigError: if there are none, or one is not allowed.
    """
    if seeds is None:
        return []
    if isinstance(seeds, list):
        check_axis("seeds", seeds)
        for seed in seeds:
            check("seeds", seed, Seed)
        return [[{"seed": seed} for seed in seeds]]
    check("seeds", seeds, _CellCount)
    return [[{"seed": seed} for seed in range(seeds)]]


def combine(axes: Sequence[Sequence[Point]]) -> list[Point]:
    """Return all combinations of the points of the axes, without repetitions; the last axis changes fastest.

    Raises:
        ConfigError: if there are more than `MAX_CELLS`.
    """
    count = math.prod(len(axis) for axis in axes)
    if count > MAX_CELLS:
        raise ConfigError(f"a sweep must have at most {MAX_CELLS} cells, got {count}; shorten its axes")
    points = [{name: value for part in parts for name, value in part.items()} for parts in product(*axes)]
    return list({repr(point): point for point in points}.values())


def check_axis(name: str, values: Sequence[Any]) -> None:
    """Raise a ConfigError if an axis is empty."""
    if not values:
        raise ConfigError(f"{name} must have at least 1 value, got an empty list")
