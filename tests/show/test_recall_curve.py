"""The recall curve: its trials, which of them may start, resuming, results and figure."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from reviver.cli import main
from reviver.runs.folder import RunFolder
from reviver.show.lstm_figures import recall_curve
from reviver.show.recall_curve import CELLS, build_trials, make_config, networks_of, rows_of_curve, run_trial
from reviver.sweep.trials import Outcome, Trial

SEQUENCES = 3200


@pytest.mark.parametrize("network", networks_of(CELLS))
def test_every_network_has_the_same_maximum_of_training_sequences(network: str) -> None:
    config = make_config(network=network, length=50, seed=3, sequences=64_000)
    assert (config.length, config.seed, config.threshold_at(50), config.jump_factor) == (50, 3, 0.99, None)
    assert config.epochs * config.epoch_size_at(50) == 64_000
    assert (config.lengths == (50,)) == network.endswith("fixed")
    other = make_config(network=network.replace(config.cell, "rnn"), length=50, seed=3, sequences=64_000)
    assert dataclasses.replace(config, cell="rnn") == other, "cells are compared with equal settings"
    assert (config.hidden_dropout == 0) == network.endswith("no-dropout")


def test_a_curve_skips_finished_runs_and_longer_lengths_of_a_network_at_chance(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, inline_sweeps: None
) -> None:
    calls = []

    def run_trial(
        _: Path, *, network: str, length: int, seed: int, lengths: list[int], sequences: int
    ) -> dict[str, Any]:
        calls.append((network, length))
        accuracy = 0.1 if sequences > 64 else 1 - 0.1 * seed
        return {
            "accuracies": [accuracy] * len(lengths),
            "sequences": [None] * len(lengths),
            "longest": 0,
            "seconds": 1.0,
        }

    monkeypatch.setattr("reviver.show.recall_curve.run_trial", run_trial)
    options = (
        "--length 80 --length 40 --length 60 --seeds 1 --network rnn-onehot-fixed --network lstm-scalar-curriculum"
    )
    options += " --out curve --quiet"
    for json_option in ("", " --json"):
        assert main(["lstm", "curve", *f"{options}{json_option}".split()]) == 0
        output = capsys.readouterr().out
        rows = json.loads(Path("curve/curve.json").read_text())["rows"]
        if json_option:
            assert json.loads(output)["rows"] == rows
        else:
            assert "±" not in output, "one seed has no spread"
        found = [(row["network"], row["length"], row["reached"]) for row in rows]
        grown = [("lstm-scalar-curriculum", length, 0) for length in (40, 60, 80)]
        assert found == [*grown, ("rnn-onehot-fixed", 40, 0), ("rnn-onehot-fixed", 60, 0)]
    assert sorted(calls) == [("lstm-scalar-curriculum", 80), ("rnn-onehot-fixed", 40), ("rnn-onehot-fixed", 60)]
    assert Path("curve/curve.pdf").read_bytes().startswith(b"%PDF")
    near_bound = "--length 40 --seeds 2 --network rnn-scalar-curriculum --sequences 64 --out near --quiet"
    assert main(["lstm", "curve", *near_bound.split()]) == 0
    assert "95.00% (median 95.00, 90.00 to 100.00%)" in capsys.readouterr().out, "95 ± 7.1 % would be beyond 100 %"


def test_a_text_has_a_curve_beside_built_in_cells(
    here: Path, capsys: pytest.CaptureFixture[str], inline_sweeps: None
) -> None:
    Path("mine.cell").write_text("h = tanh(W_h @ x + U_h @ h + b_h)\n")
    options = "--cell mine.cell --network mine-onehot-curriculum --network rnn-onehot-curriculum"
    options += " --length 10 --seeds 1 --sequences 3200 --out curve --quiet --json"
    assert main(["lstm", "curve", *options.split()]) == 0
    built_in, own = json.loads(capsys.readouterr().out)["rows"]
    assert (built_in.pop("network"), own.pop("network")) == ("rnn-onehot-curriculum", "mine-onehot-curriculum")
    assert built_in["accuracies"] == own["accuracies"], "the text is that of the built-in cell"
    assert main(["lstm", "curve", "--cell", "other.cell"]) == 2
    assert "other.cell cannot be read" in capsys.readouterr().err
    Path("gru.cell").write_text("h = tanh(W_h @ x + U_h @ h + b_h)\n")
    assert main(["lstm", "curve", "--cell", "gru.cell"]) == 2
    assert "gru.cell has the name of a built-in cell" in capsys.readouterr().err


def run_short(folder: Path, sequences: int, **changes: Any) -> dict[str, Any]:
    setting = {"network": "lstm-onehot-fixed", "length": 12, "seed": 0, "lengths": [12]} | changes
    return run_trial(folder / "trials" / "key", **setting, sequences=sequences)


def test_a_finished_run_continues_for_more_sequences_unless_it_is_at_chance(tmp_path: Path) -> None:
    before = run_short(tmp_path, SEQUENCES)
    assert (before["longest"], before["sequences"]) == (0, [None])
    assert 0.15 < before["accuracies"][0] < 0.9
    run = RunFolder.open(tmp_path / "runs" / "lstm-onehot-fixed-12-seed0")
    assert run.read_metrics()[-1]["sequences"] == SEQUENCES
    run_short(tmp_path, 2 * SEQUENCES)
    assert RunFolder.open(run.path).read_metrics()[-1]["sequences"] == 2 * SEQUENCES

    result = run_short(tmp_path, 4 * SEQUENCES, network="rnn-scalar-fixed", length=60, lengths=[60])
    assert result["accuracies"][0] < 0.15
    stopped = RunFolder.open(tmp_path / "runs" / "rnn-scalar-fixed-60-seed0").read_metrics()
    assert stopped[-1]["sequences"] == SEQUENCES, "a quarter of them"


def test_a_curriculum_is_trained_once_and_evaluated_at_every_length(tmp_path: Path) -> None:
    changes = {"network": "lstm-onehot-curriculum", "lengths": [4, 5, 12]}
    result = run_short(tmp_path, 8 * SEQUENCES, **changes)
    assert min(result["accuracies"]) > 0.9
    assert result["longest"] == 12
    assert result["sequences"][0] == result["sequences"][1] <= result["sequences"][2] <= 8 * SEQUENCES


def finish(trials: list[Trial], results: list[dict[str, Any]]) -> dict[str, Outcome]:
    pairs = zip(trials, results, strict=False)
    return {trial.key: Outcome(key=trial.key, status="done", result=result) for trial, result in pairs}


def test_rows_are_of_all_seeds_and_the_figure_shows_them() -> None:
    trials = build_trials((10, 100), ("lstm-onehot-curriculum",), 2, SEQUENCES)
    results = [
        {"accuracies": [0.9, 0.1], "sequences": [3200, None], "longest": 11, "seconds": 1.0},
        {"accuracies": [1.0, 0.2], "sequences": [6400, 8000], "longest": 108, "seconds": 2.0},
    ]
    rows = rows_of_curve(trials, finish(trials, results))
    assert [*rows[0].values()][:5] == ["lstm-onehot-curriculum", 10, 2, [0.9, 1.0], [11, 108]]
    assert [*rows[0].values()][5:] == pytest.approx([0.95, 0.1 / 2**0.5, 2, 4800, 3200 / 2**0.5, 1.5])
    assert (rows[1]["reached"], rows[1]["sequences_mean"], rows[1]["sequences_std"]) == (1, 8000, None)
    alone = rows_of_curve(trials, finish(trials, results[:1]))[1]
    assert (alone["seeds"], alone["accuracy_std"], alone["sequences_mean"]) == (1, None, None)
    accuracy, needed = recall_curve(rows).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in accuracy.lines}
    assert lines["LSTM, length curriculum"] == pytest.approx([0.95, 0.15])
    assert [text.get_text() for text in needed.texts] == ["1/2"]
