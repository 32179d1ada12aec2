"""The file of a sweep, TOML: a command, the options that all trials share, and the axes, whose combinations are the trials."""

import math
import random
import tomllib
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from reviver.errors import ConfigError
from reviver.files.file_errors import reading
from reviver.settings.fields import Seed, Text
from reviver.settings.validation import Record, check, find_problem
from reviver.text import short_repr

MAX_TRIALS = 100_000
"""Maximum number of trials of a sweep."""

Point = dict[str, Any]
"""Values of some options."""


TrialCount = Annotated[int, Field(ge=1, le=MAX_TRIALS)]
Values = Annotated[list[Any], Field(min_length=1)]
Seeds = Annotated[list[Seed], Field(min_length=1)]


class Range(Record):
    """Range of a random number."""

    min: float
    max: float
    log: bool = False


class Random(Record):
    """Random points: their number, a seed, and for each option a list of choices or a `Range`."""

    samples: TrialCount
    seed: Seed = 0
    options: Point = Field(default_factory=dict)

    @model_validator(mode="before")  # not extra="allow": autodoc of Sphinx cannot import such a model
    @classmethod
    def _collect_options(cls, values: Any) -> Any:
        """Move what is neither the number nor the seed into `options`."""
        if not isinstance(values, dict):
            return values
        own = {name: values[name] for name in ("samples", "seed") if name in values}
        return own | {"options": {name: value for name, value in values.items() if name not in own}}


class Command(Record):
    """Another command, which evaluates the trained run."""

    command: Text
    settings: Point = Field(default_factory=dict)


class SweepFile(Record):
    """Content of the file."""

    command: Text
    seeds: Any = None
    measure: Text | None = None
    goal: Literal["max", "min"] | None = None
    settings: Point = Field(default_factory=dict)
    grid: dict[str, Values] = Field(default_factory=dict)
    zip: dict[str, Values] = Field(default_factory=dict)
    random: Random | None = None
    evaluate: Command | None = None
    slurm: Point = Field(default_factory=dict)


def read_sweep(path: Path) -> SweepFile:
    """Read the file of a sweep.

    Raises:
        ConfigError: if the file cannot be read, or has an unknown key or a value that is not allowed.
    """
    with reading(path, "give a valid TOML file", ConfigError):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        return SweepFile.model_validate(content)
    except ValidationError as error:
        problem = find_problem(error, tuple(SweepFile.model_fields))
        raise ConfigError(f"{path}: {problem}") from None


def points_of(file: SweepFile) -> list[Point]:
    """Return all combinations of the axes of a sweep, without repetitions; seeds change fastest.

    Raises:
        ConfigError: if an axis is wrong, or there are more than `MAX_TRIALS`.
    """
    axes = [[{name: value} for value in values] for name, values in file.grid.items()]
    if len({len(values) for values in file.zip.values()}) > 1:
        found = ", ".join(f"{name} has {len(values)}" for name, values in file.zip.items())
        raise ConfigError(f"zip must have lists of one length, but {found} values")
    axes += [_transpose(file.zip)] if file.zip else []
    if file.random is not None:
        if not file.random.options:
            raise ConfigError("random must have an option besides samples and seed; add one, such as learning_rate")
        options = file.random.options.items()
        axes.append(_transpose({name: _sample(file.random, name, domain) for name, domain in options}))
    if file.seeds is not None:
        check("seeds", file.seeds, Seeds if isinstance(file.seeds, list) else TrialCount)
        seeds = file.seeds if isinstance(file.seeds, list) else range(file.seeds)
        axes.append([{"seed": seed} for seed in seeds])
    count = math.prod(map(len, axes))
    if count > MAX_TRIALS:
        raise ConfigError(f"a sweep must have at most {MAX_TRIALS} trials, got {count}; shorten its axes")
    points = [{name: value for part in parts for name, value in part.items()} for parts in product(*axes)]
    return list({repr(point): point for point in points}.values())


def _sample(table: Random, name: str, domain: Any) -> list[Any]:
    """Return random values of an option, by random numbers of its own; integers between two integers."""
    place = f"random.{name}"
    rng = random.Random(f"{table.seed} {name}")  # noqa: S311
    uniform = [rng.random() for _ in range(table.samples)]
    if isinstance(domain, list):
        check(place, domain, Values)
        return [domain[math.floor(u * len(domain))] for u in uniform]
    if not isinstance(domain, dict):
        raise ConfigError(f"{place} must be a list of choices, or have min and max, got {short_repr(domain)}")
    try:
        log = Range.model_validate(domain).log
    except ValidationError as error:
        raise ConfigError(f"{place}.{find_problem(error, tuple(Range.model_fields))}") from None
    low, high = domain["min"], domain["max"]
    if low >= high:
        raise ConfigError(f"{place}.max must be greater than min {low}, got {high}")
    if log and low <= 0:
        raise ConfigError(f"{place}.min must be greater than 0 with log, got {low}")
    is_integer = isinstance(low, int) and isinstance(high, int)
    end = high + 1 if is_integer else high  # the last integer is as likely as the others
    values = [low * (end / low) ** u if log else low + (end - low) * u for u in uniform]
    exact = [math.floor(value) if is_integer else float(f"{value:.6g}") for value in values]
    return [min(max(value, low), high) for value in exact]


def _transpose(lists: Point) -> list[Point]:
    """Return points, of which number i has value i of every list."""
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
