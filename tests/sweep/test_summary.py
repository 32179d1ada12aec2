"""Tables, summaries and figures of sweeps, against values by hand."""

import csv
import logging
import math
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from reviver.errors import ConfigError
from reviver.figures import save_figure
from reviver.sweep.cell import Cell, Outcome
from reviver.sweep.figures import STYLES, summary_figure
from reviver.sweep.summary import summarize, summary_lines, table_rows, write_table


def make_cells(*points: dict[str, Any]) -> list[Cell]:
    return [Cell("package:function", point, point) for point in points]


def finish(cells: list[Cell], *accuracies: float) -> dict[str, Outcome]:
    """Return outcomes with these accuracies."""
    return {
        cell.key: Outcome(
            key=cell.key, status="done", result={"best": {"accuracy": accuracy}}, seconds=2.5, host="node"
        )
        for cell, accuracy in zip(cells, accuracies, strict=False)
    }


@pytest.fixture
def sweep() -> tuple[list[Cell], dict[str, Outcome]]:
    """Return four cells: two done, two failed."""
    cells = make_cells(*({"rate": rate, "seed": seed} for rate in (0.1, 0.2) for seed in (0, 1)))
    outcomes = finish(cells, 0.5, 0.75)
    result = {"best": {"accuracy": 0.5, "is_last": True}, "seconds": 9, "curve": [1, 2], "run": "runs/a", "loss": None}
    changes = {"result": result, "seconds": 1.5, "attempts": 2}
    outcomes[cells[0].key] = outcomes[cells[0].key].model_copy(update=changes)
    for cell in cells[2:]:
        error = "rate must be\nat most 0.1, got 0.2"
        outcomes[cell.key] = Outcome(key=cell.key, status="failed", error=error, host="other")
    return cells, outcomes


def test_rows_have_axes_outcomes_and_numbers(sweep: tuple[list[Cell], dict[str, Outcome]], tmp_path: Path) -> None:
    cells, outcomes = sweep
    rows = first, second, third, last = table_rows(cells, outcomes)
    assert first == {
        "rate": 0.1,
        "seed": 0,
        "key": cells[0].key,
        "status": "done",
        "error": None,
        "seconds": 1.5,
        "attempts": 2,
        "host": "node",
        "best.accuracy": 0.5,
        "best.is_last": True,
        "result.seconds": 9,
    }
    assert (second["best.accuracy"], second["best.is_last"], second["seconds"]) == (0.75, None, 2.5)
    assert (third["status"], third["error"], third["best.accuracy"]) == ("failed", outcomes[cells[2].key].error, None)
    assert (last["status"], last["seconds"], last["rate"]) == ("failed", 0.0, 0.2)
    assert list(first) == list(second) == list(third) == list(last)
    table = pyarrow.parquet.read_table(write_table(rows, tmp_path / "table.parquet"))
    assert table.to_pylist() == rows
    types = {name: str(table.schema.field(name).type) for name in ("rate", "seed", "status", "best.is_last")}
    assert types == {"rate": "double", "seed": "int64", "status": "string", "best.is_last": "bool"}
    cells = make_cells({"patch": 4, "sizes": [1, 2]}, {"patch": "auto", "sizes": [3]}, {"patch": None, "sizes": None})
    path = write_table(table_rows(cells, finish(cells, 0.1, 0.2, 0.3)), tmp_path / "table.parquet")
    columns = pyarrow.parquet.read_table(path, columns=["patch", "sizes"]).to_pydict()
    assert columns == {"patch": ["4", "auto", None], "sizes": ["[1, 2]", "[3]", None]}


