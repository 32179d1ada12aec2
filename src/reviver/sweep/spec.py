"""The file of a sweep, TOML: a command, the options that all trials share, and the axes, whose combinations are the trials."""

import math
import random
import tomllib
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from reviver.errors import ConfigError
from reviver.files.file_errors import reading
from reviver.files.read import validate_record
from reviver.settings.fields import Count, Seed, Text
from reviver.settings.validation import Record, check, find_problem, refuse

Point = dict[str, Any]  # values of some options
Values = Annotated[list[Any], Field(min_length=1)]
Seeds = Annotated[list[Seed], Field(min_length=1)]


class Range(Record):
    """Range of a random number."""

    min: float
    max: float
    log: bool = False


class Command(Record):
    """Another command, which evaluates the trained run."""

    command: Text
    settings: Point = Field(default_factory=dict)


class SweepFile(Record):
    """Content of the file."""

    command: Literal["lstm train", "gan train"]
    seeds: Any = None
    measure: Text | None = None
    goal: Literal["max", "min"] | None = None
    settings: Point = Field(default_factory=dict)
    grid: dict[str, Values] = Field(default_factory=dict)
    zip: dict[str, Values] = Field(default_factory=dict)
    random: Point = Field(default_factory=dict)
    evaluate: Command | None = None
    slurm: Point = Field(default_factory=dict)

    @property
    def domains(self) -> Point:
        """Random options: a list of choices, or a `Range`, each."""
        return {name: domain for name, domain in self.random.items() if name not in ("samples", "seed")}


def read_sweep(path: Path) -> SweepFile:
    """Read the file of a sweep; ConfigError if that fails, or a key or a value is not allowed."""
    with reading(path, "give a valid TOML file", ConfigError):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    return validate_record(SweepFile, content, path, "see reviver sweep --help", ConfigError)


def points_of(file: SweepFile) -> list[Point]:
    """Return all combinations of the axes of a sweep, without repetitions; seeds change fastest."""
    axes = [[{name: value} for value in values] for name, values in file.grid.items()]
    if len({len(values) for values in file.zip.values()}) > 1:
        found = ", ".join(f"{name} has {len(values)}" for name, values in file.zip.items())
        raise ConfigError(f"zip must have lists of one length, but {found} values")
    axes += [_transpose(file.zip)] if file.zip else []
    if file.domains:
        samples: Any = file.random.get("samples")
        seed = file.random.get("seed", 0)
        check("random.samples", samples, Count)
        axes.append(_transpose({name: _sample(name, domain, samples, seed) for name, domain in file.domains.items()}))
    if file.seeds is not None:
        check("seeds", file.seeds, Seeds if isinstance(file.seeds, list) else Count)
        seeds = file.seeds if isinstance(file.seeds, list) else range(file.seeds)
        axes.append([{"seed": seed} for seed in seeds])
    points = [{name: value for part in parts for name, value in part.items()} for parts in product(*axes)]
    return list({repr(point): point for point in points}.values())


def _sample(name: str, domain: Any, samples: int, seed: int) -> list[Any]:
    """Return random values of an option, by random numbers of its own; integers between two integers."""
    place = f"random.{name}"
    rng = random.Random(f"{seed} {name}")  # noqa: S311
    uniform = [rng.random() for _ in range(samples)]
    if isinstance(domain, list):
        check(place, domain, Values)
        return [domain[math.floor(u * len(domain))] for u in uniform]
    try:
        log = Range.model_validate(domain).log
    except ValidationError as error:
        raise ConfigError(f"{place} {find_problem(error, tuple(Range.model_fields))}, or a list of choices") from None
    low, high = domain["min"], domain["max"]
    if low >= high or (log and low <= 0):
        refuse(place, f"must have a max above its min, and with log a min above 0, got {low} to {high}")
    is_integer = isinstance(low, int) and isinstance(high, int)
    end = high + 1 if is_integer else high  # the last integer is as likely as the others
    values = [low * (end / low) ** u if log else low + (end - low) * u for u in uniform]
    exact = [math.floor(value) if is_integer else float(f"{value:.6g}") for value in values]
    return [min(max(value, low), high) for value in exact]


def _transpose(lists: Point) -> list[Point]:
    """Return points, of which number i has value i of every list."""
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
