"""The file of a sweep, TOML: a command of `reviver`, the options that all cells share, and the axes.

command = "lstm train"
seeds = 5

[settings]
encoding = "onehot"

[grid]
learning_rate = [1e-3, 3e-3]
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_origin

from cyclopts.annotations import resolve_optional
from cyclopts.argument import Argument
from pydantic import Field, ValidationError

from reviver.cli.app import parse
from reviver.cli.settings import PRESETS
from reviver.config import Text
from reviver.errors import ConfigError, ReviverError
from reviver.io.files import read_file
from reviver.sweep.axes import Point, combine, grid_axes, random_axis, seed_axis, zip_axis
from reviver.sweep.cell import Cell
from reviver.sweep.command import NOT_IN_SWEEPS, Words, find_options, to_words
from reviver.text import did_you_mean, one_line
from reviver.validation import Record, check, find_problem

MAX_BYTES = 1 << 20
"""Maximum size of the file."""
FUNCTION = "reviver.sweep.command:run"
MEASURES: Mapping[Words, tuple[str, Literal["max", "min"]]] = {
    ("lstm", "train"): ("best.validation_accuracy", "max"),
    ("lstm", "evaluate"): ("results.0.accuracy", "max"),
    ("gan", "train"): ("scores.fid", "min"),
    ("gan", "evaluate"): ("fid", "min"),
}
"""The value of the result by which cells are compared, and whether it should be large or small."""
TIME_OPTIONS = ("epochs", "length", "data_size", "num_samples")
"""Options that the time of a cell is about proportional to."""


class Sweep(NamedTuple):
    """A sweep."""

    cells: list[Cell]
    """The cells, seeds last."""
    measure: str | None
    """Path of the value in the results by which settings are compared, such as `best.validation_accuracy`; None if the command
    has no usual one."""
    is_measure_given: bool
    """Whether the file names the measure."""
    goal: Literal["max", "min"]
    """Whether the best setting has the largest or the smallest mean."""
    slurm: dict[str, Any]
    """Options of the jobs of Slurm."""


class Command(Record):
    """Another command, which evaluates the trained run."""

    command: Text
    settings: dict[str, Any] = Field(default_factory=dict)


class SweepFile(Record):
    """Content of the file."""

    command: Text
    seeds: Any = None
    measure: Text | None = None
    goal: Literal["max", "min"] | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    zip: dict[str, list[Any]] = Field(default_factory=dict)
    random: dict[str, Any] = Field(default_factory=dict)
    evaluate: Command | None = None
    slurm: dict[str, Any] = Field(default_factory=dict)


def read_sweep(path: Path, common: Mapping[str, Any] = MappingProxyType({})) -> Sweep:
    """Read the file of a sweep.

    Args:
        path: the file.
        common: options of the command line for all cells, which the file may not set.

    Raises:
        ConfigError: if the file cannot be read, an option is unknown, a value is not allowed, an axis is wrong, or no cell
            has valid settings. If only some cells are invalid, they fail when they run.
    """
    try:
        content = tomllib.loads(read_file(path, MAX_BYTES).decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        problem = "it is too deep" if isinstance(error, RecursionError) else one_line(error)
        raise ConfigError(f"{path}: is not valid TOML ({problem}); correct the file") from error
    try:
        return build_sweep(SweepFile.model_validate(content), common)
    except ValidationError as error:
        raise ConfigError(f"{path}: {find_problem(error, tuple(SweepFile.model_fields))}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def build_sweep(file: SweepFile, common: Mapping[str, Any] = MappingProxyType({})) -> Sweep:
    """Return the sweep that a file describes.

    Args:
        file: content of the file.
        common: options of the command line for all cells.

    Raises:
        ConfigError: see `read_sweep`.
    """
    command: Words = tuple(file.command.split())
    options = find_options(command)
    names = {
        "the command line": list(common),
        "settings": list(file.settings),
        "grid": list(file.grid),
        "zip": list(file.zip),
        "random": [name for name in file.random if name not in ("samples", "seed")],
        "seeds": [] if file.seeds is None else ["seed"],
    }
    _check_names(names, options, file.command)
    axes = [
        *grid_axes(file.grid),
        *zip_axis(file.zip),
        *random_axis(file.random),
        *seed_axis(file.seeds),
    ]
    _check_values([file.settings, *(point for axis in axes for point in axis)], options)
    evaluate, measured_command = None, command
    if file.evaluate is not None:
        measured_command = tuple(file.evaluate.command.split())
        evaluate = {"command": list(measured_command), "options": dict(file.evaluate.settings)}
        _check_evaluation(command, measured_command, file.evaluate.settings)
    points = combine(axes)
    cells = [_build_cell(command, {**common, **file.settings, **point}, point, evaluate) for point in points]
    _check_first_valid(cells)
    goal: Literal["max", "min"]
    measure, goal = MEASURES.get(measured_command, (None, "max"))
    if measure is not None and evaluate is not None:
        measure = f"evaluate.{measure}"
    return Sweep(cells, file.measure or measure, file.measure is not None, file.goal or goal, file.slurm)


def _build_cell(command: Words, options: Point, point: Point, evaluate: Mapping[str, Any] | None) -> Cell:
    arguments = {"command": list(command), "options": options}
    if evaluate is not None:
        arguments["evaluate"] = evaluate
    weight = 1.0
    for name in TIME_OPTIONS:
        value = point.get(name)
        weight *= value if isinstance(value, int) and value > 0 else 1
    return Cell(FUNCTION, arguments, point, weight)


def _check_names(tables: Mapping[str, list[str]], options: Mapping[str, Argument], command: str) -> None:
    """Check that every option exists, may be set in a sweep, and is given once."""
    found: dict[str, str] = {}
    for table, names in tables.items():
        for name in names:
            place = table if table == "seeds" else f"{table}.{name}"
            if name in NOT_IN_SWEEPS:
                raise ConfigError(f"{place} must be left out, since the sweep sets it for each cell")
            if name not in options:
                known = [option for option in options if option not in NOT_IN_SWEEPS]
                advice = did_you_mean(name, known) or f"see reviver {command} --help for the options"
                raise ConfigError(f"{place} is unknown; {advice}")
            if name in found:
                raise ConfigError(f"{place} is given twice, also by {found[name]}; keep one of them")
            found[name] = place


def _check_values(points: list[Point], options: Mapping[str, Argument]) -> None:
    """Check each value by itself, as in a settings file."""
    for point in points:
        for name, value in point.items():
            kind = options[name].field_info.annotation
            if get_origin(resolve_optional(kind)) is list and not isinstance(value, list):
                check(name, [value], kind)
            elif options[name].name.startswith("-"):
                check(name, value, kind)


def _check_evaluation(command: Words, evaluation: Words, settings: Mapping[str, Any]) -> None:
    """Check the table `evaluate` of a sweep file."""
    if command not in PRESETS:
        trainings = " or ".join(" ".join(words) for words in PRESETS)
        raise ConfigError(f"evaluate must be left out for the command {' '.join(command)}; it is for {trainings}")
    options = find_options(evaluation)
    if "run" not in options or evaluation[0] not in (command[0], "export"):
        raise ConfigError(f"evaluate.command must be a command for a run, such as {command[0]} evaluate")
    try:
        _check_names(
            {"settings": [*settings]}, {name: options[name] for name in options if name != "run"}, " ".join(evaluation)
        )
        _check_values([dict(settings)], options)
    except ConfigError as error:
        raise ConfigError(f"evaluate.{error}") from error


def _check_first_valid(cells: list[Cell]) -> None:
    """Raise the error of the first cell if the settings of no cell are valid together."""
    first: ReviverError | None = None
    for cell in cells:
        try:
            parse(to_words(tuple(cell.arguments["command"]), cell.arguments["options"], Path("cell")))
        except ReviverError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise ConfigError(str(first))
