"""Results of a sweep: a table of its cells, and mean and standard deviation of each setting over the seeds."""

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from reviver.errors import ConfigError
from reviver.files.atomic import atomic_write
from reviver.sweep.cells import Cell, Outcome
from reviver.text import MAX_PROBLEM, did_you_mean, one_line

SEED = "seed"
"""Axis over which results are averaged."""
STATISTICS = ("mean", "n", "cells", "std")
"""Keys of a setting in a summary that are not its values on the axes."""
FIXED_COLUMNS = ("key", "status", "error", "seconds", "attempts", "host")
"""Columns of the table that are neither axes nor results."""

Row = dict[str, Any]
_log = logging.getLogger(__name__)


def table_rows(cells: Sequence[Cell], outcomes: Mapping[str, Outcome]) -> list[Row]:
    """Return a row for each cell: axes, `FIXED_COLUMNS`, and the numbers of the result by their paths.

    All cells have the same axes. A result with the name of another column has `result.` before its name, and one that a
    cell does not have is None.
    """
    rows = []
    for cell in cells:
        row = {**cell.axes, **{name: getattr(outcomes[cell.key], name) for name in FIXED_COLUMNS}}
        numbers = numbers_in(outcomes[cell.key].result or {})
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

    Raises:
        RunFolderError: if the file cannot be written.
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


def summarize(cells: Sequence[Cell], outcomes: Mapping[str, Outcome], measure: str, goal: Literal["max", "min"]) -> Row:
    """Return the summary of a sweep: each setting with the measure over its seeds, the best one, and the failures.

    The measure is the path of a number in the results, such as `best.validation_accuracy`. The standard deviation is that of
    a sample (n - 1). The best of equal settings is the first.

    Raises:
        ConfigError: if cells are finished, but none has the measure.
    """
    groups: dict[str, tuple[Row, list[float | None]]] = {}
    known: dict[str, float] = {}
    failures = []
    for cell in cells:
        outcome = outcomes[cell.key]
        numbers = dict(numbers_in(outcome.result or {}))
        known |= numbers
        values = {name: value for name, value in cell.axes.items() if name != SEED}
        groups.setdefault(json.dumps(values), (values, []))[1].append(numbers.get(measure))
        if measure not in numbers:
            error = outcome.error or f"its result has no {measure}"
            failures.append({"key": cell.key, "values": dict(cell.axes), "error": error})
    if measure not in known and any(outcome.status == "done" for outcome in outcomes.values()):
        choice = did_you_mean(measure, known) or f"choose from {', '.join(known) or 'nothing: there are no numbers'}"
        raise ConfigError(f"measure {measure!r} is not in the results; {choice}", field="measure")
    settings = [values | _statistics(measured) for values, measured in groups.values()]
    done = [setting for setting in settings if setting["n"]]
    choose = max if goal == "max" else min
    best = choose(done, key=lambda setting: setting["mean"]) if done else None
    return {"measure": measure, "goal": goal, "settings": settings, "best": best, "failures": failures}


def _statistics(measured: Sequence[float | None]) -> Row:
    found = [value for value in measured if value is not None]
    std = stdev(found) if len(found) > 1 else None
    return {"mean": mean(found) if found else None, "n": len(found), "cells": len(measured), "std": std}


def summary_lines(summary: Row) -> list[str]:
    """Return a summary as lines of text: a table of the settings, the best one, the failures."""
    settings, best, failures = summary["settings"], summary["best"], summary["failures"]
    axes = [name for name in settings[0] if name not in STATISTICS]
    rows = [[*axes, summary["measure"], "n"]]
    rows += [[*(show(setting[name]) for name in axes), *_measured(setting)] for setting in settings]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    if best is not None and len(settings) > 1:
        lines.append(f"best: {_name(best)}: {summary['measure']} {' with n = '.join(_measured(best))}")
    lines += [f"{len(failures)} failed:"] if failures else []
    problems = [(row["key"], _name(row["values"]), one_line(row["error"], MAX_PROBLEM)) for row in failures]
    return lines + [f"  {key}  {name}: {problem}" for key, name, problem in problems]


def show(value: Any) -> str:
    """Return a value on an axis as text."""
    return value if isinstance(value, str) else json.dumps(value)


def _measured(setting: Row) -> tuple[str, str]:
    """Return mean ± standard deviation, and the number of finished cells, with that of all if some are not."""
    spread = "" if setting["std"] is None else f" ± {setting['std']:.2g}"
    of = "" if setting["n"] == setting["cells"] else f"/{setting['cells']}"
    return "-" if setting["mean"] is None else f"{setting['mean']:.4g}{spread}", f"{setting['n']}{of}"


def _name(values: Row) -> str:
    named = [f"{name} = {show(value)}" for name, value in values.items() if name not in STATISTICS]
    return ", ".join(named) or "the only setting"
