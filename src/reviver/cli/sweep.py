"""`reviver sweep`: train with many settings and seeds. Its trials call `run_trial` here."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

from cyclopts import Parameter

from reviver.cli import gan, lstm, options
from reviver.cli.options import FLAG
from reviver.errors import ConfigError, ReviverError
from reviver.settings.fields import Count, Text
from reviver.settings.parts import Parts, is_custom, is_reference
from reviver.settings.presets import PRESETS
from reviver.settings.validation import check
from reviver.text import count, did_you_mean
from reviver.train.start import find_start

if TYPE_CHECKING:
    from reviver.sweep.engines import Engine
    from reviver.sweep.spec import Command, SweepFile
    from reviver.sweep.trials import Outcome, Trial


class Training(NamedTuple):
    """What a sweep knows of a training command: the results of training and of evaluation that compare settings."""

    train: Callable[..., dict[str, Any]]
    evaluate: Callable[..., dict[str, Any]]
    measures: tuple[str, str]
    goal: Literal["max", "min"]


_LSTM = ("best.validation_accuracy", "evaluate.results.0.accuracy")
COMMANDS = {
    "lstm train": Training(lstm.train, lstm.evaluate, _LSTM, "max"),
    "gan train": Training(gan.train, gan.evaluate, ("scores.fid", "evaluate.fid"), "min"),
}
"""Commands of a sweep file."""
PATHS = ("data", "extractor", "networks")
NOT_OF_EVALUATION = ("run", "out", "own", "networks", "common", "return")
"""Arguments of an evaluation that the sweep sets."""


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
    common: options.FigureOptions = options.FIGURE_DEFAULTS,
) -> None:
    """Train with many settings and seeds, and tabulate and plot the results.

    Finished trials are not repeated: the same command continues after Ctrl-C. Started on several machines that share --out,
    it shares the trials among them.

    Examples:
      reviver sweep learning-rates.toml
      reviver sweep learning-rates.toml --jobs 4 --out runs/rates
      reviver sweep learning-rates.toml --engine ray --address auto
      reviver sweep learning-rates.toml --engine slurm --jobs 100

    Args:
        file: File of the sweep, .toml: command = "lstm train" or "gan train"; seeds = 5; [settings], those of all runs, such
            as preset = "onehot"; and [grid], the values to combine, such as learning_rate = [1e-3, 3e-3].
        engine: Where trials run: pool, processes of this machine; ray, a Ray cluster; slurm, jobs of Slurm.
        address: Address of the Ray cluster, HOST:PORT or auto; by default Ray starts on this machine.
        jobs: Number of trials that run at the same time; by default one per core.
        threads: Threads per trial; by default the cores divided by --jobs.
        out: Folder of the sweep; by default runs/sweep-NAME, after the name of the file.
        retry_failed: Run trials again that failed.
    """
    from reviver.progress import announcing
    from reviver.sweep import driver, engines, spec
    from reviver.sweep.trials import record_order

    if engine != "ray":
        options.leave_out("it is of --engine ray", address=address)
    path = Path(file)
    content = spec.read_sweep(path)
    try:
        device = {"device": common.device} if common.device != options.DEFAULTS.device else {}
        trials = build_trials(content, device, path.parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    folder = Path("runs") / f"sweep-{path.stem}" if out is None else Path(out)
    driver.open_sweep(folder)
    record_order(folder, trials)
    if engine == "pool":
        workers: Engine = engines.Pool(jobs, threads)
    elif engine == "ray":
        workers = engines.RayEngine(jobs, threads, address)
    else:
        workers = engines.SlurmEngine(folder, jobs, threads, content.slurm)
    setup: Any = {"retry_failed": retry_failed, "title": path.stem, "progress": not common.quiet}
    with announcing("the time that is left will be shown after the first trials"):
        outcomes = driver.run_trials(folder, trials, workers, **setup)
    result, lines = write_report(folder, content, trials, outcomes)
    common.show(result, *lines)
    if result["failed"]:
        key = next(trial.key for trial in trials if outcomes[trial.key].status == "failed")
        problem = f"{result['failed']} of {count(len(trials), 'trials')} failed; see {folder / 'trials' / key}"
        raise ReviverError(f"{problem}, and run them again with --retry-failed")


def build_trials(file: "SweepFile", common: Mapping[str, Any], folder: Path) -> "list[Trial]":
    """Return the trials of a sweep, seeds last; `common` are settings of all trials, which override the file.

    Paths are relative to `folder`, that of the file. A wrong setting, value or axis or a missing path is a `ConfigError`, and
    so are settings of which no trial is valid; if only some trials are invalid, these fail later.
    """
    from reviver.sweep.spec import points_of
    from reviver.sweep.trials import Trial

    config = PRESETS[file.command.split()[0]]["original"]
    kinds = {"preset": Text, "device": Text, **get_type_hints(type(config), include_extras=True)}
    _check_names({"settings": file.settings, "grid": file.grid, "zip": file.zip, "random": file.domains}, kinds)
    points = points_of(file)
    pairs = {repr(pair): pair for point in (file.settings, *points) for pair in point.items()}
    # Each value is checked once, as there may be many trials.
    values = {key: _check_value(*pair, kinds, folder) for key, pair in pairs.items()}
    arguments: dict[str, Any] = {"command": file.command}
    if file.evaluate is not None:
        arguments["evaluate"] = _check_evaluation(file.command, file.evaluate, folder)
    trials = []
    for point in points:
        settings = {name: values[repr((name, value))] for name, value in {**file.settings, **point}.items()}
        trials.append(Trial(run_trial, arguments | {"settings": {**settings, **common}}, point))
    _check_any_valid(trials)
    return trials


def run_trial(
    folder: Path, *, command: str, settings: Mapping[str, Any], evaluate: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train with `settings` in the folder of a trial, or resume it; return the result.

    With `evaluate`, arguments of the command that evaluates, the value `evaluate` of the result is that of this command.
    """
    training = COMMANDS[command]
    path = folder / "run"
    resume = (path / "run.json").exists()
    common = options.FigureCommon(device=settings.get("device", options.DEFAULTS.device), json=True, quiet=True)
    log = (folder / "log.txt").open("a", encoding="utf-8")
    with log, contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
        preset, config, parts = _configure(command, settings, path, resume=resume)
        run = options.TrainOptions(out=str(path), resume=resume, parts=parts)
        result = training.train(preset=preset, run=run, settings=config, common=common)
        if evaluate is not None:
            custom = {name: getattr(config, name, None) for name in ("cell", "task", "networks")}
            custom = {name: value for name, value in custom.items() if is_custom(name, value)}
            again = custom if command == "gan train" else {"own": options.OwnParts(**custom)}
            result["evaluate"] = training.evaluate(str(path), **evaluate, **again, common=common)
    return result


