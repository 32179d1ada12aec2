"""Tables, summaries and figures of sweeps, against values by hand."""

import csv
import math
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from reviver.errors import ConfigError
from reviver.sweep.statistics import rank_settings, ranking_lines, table_rows, write_table
from reviver.sweep.summary_figure import summary_figure
from reviver.sweep.trials import Outcome, Trial


def make_trials(*points: dict[str, Any]) -> list[Trial]:
    return [Trial(dict, point, point) for point in points]


def finish(trials: list[Trial], *accuracies: float) -> dict[str, Outcome]:
    results = [{"best": {"accuracy": accuracy}} for accuracy in accuracies]
    pairs = zip(trials, results, strict=False)
    return {trial.key: Outcome(key=trial.key, status="done", result=result, host="node") for trial, result in pairs}


TRIALS = make_trials(*({"rate": rate, "seed": seed} for rate in (0.1, 0.2) for seed in (0, 1)))
ERROR = "rate must be\nat most 0.1, got 0.2"
RESULT = {"best": {"accuracy": 0.5, "is_last": True}, "seconds": 9, "curve": [1, 2], "run": "runs/a", "loss": None}
OUTCOMES = {
    **finish(TRIALS, 0.5, 0.75, 0.9),
    TRIALS[0].key: Outcome(key=TRIALS[0].key, status="done", result=RESULT, seconds=1.5, attempts=2, host="node"),
    TRIALS[3].key: Outcome(key=TRIALS[3].key, status="failed", error=ERROR),
}


def test_rows_have_axes_outcomes_and_numbers(tmp_path: Path) -> None:
    rows = first, second, _, last = table_rows(TRIALS, OUTCOMES)
    columns = {"key": TRIALS[0].key, "status": "done", "error": None, "seconds": 1.5, "attempts": 2, "host": "node"}
    numbers = {"best.accuracy": 0.5, "best.is_last": True, "result.seconds": 9}
    assert first == {"rate": 0.1, "seed": 0} | columns | numbers
    assert (second["best.accuracy"], second["best.is_last"], second["seconds"]) == (0.75, None, 0.0)
    assert (last["status"], last["error"], last["best.accuracy"]) == ("failed", ERROR, None)
    table = pyarrow.parquet.read_table(write_table(rows, tmp_path / "table.parquet"))
    assert table.to_pylist() == rows
    trials = make_trials({"patch": 4, "sizes": [1, 2]}, {"patch": "4", "sizes": [3]}, {"patch": None, "sizes": None})
    outcomes = finish(trials, 0.1, 0.2, 0.3)
    path = write_table(table_rows(trials, outcomes), tmp_path / "table.parquet")
    columns = pyarrow.parquet.read_table(path, columns=["patch", "sizes"]).to_pydict()
    assert columns == {"patch": ["4", "4", None], "sizes": ["[1, 2]", "[3]", None]}
    settings = rank_settings(trials, outcomes, "best.accuracy", "max")["settings"]
    assert [row["mean"] for row in settings] == [0.1, 0.2, 0.3], "4 and '4' stay apart"


def test_without_pyarrow_the_table_is_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    rows = table_rows(TRIALS, OUTCOMES)
    with write_table(rows, tmp_path / "table.parquet").open(newline="", encoding="utf-8") as file:
        assert file.name == str(tmp_path / "table.csv")
        read = list(csv.DictReader(file))
    assert read == [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]


