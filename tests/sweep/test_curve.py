"""The recall curve: its cells, which of them may start, resuming, results and figure."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from reviver.cli import main
from reviver.errors import ConfigError
from reviver.figures import save_figure
from reviver.show.lstm_figures import NETWORK_STYLES, recall_curve
from reviver.sweep import cell as sweep_cell
from reviver.sweep import curve
from reviver.sweep.curve import NETWORKS, Outcome, make_cells, make_config, pending, run_cell, summarize
from tests.sweep.cells import InlineEngine

SEQUENCES = 3200


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_the_same_maximum_of_training_sequences(network: str) -> None:
    config = make_config(network=network, length=50, seed=3, sequences=64_000)
    assert (config.length, config.seed, config.threshold, config.jump_factor) == (50, 3, 0.99, None)
    assert config.epochs * config.epoch_size_at(50) == 64_000
    assert config.lengths[-1] == 50
    assert (config.lengths == (50,)) == (network != "curriculum")
    assert network in NETWORK_STYLES, "the figure has a style for it"


def draw_curve(
    capsys: pytest.CaptureFixture[str], *options: str, sequences: int = 2 * SEQUENCES
) -> list[dict[str, Any]]:
    command = ["lstm", "curve", "--sequences", str(sequences), "--out", "curve", "--json", "--quiet"]
    assert main([*command, *options]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
    assert rows == json.loads(Path("curve/curve.json").read_text())["rows"]
    return rows


@pytest.mark.usefixtures("inline")
def test_a_curve_has_a_row_for_every_network_and_length(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--length", "5", "--length", "3", "--seeds", "1", "--network", "curriculum", "--network", "fixed")
    rows = draw_curve(capsys, *options)
    assert [(row["network"], row["length"], row["seeds"]) for row in rows] == [
        (network, length, 1) for length in (3, 5) for network in ("curriculum", "fixed")
    ]
    assert all(row["sequences_mean"] is None or 0 < row["sequences_mean"] <= 2 * SEQUENCES for row in rows)
    assert all(row["reached"] == 1 and row["accuracy_mean"] > 0.95 for row in rows[:2])
    assert Path("curve/curve.pdf").read_bytes().startswith(b"%PDF")
    monkeypatch.setattr(InlineEngine, "submit", None)  # a call would fail
    assert draw_curve(capsys, *options) == rows, "finished runs are skipped"


@pytest.mark.usefixtures("inline")
def test_a_curve_skips_longer_lengths_of_a_network_at_chance(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def run_cell(_: Path, *, sequences: int, **axes: Any) -> dict[str, Any]:
        calls.append(axes)
        return Outcome(**axes, accuracy=0.1, sequences=sequences, reached=False, seconds=1.0)._asdict()

    monkeypatch.setattr(curve, "run_cell", run_cell)
    lengths = ("--length", "40", "--length", "60", "--length", "80")
    rows = draw_curve(capsys, *lengths, "--seeds", "1", "--network", "fixed")
    assert [row["length"] for row in rows] == [call["length"] for call in calls] == [40, 60]


def test_a_finished_run_continues_for_more_sequences(tmp_path: Path) -> None:
    def run(sequences: int) -> dict[str, Any]:
        return run_cell(tmp_path / "cells" / "key", network="fixed", length=12, seed=0, sequences=sequences)

    before = run(SEQUENCES)
    assert not before["reached"]
    assert run(SEQUENCES) == {**before, "seconds": ANY}
    assert before["sequences"] < run(2 * SEQUENCES)["sequences"] <= 2 * SEQUENCES
    with pytest.raises(ConfigError, match=r"^epochs is 2 in this run, got 1"):
        run(SEQUENCES)


def finished(cell: sweep_cell.Cell, accuracy: float) -> sweep_cell.Outcome:
    result = Outcome(**cell.axes, accuracy=accuracy, sequences=1, reached=False, seconds=1.0)._asdict()
    return sweep_cell.Outcome(key=cell.key, status="done", result=result)


@pytest.mark.parametrize(
    ("accuracies", "ready"),
    [
        ({}, {5, 10}),
        ({5: 1.0}, {10, 20}),
        ({5: 0.1}, {10}),
        ({5: 1.0, 10: 0.15, 20: 0.15}, set()),
        ({5: 0.1, 10: 0.1, 20: 1.0}, set()),
        ({5: 1.0, 10: 0.1, 20: 0.16}, {50, 100}),
        ({5: 0.1, 10: 0.9, 20: 0.1}, {50}),
    ],
)
def test_a_network_at_chance_at_two_lengths_is_not_trained_at_longer_ones(
    accuracies: dict[int, float], ready: set[int]
) -> None:
    cells = make_cells((5, 10, 20, 50, 100), ("fixed", "chrono"), 2, SEQUENCES)
    found = {}
    for cell in cells:
        accuracy = accuracies.get(cell.axes["length"]) if cell.axes["network"] == "fixed" else 1.0
        if accuracy is not None:
            found[cell.key] = finished(cell, accuracy)
    expected = [cell for cell in cells if cell.axes["network"] == "fixed" and cell.axes["length"] in ready]
    assert pending(cells, found) == expected


def test_a_length_counts_only_when_all_seeds_are_finished() -> None:
    cells = make_cells((5, 10, 20), ("fixed",), 2, SEQUENCES)
    assert pending(cells, {cell.key: finished(cell, 0.1) for cell in cells[:4]}) == []
    assert pending(cells, {cell.key: finished(cell, 0.1) for cell in cells[:3]}) == [cells[3]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--network lstm", "--network must be fixed, curriculum, chrono or rnn, got 'lstm'"),
        ("--length 1", "--length must be at least 2, got 1"),
        ("--sequences 0", "--sequences must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lstm", "curve", "--out", str(tmp_path / "curve"), *words.split()]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "curve").exists()


OUTCOMES = [
    Outcome("fixed", 10, 0, 0.9, 3200, True, 1.0),
    Outcome("fixed", 10, 1, 1.0, 6400, True, 2.0),
    Outcome("fixed", 100, 0, 0.1, 9600, False, 1.0),
    Outcome("fixed", 100, 1, 0.2, 8000, True, 1.0),
    Outcome("curriculum", 10, 0, 1.0, 3200, True, 1.0),
]


def test_rows_are_means_and_standard_deviations() -> None:
    rows = {(row["network"], row["length"]): row for row in summarize(OUTCOMES)}
    assert rows["fixed", 10] == {
        "network": "fixed",
        "length": 10,
        "seeds": 2,
        "accuracy_mean": pytest.approx(0.95),
        "accuracy_std": pytest.approx(0.1 / 2**0.5),
        "reached": 2,
        "sequences_mean": 4800,
        "sequences_std": pytest.approx(3200 / 2**0.5),
        "seconds_mean": 1.5,
    }
    assert (rows["fixed", 100]["reached"], rows["fixed", 100]["sequences_mean"]) == (1, 8000)
    assert (rows["curriculum", 10]["seeds"], rows["curriculum", 10]["accuracy_std"]) == (1, 0.0)


def test_the_curve_shows_means_chance_and_the_number_of_seeds_that_reached_it(tmp_path: Path) -> None:
    accuracy, needed = recall_curve(OUTCOMES).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in accuracy.lines}
    assert lines["LSTM, fixed length"] == pytest.approx([0.95, 0.15])
    assert "chance" in lines
    assert [text.get_text() for text in needed.texts] == ["1/2"]
    assert accuracy.get_xscale() == needed.get_xscale() == "log"
    save_figure(recall_curve([OUTCOMES[2]]), tmp_path / "curve.png")  # without any success
    assert (tmp_path / "curve.png").stat().st_size > 10_000