def _configure(
    command: str, settings: Mapping[str, Any], path: Path, *, resume: bool = False
) -> tuple[str, Any, Parts]:
    """Return the preset of a trial, its settings, which may be those of its run in the folder `path`, and its classes."""
    kind = command.split(maxsplit=1)[0]
    preset = settings.get("preset", next(iter(PRESETS[kind])))
    given = {name: value for name, value in settings.items() if name not in ("preset", "device")}
    config, _, parts = find_start(kind, preset, given, str(path), resume=resume)
    return preset, config, parts


def write_report(
    folder: Path, file: "SweepFile", trials: "Sequence[Trial]", outcomes: "Mapping[str, Outcome]"
) -> tuple[dict[str, Any], list[str]]:
    """Write table.parquet (or table.csv), summary.json, summary.pdf and summary.png; return the result and its lines.

    Settings are compared on one task: of several, each has a summary and figures with its name. If no finished trial has the
    measure that the file names, the table is written and ConfigError raised.
    """
    from reviver.figures import save_figure
    from reviver.files.atomic import write_json
    from reviver.sweep.statistics import rank_settings, ranking_lines, table_rows, write_table
    from reviver.sweep.summary_figure import summary_figure

    training = COMMANDS[file.command]
    failed = [outcomes[trial.key] for trial in trials if outcomes[trial.key].status == "failed"]
    table = write_table(table_rows(trials, outcomes), folder / "table.parquet")
    counts = {"trials": len(trials), "done": len(trials) - len(failed), "failed": len(failed)}
    result: dict[str, Any] = {"out": str(folder), **counts, "table": str(table)}
    lines = [f"{folder}: {counts['done']} of {count(len(trials), 'trials')} done"]
    measure, goal = file.measure or training.measures[file.evaluate is not None], file.goal or training.goal
    tasks: dict[str, list[Trial]] = {}
    for trial in trials:
        tasks.setdefault(_task_of(file.command, trial.arguments["settings"]), []).append(trial)
    try:
        summaries = {task: rank_settings(of_task, outcomes, measure, goal) for task, of_task in tasks.items()}
    except ConfigError as error:
        if file.measure:
            raise ConfigError(f"{error}; change it in the file and run the same command again") from error
        return result, [*lines, *(f"failed: {one.key}: {one.error}" for one in failed), str(table)]
    alone = len(summaries) == 1
    result |= {"summary": next(iter(summaries.values()))} if alone else {"summaries": summaries}
    write_json(folder / "summary.json", result)
    for task, summary in summaries.items():
        lines += [*([] if alone else ["", f"{task}:"]), *ranking_lines(summary)]
        if summary["leaders"]:
            path = folder / ("summary" if alone else f"summary-{task.replace(':', '-')}")
            for suffix in (".png", ".pdf"):
                save_figure(summary_figure(summary), path.with_name(path.name + suffix))
            result.setdefault("figure", f"{path}.pdf")
            lines.append(f"{path}.pdf")
    return result, [*lines, str(table)]