def test_summary_by_hand() -> None:
    summary = rank_settings(TRIALS, OUTCOMES, "best.accuracy", "max")
    low, high = summary["settings"]
    assert low["std"] == pytest.approx(math.sqrt(2 * 0.125**2))  # squared deviations over n - 1
    unknown = dict.fromkeys(("chance", "reached", "lengths_reached", "final_length"))
    assert low == {"rate": 0.1, "values": [0.5, 0.75], "mean": 0.625, "n": 2, "runs": 2, "std": low["std"], **unknown}
    assert high == {"rate": 0.2, "values": [0.9], "mean": 0.9, "n": 1, "runs": 2, "std": None, **unknown}
    assert summary["best"] is high
    assert summary["failures"] == [{"key": TRIALS[3].key, "values": TRIALS[3].axes, "error": ERROR}]
    assert ranking_lines(summary) == [
        "rate  best.accuracy    n",
        " 0.2            0.9  1/2",
        " 0.1   0.625 ± 0.18    2",
        "best: rate = 0.2: best.accuracy 0.9 with n = 1/2",
        "  one run does not show how far seeds differ; set seeds in the file",
        "1 failed:",
        f"  {TRIALS[3].key}  rate = 0.2, seed = 1: rate must be at most 0.1, got 0.2",
    ]
    assert rank_settings(TRIALS, OUTCOMES, "best.accuracy", "min")["best"] == low
    problem = r"^measure 'best\.accurac' is not in the results; did you mean best\.accuracy"
    with pytest.raises(ConfigError, match=problem):
        rank_settings(TRIALS, OUTCOMES, "best.accurac", "max")
    failure, *_ = rank_settings(TRIALS, OUTCOMES, "best.is_last", "max")["failures"]
    assert failure["error"] == "its result has no best.is_last"


def test_settings_that_differ_less_than_their_spread_are_not_called_best() -> None:
    for accuracies, best, line in (
        (
            (0.5, 0.7, 0.61, 0.75),
            None,
            "no best: rate = 0.2; rate = 0.1 differ by no more than their standard deviation",
        ),
        ((0.5, 0.54, 0.61, 0.75), 0.2, "best: rate = 0.2: best.accuracy 0.68 ± 0.099 with n = 2"),
        ((1.0, 1.0, 1.0, 1.0), None, "no best: rate = 0.1; rate = 0.2 differ by no more"),
    ):
        summary = rank_settings(TRIALS, finish(TRIALS, *accuracies), "best.accuracy", "max")
        assert (summary["best"] or {}).get("rate") == best
        assert any(text.startswith(line) for text in ranking_lines(summary)), ranking_lines(summary)


def test_runs_with_a_curriculum_are_ranked_by_how_far_they_came() -> None:
    rates = (0.1, 0.2, 0.3)
    trials = make_trials(*({"rate": rate, "seed": seed} for rate in rates for seed in range(5)))
    stopped = {0.1: (10, 10, 10, 10, 10), 0.2: (1000, 1000, 1000, 1000, 1000), 0.3: (100, 200, 100, 1000, 100)}
    accuracies = {0.1: 0.996, 0.2: 0.991, 0.3: 0.992}
    outcomes = {}
    for trial in trials:
        length = stopped[trial.axes["rate"]][trial.axes["seed"]]
        result = {"best": {"validation_accuracy": accuracies[trial.axes["rate"]], "length": length}, "chance": 0.1}
        result |= {"reached": length == 1000, "length": 1000, "evaluate": {"accuracy": 0.3, "chance": 0.1}}
        outcomes[trial.key] = Outcome(key=trial.key, status="done", result=result)
    summary = rank_settings(trials, outcomes, "best.validation_accuracy", "max")
    assert ranking_lines(summary) == [
        "rate  best.validation_accuracy  chance  reached     at length  n",
        " 0.2                 0.991 ± 0     0.1   5 of 5  1000 of 1000  5",
        " 0.3                 0.992 ± 0     0.1   1 of 5   300 of 1000  5",
        " 0.1                 0.996 ± 0     0.1   0 of 5    10 of 1000  5",
        "best: rate = 0.2: reached 5 of 5, best.validation_accuracy 0.991 ± 0 with n = 5",
    ]
    (panel,) = summary_figure(summary).axes
    assert list(panel.containers[0].lines[0].get_ydata()) == [0.01, 1.0, 0.3], (
        "accuracies at different lengths are not compared"
    )
    summary = rank_settings(trials, outcomes, "evaluate.accuracy", "max")
    assert summary["best"] is None, "measured at one length"
    (panel,) = summary_figure(summary).axes
    assert "chance" in {text.get_text() for text in panel.texts}
