"""The recall curve: its runs, resuming, results and figures; and the vanilla RNN."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reviver.cli import main
from reviver.errors import ConfigError, DataError
from reviver.figures import save_figure
from reviver.lstm.rnn import RNNClassifier
from reviver.lstm.scoring import Score
from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.show.lstm_figures import NETWORK_STYLES, generalization, recall_curve, wilson_interval
from reviver.sweep import engines
from reviver.sweep.curve import NETWORKS, CurveRun, Outcome, pending_runs, run_cell, summarize
from reviver.train.lstm.evaluation import Evaluation
from tests.contents import contents
from tests.sweep_cells import InlineEngine

SEQUENCES = 6400


# The vanilla RNN


@given(B=st.integers(1, 5), T=st.integers(1, 9), I=st.integers(1, 4), H=st.integers(1, 9), seed=st.integers(0, 100))
def test_the_rnn_equals_that_of_torch(B: int, T: int, I: int, H: int, seed: int) -> None:  # noqa: E741
    torch.manual_seed(seed)
    rnn = RNNClassifier(I, H, 3).double()
    reference = nn.RNN(I, H, batch_first=True).double()
    with torch.no_grad():
        reference.weight_ih_l0.copy_(rnn.W)
        reference.weight_hh_l0.copy_(rnn.U)
        reference.bias_ih_l0.copy_(rnn.b)
        reference.bias_hh_l0.zero_()
    x = torch.randn(B, T, I, dtype=torch.float64)
    expected = reference(x)[0] @ rnn.W_out.T + rnn.b_out
    torch.testing.assert_close(rnn(x, every_step=True), expected)
    torch.testing.assert_close(rnn(x), expected[:, -1])
    lengths = torch.randint(1, T + 1, (B,))
    torch.testing.assert_close(rnn(x, lengths), expected[torch.arange(B), lengths - 1])


def test_the_rnn_drops_the_hidden_state_at_every_step() -> None:
    network = RNNClassifier(2, 50, 3, hidden_dropout=0.5)
    x = torch.randn(4, 3, 2)
    first, again, other = (network(x, rng=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with torch.no_grad():
        masks = 2.0 * (torch.rand(3, 4, 50, generator=torch.Generator().manual_seed(1)) >= 0.5)
        h = torch.zeros(4, 50)
        for t in range(3):
            h = masks[t] * torch.tanh(x[:, t] @ network.W.T + network.b + h @ network.U.T)
    torch.testing.assert_close(first, h @ network.W_out.T + network.b_out)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 5), (0, 3, 2), (2, 0, 2)])
def test_the_rnn_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"^x must be \[B, T, I\] with I = 2, got shape "):
        RNNClassifier(2, 4, 3)(torch.zeros(shape))


# Runs


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_the_same_maximum_of_training_sequences(network: str) -> None:
    config = CurveRun(network, 50, 3).config(64_000)
    assert (config.length, config.seed) == (50, 3)
    assert config.epochs * config.epoch_size_at(50) == 64_000
    assert config.lengths[-1] == 50
    assert (config.lengths == (50,)) == (network != "curriculum")
    assert network in NETWORK_STYLES, "the figure has a style for it"


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the runs of `reviver lstm curve` train in this process, in an empty folder."""
    monkeypatch.setattr(engines, "Pool", InlineEngine)
    monkeypatch.chdir(tmp_path)