def test_without_pyarrow_parquet_becomes_csv(
    sweep: tuple[list[Cell], dict[str, Outcome]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    rows = table_rows(*sweep)
    with caplog.at_level(logging.WARNING):
        path = write_table(rows, tmp_path / "table.parquet")
    assert [*tmp_path.iterdir()] == [path] == [tmp_path / "table.csv"]
    assert f"the extra data); wrote {path}" in caplog.text
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert read == [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]


def test_summary_by_hand(sweep: tuple[list[Cell], dict[str, Outcome]]) -> None:
    cells, outcomes = sweep
    summary = summarize(cells, outcomes, "best.accuracy", "max")
    low, high = summary["settings"]
    assert low["std"] == pytest.approx(math.sqrt(2 * 0.125**2))  # squared deviations over n - 1
    assert low == {"rate": 0.1, "mean": 0.625, "n": 2, "cells": 2, "std": low["std"]}
    assert high == {"rate": 0.2, "mean": None, "n": 0, "cells": 2, "std": None}
    assert summary["best"] is low
    error = "rate must be\nat most 0.1, got 0.2"
    failures = [{"key": cell.key, "values": dict(cell.axes), "error": error} for cell in cells[2:]]
    assert summary["failures"] == failures
    assert summary_lines(summary) == [
        "rate  best.accuracy    n",
        " 0.1   0.625 ± 0.18    2",
        " 0.2              -  0/2",
        "best: rate = 0.1: best.accuracy 0.625 ± 0.18 with n = 2",
        "2 failed:",
        f"  {cells[2].key}  rate = 0.2, seed = 0: rate must be at most 0.1, got 0.2",
        f"  {cells[3].key}  rate = 0.2, seed = 1: rate must be at most 0.1, got 0.2",
    ]
    with pytest.raises(
        ConfigError, match=r"^measure 'best\.accurac' is not in the results; did you mean best\.accuracy"
    ):
        summarize(cells, outcomes, "best.accurac", "max")
    failure, *_ = summarize(cells, outcomes, "best.is_last", "max")["failures"]
    assert failure["error"] == "its result has no best.is_last"


@pytest.mark.parametrize(("goal", "best"), [("max", {"rate": 1.0}), ("min", {"patch": 4})])
def test_best_setting_follows_the_goal(goal: Any, best: dict[str, Any]) -> None:
    """Also where an axis holds texts that look like numbers, or a cell lacks one."""
    cells = make_cells({"patch": "4"}, {"patch": 4}, {"rate": 1.0})
    summary = summarize(cells, finish(cells, 0.6, 0.5, 0.9), "best.accuracy", goal)
    assert [setting["mean"] for setting in summary["settings"]] == [0.6, 0.5, 0.9]
    expected = {"patch": None, "rate": None, **best}
    assert {name: summary["best"][name] for name in ("patch", "rate", "std")} == {**expected, "std": None}


@pytest.mark.parametrize(
    ("axes", "lines", "scale", "ticks"),
    [
        ({}, 1, "linear", [""]),
        ({"rate": [1e-4, 1e-3, 1e-2]}, 1, "log", None),
        ({"bias": [False, True]}, 1, "linear", ["false", "true"]),
        ({"rate": [0.1, 0.2], "size": [8, 16, 32]}, 3, "linear", ["0.1", "0.2"]),
        ({"one": [1], "size": [8, 16]}, 1, "linear", ["8", "16"]),
        ({"size": [8, 16], "layers": [1, 2, 3], "rate": [1, 2, 3, 4]}, len(STYLES), "linear", ["8", "16"]),
    ],
)
def test_figure(axes: dict[str, list[Any]], lines: int, scale: str, ticks: list[str] | None, tmp_path: Path) -> None:
    names = [*axes, "seed"]
    cells = make_cells(*(dict(zip(names, values, strict=True)) for values in product(*axes.values(), range(2))))
    summary = summarize(cells, finish(cells, *(index / 10 for index in range(len(cells)))), "best.accuracy", "max")
    figure = summary_figure(summary)
    (panel,) = figure.axes
    assert len(panel.containers) == lines  # a container per line with error bars
    assert panel.get_xscale() == scale
    save_figure(figure, tmp_path / "figure.png")
    if ticks is not None:
        assert [label.get_text() for label in panel.get_xticklabels()] == ticks
    rings = [line for line in panel.lines if line.get_markersize() == 11]
    assert [line.get_ydata()[0] for line in rings] == ([summary["best"]["mean"]] if axes else [])
    if lines == 1:
        (line,) = panel.containers
        assert list(line.lines[0].get_ydata()) == [setting["mean"] for setting in summary["settings"]]
        assert line.lines[0].get_linestyle() == ("None" if "bias" in axes or not axes else "-")


def test_figure_of_one_seed_has_no_error_bars_and_one_without_results_no_lines() -> None:
    cells = make_cells({"size": 8}, {"size": 16})
    (panel,) = summary_figure(summarize(cells, finish(cells, 0.1, 0.2), "best.accuracy", "max")).axes
    assert not panel.containers[0].has_yerr
    assert "One seed" in panel.get_title(loc="left")
    outcomes = {cell.key: Outcome(key=cell.key, status="failed", error="x") for cell in cells}
    (panel,) = summary_figure(summarize(cells, outcomes, "best.accuracy", "max")).axes
    assert not panel.containers
