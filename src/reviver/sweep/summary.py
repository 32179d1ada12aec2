"""Summary of a sweep over its seeds: mean and standard deviation of each setting, the best one, and the failures."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Literal, NamedTuple

from reviver.errors import ConfigError
from reviver.sweep.cell import Cell, Outcome
from reviver.sweep.table import numbers_in
from reviver.text import MAX_PROBLEM, did_you_mean, one_line

SEED = "seed"
"""Axis over which results are averaged."""


class Setting(NamedTuple):
    """Values on the axes, without the seed, and the measure over the seeds."""

    values: dict[str, Any]
    """Value on each axis."""
    measured: list[float]
    """Measure of each finished cell."""
    cells: int
    """Number of cells, also of those that failed or have no outcome."""

    @property
    def mean(self) -> float:
        """Mean over the seeds; nan if no cell is finished."""
        return mean(self.measured) if self.measured else math.nan

    @property
    def std(self) -> float | None:
        """Standard deviation of a sample (n - 1) over the seeds; None for fewer than two."""
        return stdev(self.measured) if len(self.measured) > 1 else None


class Failure(NamedTuple):
    """A cell without a result."""

    key: str
    """Key of the cell, the name of its folder."""
    values: dict[str, Any]
    """Value on each axis, also the seed."""
    error: str
    """Message of its error."""


@dataclass(frozen=True)
class Summary:
    """Summary of a sweep.

    Attributes:
        measure: path of the measure in the results.
        goal: whether large or small values are good.
        axes: names of the axes, without the seed.
        settings: settings in the order of the sweep.
        failures: cells that failed.
    """

    measure: str
    goal: Literal["max", "min"]
    axes: list[str]
    settings: list[Setting]
    failures: list[Failure]

    @property
    def best(self) -> Setting | None:
        """Setting with the best mean; the first of equal ones, None if no cell is finished."""
        measured = [setting for setting in self.settings if setting.measured]
        choose = max if self.goal == "max" else min
        return choose(measured, key=lambda setting: setting.mean) if measured else None


def summarise(
    cells: Sequence[Cell], outcomes: Mapping[str, Outcome], measure: str, goal: Literal["max", "min"] = "max"
) -> Summary:
    """Return the summary of a sweep over its seeds.

    Args:
        cells: the cells of the sweep.
        outcomes: their outcomes, by key.
        measure: path of a number in the results, such as `best.validation_accuracy`.
        goal: whether large or small values are good.

    Raises:
        ConfigError: if cells are finished, but none has the measure.
    """
    axes = [name for name in dict.fromkeys(name for cell in cells for name in cell.axes) if name != SEED]
    groups: dict[str, Setting] = {}
    failures = []
    known: dict[str, None] = {}
    for cell in cells:
        values = {name: cell.axes.get(name) for name in axes}
        setting = groups.setdefault(json.dumps(values), Setting(values, [], 0))
        outcome = outcomes.get(cell.key)
        numbers = dict(numbers_in((outcome.result if outcome else None) or {}))
        known |= dict.fromkeys(numbers)
        if measure in numbers:
            setting.measured.append(float(numbers[measure]))
        elif outcome is not None and outcome.status in ("done", "failed"):
            failures.append(Failure(cell.key, dict(cell.axes), outcome.error or f"its result has no {measure}"))
        groups[json.dumps(values)] = setting._replace(cells=setting.cells + 1)
    if measure not in known and any(outcome.status == "done" for outcome in outcomes.values()):
        choice = did_you_mean(measure, known) or f"choose from {', '.join(known) or 'nothing: there are no numbers'}"
        raise ConfigError(f"measure {measure!r} is not in the results; {choice}", field="measure")
    return Summary(measure, goal, axes, list(groups.values()), failures)


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """Return a summary as JSON."""

    def encode(setting: Setting) -> dict[str, Any]:
        result = {"n": len(setting.measured), "cells": setting.cells, "std": setting.std}
        return {**setting.values, "mean": setting.mean if setting.measured else None, **result}

    best = summary.best
    return {
        "measure": summary.measure,
        "goal": summary.goal,
        "settings": [encode(setting) for setting in summary.settings],
        "best": None if best is None else encode(best),
        "failures": [failure._asdict() for failure in summary.failures],
    }


def summary_lines(summary: Summary) -> list[str]:
    """Return a summary as lines of text: a table of the settings, the best one, the failures."""
    header = [*summary.axes, summary.measure, "n"]
    rows = [
        [*(show(setting.values[name]) for name in summary.axes), *_measured(setting)] for setting in summary.settings
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    best = summary.best
    if best is not None and len(summary.settings) > 1:
        lines.append(f"best: {_name(best.values)}: {summary.measure} {' with n = '.join(_measured(best))}")
    if summary.failures:
        lines.append(f"{len(summary.failures)} failed:")
        lines += [
            f"  {failure.key}  {_name(failure.values)}: {one_line(failure.error, MAX_PROBLEM)}"
            for failure in summary.failures
        ]
    return lines


def show(value: Any) -> str:
    """Return a value on an axis as text."""
    return value if isinstance(value, str) else json.dumps(value)


def _measured(setting: Setting) -> tuple[str, str]:
    """Return mean ± standard deviation, and the number of finished cells, with that of all if some are not."""
    spread = "" if setting.std is None else f" ± {setting.std:.2g}"
    count = len(setting.measured)
    of = "" if count == setting.cells else f"/{setting.cells}"
    return f"{setting.mean:.4g}{spread}" if setting.measured else "-", f"{count}{of}"


def _name(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {show(value)}" for name, value in values.items()) or "the only setting"
