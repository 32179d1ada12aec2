"""`reviver sweep`: run a command over many settings and seeds. Its cells call `run_command` here."""

import contextlib
import io
import json
import random
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

from cyclopts import Parameter
from cyclopts.annotations import resolve_optional
from cyclopts.argument import Argument

from reviver.cli.app import COMMANDS, build_app, check_words, run
from reviver.cli.options import DEFAULTS, FIGURE_DEFAULTS, FLAG, FigureOptions
from reviver.cli.settings import PRESETS, options_of
from reviver.errors import ConfigError, ReviverError
from reviver.settings.fields import Count, Text
from reviver.settings.validation import check
from reviver.text import count, did_you_mean, one_line

if TYPE_CHECKING:
    from reviver.sweep.cells import Cell, Outcome
    from reviver.sweep.engines import Engine
    from reviver.sweep.spec import Command, SweepFile

MEASURES: Mapping[str, tuple[str, Literal["max", "min"]]] = {
    "lstm train": ("best.validation_accuracy", "max"),
    "lstm evaluate": ("results.0.accuracy", "max"),
    "gan train": ("scores.fid", "min"),
    "gan evaluate": ("fid", "min"),
}
"""The value of the result by which cells are compared, and whether it should be large or small."""
NOT_IN_SWEEPS = ("out", "resume", "print_config", "json", "quiet", "debug")
"""Options that the sweep itself sets, or that suppress the result."""
MAX_CHECKED = 20
"""Maximum number of cells that are checked before the sweep starts."""
LOG = "log.txt"
"""File for the warnings of a command, in the folder of its cell."""
NEVER_REPLACED = ("model", "packed", "extractor.safetensors")
"""Results that commands refuse to replace. A call that was killed may have left them in the folder of its cell."""


def sweep(
    file: Annotated[Text, Parameter(name="FILE")],
    /,
    *,
    engine: Literal["pool", "ray", "slurm"] = "pool",
    address: Text | None = None,
    jobs: Count | None = None,
    threads: Count | None = None,
    out: Text | None = None,
    retry_failed: Annotated[bool, FLAG] = False,
    common: FigureOptions = FIGURE_DEFAULTS,
) -> None:
    """Run a command over many settings and seeds, and tabulate and plot the results.

    Finished cells are not repeated: the same command continues after Ctrl-C. Started on several machines that share --out, it
    shares the cells among them.

    Examples:
      reviver sweep learning-rates.toml
      reviver sweep learning-rates.toml --jobs 4 --out runs/rates
      reviver sweep learning-rates.toml --engine ray --address auto
      reviver sweep learning-rates.toml --engine slurm --jobs 100

    Args:
        file: File of the sweep, .toml: the command, such as command = "lstm train"; seeds = 5; [settings], options of
            all runs, such as preset = "onehot"; and [grid], the values to combine, such as learning_rate = [1e-3, 3e-3].
        engine: Where cells run: pool, processes of this machine; ray, a Ray cluster; slurm, jobs of Slurm.
        address: Address of the Ray cluster, HOST:PORT or auto; by default Ray starts on this machine.
        jobs: Number of cells that run at the same time; by default one per core.
        threads: Threads per cell; by default the cores divided by --jobs.
        out: Folder of the sweep; by default runs/sweep-NAME, after the name of the file.
        retry_failed: Run cells again that failed.
    """
    from reviver.progress import announcing
    from reviver.sweep import driver, engines, spec

    if address is not None and engine != "ray":
        raise ConfigError("address is only for --engine ray; leave it out", field="address")
    path = Path(file)
    content = spec.read_sweep(path)
    try:
        cells = build_cells(content, {"device": common.device} if common.device != DEFAULTS.device else {})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    folder = Path("runs") / f"sweep-{path.stem}" if out is None else Path(out)
    driver.open_sweep(folder)
    start: Mapping[str, Callable[[], Engine]] = {
        "pool": lambda: engines.Pool(jobs, threads),
        "ray": lambda: engines.RayEngine(jobs, threads, address),
        "slurm": lambda: engines.SlurmEngine(folder, jobs, threads, content.slurm),
    }
    options: Any = {"retry_failed": retry_failed, "title": path.stem, "progress": not common.quiet}
    with announcing("the time that is left will be shown after the first cells"):
        outcomes = driver.run_cells(folder, cells, start[engine](), **options)
    result, lines = report_sweep(folder, content, cells, outcomes)
    common.show(result, *lines)
    if result["failed"]:
        key = next(cell.key for cell in cells if outcomes[cell.key].status == "failed")
        problem = f"{result['failed']} of {count(len(cells), 'cells')} failed; see {folder / 'cells' / key}"
        raise ReviverError(f"{problem}, and run them again with --retry-failed")


