"""Measurements of goals over seeds: sweeps whose results become rows of docs/measurements."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import measure
from reviver.sweep.trials import Trial
from tests.benchmarks.trials import count


@dataclass(frozen=True)
class Goal(measure.Goal):
    is_valid: bool = True


GOALS = [
    Goal(name, "words", 2, "≥ 1", lambda row: row["seed"] == 1, name != "second")
    for name in ("first", "second", "third")
]


def make_trial(goal: Goal, seed: int) -> Trial:
    arguments = {"seed": seed, "name": goal.name, "is_valid": goal.is_valid}
    return Trial(count, arguments, {"goal": goal.name, "seed": seed})


def test_goals_are_measured_once_and_rows_of_other_goals_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "ROOT", tmp_path)
    runs, path = tmp_path / "runs" / "some-goals", tmp_path / "docs" / "measurements" / "some_goals.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"title": "title", "goals": {"third": {"rows": [1]}, "removed": {"rows": []}}}))

    def call(*words: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["measure", *words])
        return measure.measure_goals("some_goals", "", "title", GOALS, make_trial)

    with pytest.raises(SystemExit) as caught:
        call("first", "second", "--seeds", "1")
    assert caught.value.code == 1
    assert "ValueError: seed 0 is not valid" in capfd.readouterr().err
    results = json.loads(path.read_text())
    rows = [{"seed": 0, "value": 0.5, "reached": False}]
    kept = {"third": {"rows": [1]}, "removed": {"rows": []}}  # pages show rows of goals that are gone
    assert results["goals"] == {"first": {"what": "words", "target": "≥ 1", "rows": rows}, **kept}
    assert list(results) == ["title", "goals", "machine"]
    results = call("first", "third")
    assert [row["value"] for row in results["goals"]["first"]["rows"]] == [0.5, 1.5]
    assert [row["reached"] for row in results["goals"]["third"]["rows"]] == [False, True]
    assert results == json.loads(path.read_text())
    calls = [file.read_text() for file in runs.glob("trials/*/calls.txt")]
    assert calls == ["x"] * 5  # a failed trial is repeated only if it is asked for
