"""Results of a sweep: a table of its trials, and mean and standard deviation of each setting over the seeds."""

import csv
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from reviver.files.atomic import atomic_write
from reviver.settings.validation import refuse
from reviver.sweep.trials import Outcome, Trial
from reviver.text import MAX_PROBLEM, align, did_you_mean, one_line, show_spread

SEED = "seed"
"""Axis over which results are averaged."""
STATISTICS = ("values", "mean", "n", "runs", "std", "chance", "reached", "lengths_reached", "final_length")
"""Keys of a setting in a summary that are not its values on the axes."""
EVALUATED = "evaluate."
"""Prefix of the results of the command that evaluates a trained run."""
FRACTIONS = ("accuracy", "precision", "recall", "coverage")
"""Ends of the names of measures from 0 to 1."""
MAX_NAMED = 3
"""Maximum number of equal settings that a message names."""
FIXED_COLUMNS = ("key", "status", "error", "seconds", "attempts", "host")
"""Columns of the table that are neither axes nor results."""

Row = dict[str, Any]
_log = logging.getLogger(__name__)


def table_rows(trials: Sequence[Trial], outcomes: Mapping[str, Outcome]) -> list[Row]:
    """Return a row for each trial: axes, `FIXED_COLUMNS`, and the numbers of the result by their paths, None where it has none.

    A result with the name of another column has `result.` before its name.
    """
    rows = []
    for trial in trials:
        row = {**trial.axes, **{name: getattr(outcomes[trial.key], name) for name in FIXED_COLUMNS}}
        numbers = numbers_in(outcomes[trial.key].result or {})
        rows.append(row | {f"result.{name}" if name in row else name: number for name, number in numbers})
    columns = dict.fromkeys(name for row in rows for name in row)
    return [columns | row for row in rows]