def build_cells(file: "SweepFile", common: Mapping[str, Any]) -> "list[Cell]":
    """Return the cells of a sweep, seeds last; `common` are options of all cells, which the file may not set.

    A wrong option, value or axis is a `ConfigError`, and so is no valid cell; if only some are invalid, these fail later.
    """
    from reviver.sweep.cells import Cell
    from reviver.sweep.spec import points_of

    options = find_options(file.command)
    tables = {
        "the command line": common,
        "settings": file.settings,
        "grid": file.grid,
        "zip": file.zip,
        "random": file.random.options if file.random else {},
        "seeds": {} if file.seeds is None else {"seed": file.seeds},
    }
    _check_names(tables, options, file.command)
    points = points_of(file)
    values = {repr(pair): pair for point in (file.settings, *points) for pair in point.items()}
    _check_values(values.values(), options)  # each once, as there may be many cells
    arguments: dict[str, Any] = {"command": file.command}
    if file.evaluate is not None:
        _check_evaluation(file.command, file.evaluate)
        arguments["evaluate"] = file.evaluate.model_dump()
    function = f"{__name__}:{run_command.__name__}"
    cells = [Cell(function, arguments | {"settings": {**common, **file.settings, **point}}, point) for point in points]
    _check_any_valid(cells)
    return cells


