"""The recall curve: its cells, which of them may start, resuming, results and figure."""

import json
from pathlib import Path
from typing import Any

import pytest

from reviver.cli import main
from reviver.show.lstm_figures import recall_curve
from reviver.sweep import curve
from reviver.sweep.cells import Cell, Outcome
from reviver.sweep.curve import NETWORKS, make_cells, make_config, pending, run_cell, summarize
from tests.sweep.cells import InlineEngine

SEQUENCES = 3200


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_the_same_maximum_of_training_sequences(network: str) -> None:
    config = make_config(network=network, length=50, seed=3, sequences=64_000)
    assert (config.length, config.seed, config.threshold, config.jump_factor) == (50, 3, 0.99, None)
    assert config.epochs * config.epoch_size_at(50) == 64_000
    assert (config.lengths == (50,)) == (network != "curriculum")


def test_a_curve_skips_finished_runs_and_longer_lengths_of_a_network_at_chance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def run_cell(_: Path, *, sequences: int, **axes: Any) -> dict[str, Any]:
        calls.append(axes["length"])
        return {"accuracy": 0.1, "sequences": sequences, "reached": False, "seconds": 1.0}

    monkeypatch.setattr(curve, "run_cell", run_cell)
    monkeypatch.setattr("reviver.sweep.engines.Pool", InlineEngine)
    monkeypatch.chdir(tmp_path)
    options = "--length 80 --length 40 --length 60 --seeds 1 --network fixed --out curve --json --quiet"
    for _ in range(2):
        assert main(["lstm", "curve", *options.split()]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert rows == json.loads(Path("curve/curve.json").read_text())["rows"]
        assert [(row["network"], row["length"], row["reached"]) for row in rows] == [("fixed", 40, 0), ("fixed", 60, 0)]
    assert main(["lstm", "curve", *options.replace("--json", "").split()]) == 0
    assert "±" not in capsys.readouterr().out, "one seed has no spread"
    assert calls == [40, 60]
    assert Path("curve/curve.pdf").read_bytes().startswith(b"%PDF")


def test_a_finished_run_continues_for_more_sequences(tmp_path: Path) -> None:
    def run(sequences: int) -> dict[str, Any]:
        return run_cell(tmp_path / "cells" / "key", network="fixed", length=12, seed=0, sequences=sequences)

    before = run(SEQUENCES)
    assert (before["reached"], before["sequences"]) == (False, SEQUENCES)
    assert 0.05 < before["accuracy"] < 0.9
    assert run(2 * SEQUENCES)["sequences"] == 2 * SEQUENCES


def finish(cells: list[Cell], results: list[dict[str, Any]]) -> dict[str, Outcome]:
    pairs = zip(cells, results, strict=False)
    return {cell.key: Outcome(key=cell.key, status="done", result=result) for cell, result in pairs}


def test_a_network_waits_for_two_lengths_and_is_not_trained_after_two_at_chance() -> None:
    cells = make_cells((5, 10, 20, 50, 100), ("fixed",), 2, SEQUENCES)

    def ready(*accuracies: float) -> list[int]:
        found = finish(cells, [{"accuracy": accuracy} for accuracy in accuracies])
        return [cell.axes["length"] for cell in pending(cells, found)]

    assert ready() == [5, 5, 10, 10]
    assert ready(1.0, 1.0) == [10, 10, 20, 20]
    assert ready(0.1, 0.1, 0.1) == [10], "both seeds count"
    assert ready(0.1, 0.1, 0.1, 0.1) == []
    assert ready(0.1, 0.1, 0.9, 0.9, 0.1, 0.1) == [50, 50]
    assert ready(1.0, 1.0, 0.1, 0.1, 0.16, 0.16) == [50, 50, 100, 100]
    assert ready(1.0, 1.0, 0.1, 0.1, 0.15, 0.15) == []


def test_rows_are_means_and_standard_deviations_and_the_figure_shows_them() -> None:
    cells = make_cells((10, 100, 200), ("fixed",), 2, SEQUENCES)
    results = [
        {"accuracy": 0.9, "sequences": 3200, "reached": True, "seconds": 1.0},
        {"accuracy": 1.0, "sequences": 6400, "reached": True, "seconds": 2.0},
        {"accuracy": 0.1, "sequences": 9600, "reached": False, "seconds": 1.0},
        {"accuracy": 0.2, "sequences": 8000, "reached": True, "seconds": 1.0},
        {"accuracy": 0.3, "sequences": 8000, "reached": False, "seconds": 1.0},
    ]
    rows = summarize(cells, finish(cells, results))
    assert [*rows[0].values()][:2] == ["fixed", 10]
    assert [*rows[0].values()][2:] == pytest.approx([2, 0.95, 0.1 / 2**0.5, 2, 4800, 3200 / 2**0.5, 1.5])
    assert (rows[1]["reached"], rows[1]["sequences_mean"]) == (1, 8000)
    assert (rows[2]["seeds"], rows[2]["accuracy_std"], rows[2]["sequences_mean"]) == (1, None, None)
    accuracy, needed = recall_curve(rows).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in accuracy.lines}
    assert lines["LSTM, fixed length"] == pytest.approx([0.95, 0.15, 0.3])
    assert [text.get_text() for text in needed.texts] == ["1/2"]