def draw_curve(capsys: pytest.CaptureFixture[str], *options: str, sequences: int = SEQUENCES) -> list[dict[str, Any]]:
    command = ["lstm", "curve", "--sequences", str(sequences), "--out", "curve", "--json", "--quiet"]
    assert main([*command, *options]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
    assert rows == json.loads(Path("curve/curve.json").read_text())["rows"]
    return rows


@pytest.mark.usefixtures("inline")
def test_a_curve_has_a_row_for_every_network_and_length(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--length", "12", "--length", "4", "--seeds", "2", "--network", "curriculum", "--network", "fixed")
    rows = draw_curve(capsys, *options)
    assert [(row["network"], row["length"], row["seeds"]) for row in rows] == [
        (network, length, 2) for length in (4, 12) for network in ("curriculum", "fixed")
    ]
    assert all(row["sequences_mean"] is None or 0 < row["sequences_mean"] <= SEQUENCES for row in rows)
    assert all(row["reached"] == 2 and row["accuracy_mean"] > 0.95 for row in rows[:2])
    assert Path("curve/curve.pdf").read_bytes().startswith(b"%PDF")
    monkeypatch.setattr(InlineEngine, "submit", None)  # a call would fail
    assert draw_curve(capsys, *options) == rows, "finished runs are skipped"


def train_cell(folder: Path, run: CurveRun, sequences: int) -> dict[str, Any]:
    return run_cell(folder / "cells" / "key", **run._asdict(), sequences=sequences)


def test_a_finished_run_continues_for_more_sequences(tmp_path: Path) -> None:
    run = CurveRun("fixed", 12, 0)
    before = train_cell(tmp_path, run, SEQUENCES)
    assert not before["reached"]
    assert train_cell(tmp_path, run, SEQUENCES) == {**before, "seconds": ANY}
    after = train_cell(tmp_path, run, 2 * SEQUENCES)
    assert before["sequences"] < after["sequences"] <= 2 * SEQUENCES
    with pytest.raises(ConfigError, match=r"^epochs is 4 in this run, got 2"):
        train_cell(tmp_path, run, SEQUENCES)


@pytest.mark.parametrize(
    ("accuracies", "ready"),
    [
        ({}, {5, 10}),
        ({5: 1.0}, {10, 20}),
        ({5: 0.1}, {10}),
        ({10: 1.0}, {5, 20, 50}),
        ({5: 1.0, 10: 0.1}, {20}),
        ({5: 1.0, 10: 0.15, 20: 0.15}, set()),
        ({5: 1.0, 10: 0.1, 20: 0.16}, {50, 100}),
        ({5: 0.1, 10: 0.9, 20: 0.1}, {50}),
        ({5: 1.0, 10: 1.0, 20: 1.0, 50: 1.0, 100: 1.0}, set()),
    ],
)
def test_a_network_at_chance_at_two_lengths_is_not_trained_at_longer_ones(
    accuracies: dict[int, float], ready: set[int]
) -> None:
    runs = [CurveRun(name, length, seed) for length in (5, 10, 20, 50, 100) for seed in (0, 1) for name in ("a", "b")]
    known = {run: accuracies.get(run.length) if run.network == "a" else 1.0 for run in runs}
    outcomes = {run: Outcome(*run, found, 1, False, 1.0) for run, found in known.items() if found is not None}
    assert pending_runs(runs, outcomes) == [run for run in runs if run.network == "a" and run.length in ready]


def test_a_length_counts_only_when_all_seeds_are_finished() -> None:
    runs = [CurveRun("a", length, seed) for length in (5, 10, 20) for seed in (0, 1)]
    done = {run: Outcome(*run, 0.1, 1, False, 1.0) for run in runs[:4]}
    assert pending_runs(runs, done) == []
    del done[runs[3]]
    assert pending_runs(runs, done) == [runs[3]]


@pytest.mark.usefixtures("inline")
def test_a_curve_skips_longer_lengths_of_a_network_at_chance(capsys: pytest.CaptureFixture[str]) -> None:
    lengths = ("--length", "40", "--length", "60", "--length", "80")
    rows = draw_curve(capsys, *lengths, "--seeds", "1", "--network", "fixed", sequences=64)
    assert [row["length"] for row in rows] == [40, 60]
    assert not Path("curve/runs/fixed-80-seed0").exists()


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with its messages in `log`; kill it and its workers at the end if it is still running."""
    with log.open("w") as file, subprocess.Popen(command, stderr=file, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                for pid in (process.pid, *map(int, workers)):
                    os.kill(pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_started(run: Path) -> bool:
    return (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size > 0


def curve_command(out: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "reviver", "lstm", "curve", "--network", "fixed", "--sequences", "6400"]
    return [*command, "--jobs", "2", "--out", str(out), *options]


def test_an_interrupted_curve_saves_its_runs_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, log = tmp_path / "curve", tmp_path / "log"
    command = curve_command(out, "--length", "30", "--seeds", "5")
    runs = [out / "runs" / f"fixed-30-seed{seed}" for seed in (0, 1)]
    with running(command, log) as process:
        wait_until(lambda: all(map(has_started, runs)), process, log)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130, log.read_text()
    assert "go on with the same command" in log.read_text()
    stopped = [run for run in runs if (run / "run.json").exists() and RunFolder.open(run).status == "interrupted"]
    assert stopped
    assert len(list((out / "runs").iterdir())) <= 4, "no more runs start"
    monkeypatch.setattr(engines, "Pool", InlineEngine)
    assert main([*command[3:], "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == json.loads((out / "curve.json").read_text())["rows"]
    assert {RunFolder.open(run).status for run in runs} == {"finished"}
    train_cell(tmp_path / "calm", CurveRun("fixed", 30, 0), 6400)
    interrupted, calm = contents(runs[0]), contents(tmp_path / "calm" / "runs" / runs[0].name)
    assert interrupted["metrics.jsonl"] == calm["metrics.jsonl"]


def test_a_curve_stops_while_a_worker_is_idle(tmp_path: Path) -> None:
    out, log = tmp_path / "curve", tmp_path / "log"
    short, long = (out / "runs" / f"fixed-{length}-seed0" for length in (2, 300))

    def is_a_worker_idle() -> bool:
        return has_started(long) and has_started(short) and "measured" in RunFolder.open(short).record

    with running(curve_command(out, "--length", "2", "--length", "300", "--seeds", "1"), log) as process:
        wait_until(is_a_worker_idle, process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 143, log.read_text()
    assert RunFolder.open(long).status == "interrupted", "the run is saved"
    assert list((long / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--network lstm", "--network must be fixed, curriculum, chrono or rnn, got 'lstm'"),
        ("--length 1", "--length must be at least 2, got 1"),
        ("--seeds 0", "--seeds must be at least 1, got 0"),
        ("--sequences 0", "--sequences must be at least 1, got 0"),
        ("--jobs 0", "--jobs must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lstm", "curve", "--out", str(tmp_path / "curve"), *words.split()]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "curve").exists()


# Results and figures

OUTCOMES = [
    Outcome("fixed", 10, 0, 0.9, 3200, True, 1.0),
    Outcome("fixed", 10, 1, 1.0, 6400, True, 1.0),
    Outcome("fixed", 100, 0, 0.1, 9600, False, 1.0),
    Outcome("fixed", 100, 1, 0.2, 8000, True, 1.0),
    Outcome("curriculum", 10, 0, 1.0, 3200, True, 1.0),
]


def test_rows_are_means_and_standard_deviations() -> None:
    rows = {(row["network"], row["length"]): row for row in summarize(OUTCOMES)}
    assert rows["fixed", 10]["accuracy_mean"] == pytest.approx(0.95)
    assert rows["fixed", 10]["accuracy_std"] == pytest.approx(0.0707, abs=1e-4)
    assert (rows["fixed", 10]["reached"], rows["fixed", 10]["sequences_mean"]) == (2, 4800)
    assert (rows["fixed", 100]["reached"], rows["fixed", 100]["sequences_mean"]) == (1, 8000)
    assert (rows["curriculum", 10]["seeds"], rows["curriculum", 10]["accuracy_std"]) == (1, 0.0)


def test_the_curve_shows_means_chance_and_the_number_of_seeds_that_reached_it() -> None:
    accuracy, needed = recall_curve(OUTCOMES).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in accuracy.lines}
    assert lines["LSTM, fixed length"] == pytest.approx([0.95, 0.15])
    assert "chance" in lines
    assert [text.get_text() for text in needed.texts] == ["1/2"]
    assert accuracy.get_xscale() == needed.get_xscale() == "log"


def test_a_curve_without_any_success_can_be_plotted(tmp_path: Path) -> None:
    save_figure(recall_curve([OUTCOMES[2]]), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_generalisation_marks_the_trained_length() -> None:
    evaluations = [
        Evaluation(length, Score(0.1, 0.9, 100), "fresh", "class", 0.1, 2.3) for length in (10, 1000, 100_000)
    ]
    (axes,) = generalization(evaluations, 1000, 0.1).axes
    assert [text.get_text().strip() for text in axes.texts] == ["training length", "chance"]


@pytest.mark.parametrize(("correct", "size"), [(0, 10), (5, 10), (99, 100), (100, 100)])
def test_intervals_equal_those_of_scipy(correct: int, size: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(correct, size).proportion_ci(method="wilson")
    assert wilson_interval(correct / size, size) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(
    "changes", [{"num_layers": 2}, {"bidirectional": True}, {"precision": "bf16"}, {"init": "chrono"}]
)
def test_settings_that_the_rnn_does_not_support_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"^cell rnn "):
        LSTMConfig(cell="rnn", **changes)  # type: ignore[arg-type]