def run_command(
    folder: Path, *, command: str, settings: Mapping[str, Any], evaluate: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Run a command such as `lstm train` in the folder of a cell, and return its result; a training resumes.

    `settings` are its options by their names in a sweep file. `evaluate` has `command` and `settings` of another command,
    which gets the run folder of the first; its result is the value `evaluate`.
    """

    def call(command: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        output = io.StringIO()
        with (
            (folder / LOG).open("a", encoding="utf-8") as log,
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(log),
        ):
            run(to_words(command, settings, folder))
        result: dict[str, Any] = json.loads(output.getvalue())
        return result

    for path in (folder / name for name in NEVER_REPLACED):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    result = call(command, settings)
    if evaluate is not None:
        result["evaluate"] = call(evaluate["command"], {"run": result["run"], **evaluate["settings"]})
    return result


def to_words(command: str, settings: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the command line of a cell, which writes into its folder."""
    known = find_options(command)
    words = command.split()
    for name in sorted(settings, key=[*known].index):  # positional arguments in their order
        option = known[name].name
        for value in _as_list(settings[name]):
            word = str(value).lower() if isinstance(value, bool) else str(value)
            words.append(f"{option}={word}" if option.startswith("-") else word)
    outputs = {
        "data pack": "packed",
        "export": "model.onnx" if settings.get("format") == "onnx" else "model",
        "lstm predict": "predictions.csv" if Path(str(settings.get("digits"))).suffix else None,  # None for digits
        "plot": ".",
        "compare": ".",
    }
    output = outputs.get(command, known["out"].field_info.default if "out" in known else None)
    if tuple(command.split()) in PRESETS:
        path = folder / "run"
        words += [f"--out={path}", *(["--resume"] if (path / "run.json").exists() else [])]
    elif isinstance(output, str):
        words.append(f"--out={folder / Path(output).name}")
    return [*words, "--json", "--quiet"]


def find_options(command: str) -> dict[str, Argument]:
    """Return the options of a command, which must be known, by their names in a file: `hidden_size`, or `run` for RUN."""
    names = list(map(" ".join, COMMANDS))
    if command not in names:
        advice = did_you_mean(command, names) or f"choose from {', '.join(names)}"
        raise ConfigError(f"command {one_line(command, 60)!r} is unknown; {advice}")
    group = build_app()
    for word in command.split():
        group = group[word]
    arguments = options_of(group.assemble_argument_collection()).values()
    return {argument.name.removeprefix("--").replace("-", "_").lower(): argument for argument in arguments}


def report_sweep(
    folder: Path, file: "SweepFile", cells: "Sequence[Cell]", outcomes: "Mapping[str, Outcome]"
) -> tuple[dict[str, Any], list[str]]:
    """Write table.parquet (or table.csv), summary.json, summary.pdf and summary.png; return the result and its lines.

    If no finished cell has the measure that the file names, the table is written and ConfigError raised.
    """
    from reviver.figures import save_figure
    from reviver.files.atomic import write_json
    from reviver.sweep.statistics import summarize, summary_lines, table_rows, write_table
    from reviver.sweep.summary_figure import summary_figure

    failed = [outcomes[cell.key] for cell in cells if outcomes[cell.key].status == "failed"]
    usual, goal = MEASURES.get(file.evaluate.command if file.evaluate else file.command, ("", "max"))
    measure = file.measure or (f"evaluate.{usual}" if usual and file.evaluate else usual)
    table = write_table(table_rows(cells, outcomes), folder / "table.parquet")
    counts = {"cells": len(cells), "done": len(cells) - len(failed), "failed": len(failed)}
    result: dict[str, Any] = {"out": str(folder), **counts, "table": str(table)}
    lines = [f"{folder}: {counts['done']} of {count(len(cells), 'cells')} done"]
    summary = None
    try:
        summary = summarize(cells, outcomes, measure, file.goal or goal) if measure else None
    except ConfigError as error:  # the usual measure is not in the results with all settings
        if file.measure:
            raise ConfigError(f"{error}; change it in the file and run the same command again") from error
    if summary is None:
        return result, [*lines, *(f"failed: {one.key}: {one.error}" for one in failed), str(table)]
    result["summary"] = summary
    write_json(folder / "summary.json", result)
    lines += summary_lines(summary)
    if summary["leaders"]:
        for suffix in (".png", ".pdf"):
            save_figure(summary_figure(summary), folder / f"summary{suffix}")
        result["figure"] = str(folder / "summary.pdf")
        lines.append(result["figure"])
    return result, [*lines, str(table)]


def _check_names(tables: Mapping[str, Mapping[str, Any]], options: Mapping[str, Argument], command: str) -> None:
    """Check that every option exists, may be set in a sweep, and is given once."""
    found: dict[str, str] = {}
    for table, values in tables.items():
        for name in values:
            place = table if table == "seeds" else f"{table}.{name}"
            if name in NOT_IN_SWEEPS:
                raise ConfigError(f"{place} must be left out, since the sweep sets it for each cell")
            if name not in options:
                advice = did_you_mean(name, options.keys() - NOT_IN_SWEEPS)
                raise ConfigError(f"{place} is unknown; {advice or f'see reviver {command} --help for the options'}")
            if name in found:
                raise ConfigError(f"{place} is given twice, also by {found[name]}; keep one of them")
            found[name] = place


def _check_values(values: Iterable[tuple[str, Any]], options: Mapping[str, Argument]) -> None:
    """Check each value by itself, as in a settings file."""
    for name, value in values:
        kind = options[name].field_info.annotation
        if options[name].name.startswith("-"):
            is_list = get_origin(resolve_optional(kind)) is list
            check(name, _as_list(value) if is_list else value, kind)
        else:
            for word in _as_list(value):
                check(name, word, kind | int)  # digits may be a number


def _check_evaluation(command: str, evaluation: "Command") -> None:
    """Check the table `evaluate` of a sweep file."""
    if tuple(command.split()) not in PRESETS:
        trainings = " or ".join(" ".join(words) for words in PRESETS)
        raise ConfigError(f"evaluate must be left out for the command {command}; it is for {trainings}")
    options = find_options(evaluation.command)
    network, other = (words.split(maxsplit=1)[0] for words in (command, evaluation.command))
    if "run" not in options or other not in (network, "export"):
        raise ConfigError(f"evaluate.command must be a command for a run, such as {network} evaluate")
    try:
        del options["run"]
        _check_names({"settings": evaluation.settings}, options, evaluation.command)
        _check_values(evaluation.settings.items(), options)
    except ConfigError as error:
        raise ConfigError(f"evaluate.{error}") from error


def _check_any_valid(cells: "Sequence[Cell]") -> None:
    """Raise the error of a cell if the settings of no cell are valid together; of many cells, some at random are checked."""
    distinct = [*{repr({**cell.axes, "seed": None}): cell for cell in cells}.values()]  # the seed does not matter
    errors = []
    for cell in random.Random(0).sample(distinct, min(len(distinct), MAX_CHECKED)):  # noqa: S311
        try:
            check_words(to_words(cell.arguments["command"], cell.arguments["settings"], Path("cell")))
        except ReviverError as error:
            errors.append(error)
        else:
            return
    some = (
        f" (so in all {len(errors)} of {len(distinct)} cells that were checked)" if len(errors) < len(distinct) else ""
    )
    raise ConfigError(f"{errors[0]}{some}")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
