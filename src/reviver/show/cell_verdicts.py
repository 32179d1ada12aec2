"""What `reviver lstm benchmark` concludes from the runs of a cell and the records of the built-in ones.

Two cells are compared on a task by the ranks of their runs, see `CellRun.rank`: an exact permutation test of the difference of the
mean ranks, which is the Wilcoxon-Mann-Whitney test with ties, two-sided; Holm's correction over the tasks.
"""

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import accumulate
from math import comb
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from reviver.errors import import_library
from reviver.files.read import parse_json
from reviver.recurrent.grammar import Cell
from reviver.show.cell_trials import CellRun

RECORDS = Path(str(files("reviver.show") / "cell_records.json"))
LEVEL = 0.05
"""Probability of a false difference between two equal cells, over all tasks."""
CONFIDENCE = 0.95
NO_DIFFERENCE = "no difference shown"


class Verdict(NamedTuple):
    """How a cell compares with another on a task."""

    word: str  # "better", "worse", or `NO_DIFFERENCE`
    p: float  # with Holm's correction


def hash_of(cell: Cell) -> str:
    """Return the hash of the text of a cell."""
    return hashlib.sha256(cell.text.encode()).hexdigest()


@cache
def read_records() -> Mapping[str, Any]:
    """Return the records of the built-in cells, see `benchmarks/cell_records.py`."""
    return parse_json(RECORDS.read_text(encoding="utf-8"))


def recorded(cell: str, ability: str) -> list[CellRun]:
    """Return the runs of a built-in cell."""
    rows = read_records()["cells"][cell]["abilities"][ability]["runs"]
    return [CellRun(updates, tuple(scores)) for updates, scores in rows]


def compare(own: Mapping[str, Sequence[CellRun]], other: Mapping[str, Sequence[CellRun]]) -> dict[str, Verdict]:
    """Return the verdict on each ability that both have runs of."""
    abilities = [ability for ability in own if ability in other]
    tests = {ability: _test(own[ability], other[ability]) for ability in abilities}
    order = sorted(abilities, key=lambda ability: tests[ability][1])
    scaled = [(len(order) - place) * tests[ability][1] for place, ability in enumerate(order)]
    corrected = dict(zip(order, accumulate(scaled, max), strict=True))
    found = {}
    for ability in abilities:
        difference, p = tests[ability][0], min(1.0, corrected[ability])
        word = NO_DIFFERENCE if p >= LEVEL else "better" if difference < 0 else "worse"
        found[ability] = Verdict(word, p)
    return found


def _test(own: Sequence[CellRun], other: Sequence[CellRun]) -> tuple[float, float]:
    """Return the difference of the mean ranks, below 0 if `own` is better, and the probability of one as large."""
    stats = import_scipy()
    ranks = stats.rankdata([run.rank for run in (*own, *other)])
    parts = ranks[: len(own)], ranks[len(own) :]

    def difference(one: Any, two: Any, axis: int) -> Any:
        return one.mean(axis) - two.mean(axis)

    count = comb(len(ranks), len(own))  # as many resamples make it exact
    result = stats.permutation_test(parts, difference, n_resamples=count, vectorized=True)
    return float(result.statistic), float(result.pvalue)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, and its exact 95 % interval from order statistics, of at least six values."""
    found = import_scipy().quantile_test(values, p=0.5).confidence_interval(CONFIDENCE)
    return median(values), float(found.low), float(found.high)


def import_scipy() -> Any:
    """Return scipy.stats; without it a ConfigError says how to install it."""
    import_library("scipy", "lstm benchmark needs the library scipy, the extra compare of reviver-nn")
    return importlib.import_module("scipy.stats")