def numbers_in(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the path and value of each number and truth value in a result, such as `results.0.accuracy`."""
    for name, value in result.items():
        if isinstance(value, (bool, int, float)):
            yield prefix + name, value
        elif isinstance(value, Mapping):
            yield from numbers_in(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            objects = {str(index): item for index, item in enumerate(value) if isinstance(item, Mapping)}
            yield from numbers_in(objects, f"{prefix}{name}.")


def write_table(rows: Sequence[Row], path: Path) -> Path:
    """Write rows as Parquet, or as CSV if the library pyarrow is not installed; return the path of the file.

    Lists, and columns of mixed types such as numbers and `auto`, are text.
    """
    rows = [{name: show(value) if isinstance(value, list) else value for name, value in row.items()} for row in rows]
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        path = path.with_suffix(".csv")
        _log.warning("Parquet needs the library pyarrow (pip install pyarrow, the extra data); wrote %s", path)
        with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return path
    arrays = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            arrays[name] = pa.array([None if value is None else show(value) for value in values])
    with atomic_write(path) as temporary:
        parquet.write_table(pa.table(arrays), temporary)
    return path


RunGroup = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]
"""Runs that differ only in their seed: the settings that tell them from others, and the results, each empty if it failed."""


def rank_groups(groups: Sequence[RunGroup], measure: str, goal: Literal["max", "min"]) -> Row:
    """Return each group with the measure over its seeds, and the best one; a measure that no result has is a ConfigError.

    The measure is the path of a number in the results, such as `best.validation_accuracy`. The standard deviation is that of
    a sample (n - 1). Accuracies have the one of the best constant guess, `chance`. Runs with a length curriculum are measured
    where they stopped, so more runs that `reached` the final length are better, then longer sequences, then the measure; what
    `evaluate` measures is at one length, and compared by itself.

    Groups that differ by no more than the larger of their standard deviations are equal. The `leaders` are the first of the
    `ranking` and those that equal it; if it is alone, it is the `best`. Both lists have indices of the `settings`.
    """
    numbers = [[dict(numbers_in(result)) for result in results] for _, results in groups]
    known = {name for rows in numbers for row in rows for name in row}
    if measure not in known and any(result for _, results in groups for result in results):
        choice = did_you_mean(measure, known) or f"choose from {', '.join(known) or 'nothing: there are no numbers'}"
        refuse("measure", f"{measure!r} is not in the results; {choice}")
    settings, criteria = [], {}
    for index, ((values, _), rows) in enumerate(zip(groups, numbers, strict=True)):
        done = [row for row in rows if measure in row]
        settings.append({**values, "runs": len(rows), **_statistics(done, measure)})
        if done:
            criteria[index] = _criteria(done, measure, goal)
    ranking = sorted(criteria, key=lambda index: [mean(values) for values in criteria[index]], reverse=True)
    leaders = [index for index in ranking if not _is_better(criteria[ranking[0]], criteria[index])]
    best = settings[leaders[0]] if len(leaders) == 1 else None
    found: Row = {"measure": measure, "goal": goal, "settings": settings, "ranking": ranking}
    return found | {"leaders": leaders, "best": best, "failures": []}


def rank_settings(
    trials: Sequence[Trial], outcomes: Mapping[str, Outcome], measure: str, goal: Literal["max", "min"]
) -> Row:
    """Return the settings of a sweep as `rank_groups` does, with the trials that lack the measure as its `failures`."""
    groups: dict[str, tuple[Row, list[Row]]] = {}
    failures = []
    for trial in trials:
        outcome = outcomes[trial.key]
        values = {name: value for name, value in trial.axes.items() if name != SEED}
        result = outcome.result or {}
        groups.setdefault(json.dumps(values), (values, []))[1].append(result)
        if measure not in dict(numbers_in(result)):
            error = outcome.error or f"its result has no {measure}"
            failures.append({"key": trial.key, "values": dict(trial.axes), "error": error})
    return rank_groups([*groups.values()], measure, goal) | {"failures": failures}


def _statistics(done: Sequence[Mapping[str, float]], measure: str) -> Row:
    """Return the statistics of a setting from the results that have the measure, each None if there is nothing to take."""
    measured = [numbers[measure] for numbers in done]
    row: Row = {"values": measured, "mean": mean(measured) if measured else None, "n": len(measured)}
    row["std"] = stdev(measured) if len(measured) > 1 else None
    parent, _, name = measure.rpartition(".")
    chances = [numbers.get(f"{parent}.chance", numbers.get("chance")) for numbers in done if name.endswith("accuracy")]
    row["chance"] = chances[0] if chances else None
    curricula = [numbers for numbers in done if _has_curriculum(numbers)]
    row["reached"] = sum(bool(numbers["reached"]) for numbers in curricula) if curricula else None
    lengths = [numbers["best.length"] for numbers in curricula]
    row["lengths_reached"] = [min(lengths), mean(lengths), max(lengths)] if lengths else None
    row["final_length"] = curricula[0]["length"] if curricula else None
    return row


def _criteria(done: Sequence[Mapping[str, float]], measure: str, goal: Literal["max", "min"]) -> list[list[float]]:
    """Return what a setting is compared by, the most important first: values of its seeds, of which higher ones are better."""
    measured = [numbers[measure] if goal == "max" else -numbers[measure] for numbers in done]
    if measure.startswith(EVALUATED):
        return [measured]
    reached = [float(numbers["reached"]) if _has_curriculum(numbers) else 1.0 for numbers in done]
    fractions = [numbers["best.length"] / numbers["length"] if _has_curriculum(numbers) else 1.0 for numbers in done]
    return [reached, fractions, measured]


def _has_curriculum(numbers: Mapping[str, float]) -> bool:
    return {"reached", "length", "best.length"} <= numbers.keys()


def _is_better(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> bool:
    """Return whether a setting is better than another by the first criterion in which they differ by more than their spread."""
    for ours, theirs in zip(first, second, strict=True):
        difference = mean(ours) - mean(theirs)
        if abs(difference) > max(stdev(values) if len(values) > 1 else 0.0 for values in (ours, theirs)):
            return difference > 0
    return False


def ranking_lines(summary: Row, others: Sequence[Row] = (), *, advice: str = "set seeds in the file") -> list[str]:
    """Return the result of `rank_groups` as lines of text: a table of the settings by their rank, the best one, the failures.

    `others` are rankings by other measures, which become columns; `advice` says what to do if the best one has a single run.
    """
    settings, failures, leaders = summary["settings"], summary["failures"], summary["leaders"]
    ranked = [settings[index] for index in summary["ranking"]]
    ranked += [setting for setting in settings if not setting["n"]]
    axes = [name for name in settings[0] if name not in STATISTICS]
    columns = {name: [show(setting[name]) for setting in ranked] for name in axes}
    places = [settings.index(setting) for setting in ranked]
    for each in (summary, *others):
        measured = [each["settings"][place] for place in places]
        columns[each["measure"]] = [_measured(setting, each["measure"]) for setting in measured]
    columns["chance"] = ["" if setting["chance"] is None else f"{setting['chance']:.4g}" for setting in ranked]
    columns["reached"] = [_reached(setting) for setting in ranked]
    lengths = [setting["lengths_reached"] for setting in ranked]
    ends = [setting["final_length"] for setting in ranked]
    columns["at length"] = [f"{row[1]:.0f} of {end:.0f}" if row else "" for row, end in zip(lengths, ends, strict=True)]
    columns["n"] = [_number(setting) for setting in ranked]
    table = [[name, *texts] for name, texts in columns.items() if any(texts)]
    lines = align([*zip(*table, strict=True)])
    if len(ranked) > 1 and (best := summary["best"]) is not None:
        reached = f"reached {_reached(best)}, " if best["reached"] is not None else ""
        lines.append(
            f"best: {_name(best)}: {reached}{summary['measure']} {_measured(best, summary['measure'])} with n = {_number(best)}"
        )
        if best["std"] is None:
            lines.append(f"  one run does not show how far seeds differ; {advice}")
    elif len(leaders) > 1:
        names = "; ".join(_name(settings[index]) for index in leaders[:MAX_NAMED])
        more = f" and {len(leaders) - MAX_NAMED} more" if len(leaders) > MAX_NAMED else ""
        lines.append(f"no best: {names}{more} differ by no more than their standard deviation over the seeds")
    lines += [f"{len(failures)} failed:"] if failures else []
    problems = [(row["key"], _name(row["values"]), one_line(row["error"], MAX_PROBLEM)) for row in failures]
    return lines + [f"  {key}  {name}: {problem}" for key, name, problem in problems]


def stopped_short(summary: Row) -> bool:
    """Return whether the measure was taken at different lengths, since some runs did not reach the end of their curriculum."""
    short = (setting["reached"] is not None and setting["reached"] < setting["n"] for setting in summary["settings"])
    return any(short) and not summary["measure"].startswith(EVALUATED)


def show(value: Any) -> str:
    """Return a value on an axis as text."""
    return value if isinstance(value, str) else json.dumps(value)


def bounds_of(measure: str) -> tuple[float, float]:
    """Return the least and the greatest value that a measure can have."""
    if measure.endswith(FRACTIONS):
        return 0.0, 1.0
    return (0.0 if measure.endswith(("validation_loss", "train_loss", "fid", "seconds")) else -math.inf), math.inf


def _measured(setting: Row, measure: str) -> str:
    """Return mean ± standard deviation, or near a bound median and range, see `show_spread`."""
    if not setting["values"]:
        return "-"
    return show_spread(setting["values"], "{:.4g}".format, *bounds_of(measure), show_std="{:.2g}".format)


def _number(setting: Row) -> str:
    return f"{setting['n']}" + ("" if setting["n"] == setting["runs"] else f"/{setting['runs']}")


def _reached(setting: Row) -> str:
    return "" if setting["reached"] is None else f"{setting['reached']} of {setting['n']}"


def _name(values: Row) -> str:
    named = [f"{name} = {show(value)}" for name, value in values.items() if name not in STATISTICS]
    return ", ".join(named) or "the only setting"