def _task_of(command: str, settings: Mapping[str, Any]) -> str:
    """Return the name of the task of a trial; empty for a GAN, and where a preset is wrong."""
    preset = PRESETS[command.split(maxsplit=1)[0]].get(settings.get("preset", "original"))
    return str(settings.get("task", getattr(preset, "task", "")))


def _check_names(tables: Mapping[str, Mapping[str, Any]], known: Iterable[str]) -> None:
    """Check that every setting exists."""
    for table, values in tables.items():
        for name in values:
            if name not in known:
                advice = did_you_mean(name, known) or "see --help of the command for the settings"
                raise ConfigError(f"{table}.{name} is unknown; {advice}")


def _check_value(name: str, value: Any, kinds: Mapping[str, Any], folder: Path) -> Any:
    """Check a value by itself, and return it; a path in it is relative to `folder`, and must exist."""
    from reviver.data.images.image_set import NAMES

    is_text = name == "cell" and str(value).endswith(".cell")
    if not is_text:
        check(name, value, kinds[name])
    place, colon, cls = str(value).rpartition(":") if is_reference(value) else (str(value), "", "")
    is_path = place.endswith(".py") if colon else is_text or (name in PATHS and value not in (None, *NAMES))
    if not is_path:
        return value
    if not (folder / place).exists():
        raise ConfigError(f"{name} {folder / place} does not exist; paths in the file are relative to its folder")
    return f"{folder / place}{colon}{cls}"


def _check_evaluation(command: str, evaluation: "Command", folder: Path) -> dict[str, Any]:
    """Check the table `evaluate` of a sweep file, and return the arguments of the command."""
    check("evaluate.command", evaluation.command, Literal[f"{command.split(maxsplit=1)[0]} evaluate"])
    hints = get_type_hints(COMMANDS[command].evaluate, include_extras=True)
    kinds = {name: hint for name, hint in hints.items() if name not in NOT_OF_EVALUATION}
    settings = {  # one value of an option that may be repeated
        name: [value] if list[int] in get_args(kinds.get(name)) and not isinstance(value, list) else value
        for name, value in evaluation.settings.items()
    }
    _check_names({"evaluate.settings": settings}, kinds)
    return {name: _check_value(name, value, kinds, folder) for name, value in settings.items()}


def _check_any_valid(trials: "Sequence[Trial]") -> None:
    """Raise the error of a trial if the settings of no trial are valid together."""
    distinct = {repr({**trial.axes, "seed": None}): trial for trial in trials}  # the seed does not matter
    for trial in distinct.values():
        with contextlib.suppress(ReviverError):
            _configure(trial.arguments["command"], trial.arguments["settings"], Path("run"))
            return
    _configure(trials[0].arguments["command"], trials[0].arguments["settings"], Path("run"))
