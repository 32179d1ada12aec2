"""Length curriculum: thresholds, jumps, early stopping, and the ends of runs."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reviver import load
from reviver.cli import main
from reviver.data.palindromes import Palindromes
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.presets import LSTM_PRESETS
from reviver.train.lstm import training
from reviver.train.lstm.curriculum import completes_curriculum, end_reason, find_best, rank
from reviver.train.lstm.scoring import Score
from reviver.train.lstm.training import train
from tests.contents import position
from tests.lstm_runs import CURRICULUM, PATIENT

# Thresholds


def test_a_length_ends_at_the_threshold_and_the_training_at_that_of_the_last_length(
    folders: Callable[[str], RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    path, metrics = folders("curriculum").path, folders("curriculum").read_metrics()
    assert list(dict.fromkeys(row["length"] for row in metrics)) == [3, 4, 7, 9]
    for row, after in itertools.pairwise(metrics):
        assert (after["length"] > row["length"]) == (row["validation_accuracy"] >= CURRICULUM.threshold)
    assert metrics[-1]["validation_accuracy"] >= CURRICULUM.threshold
    assert len(metrics) < CURRICULUM.epochs
    assert load(path, checkpoint="best").step == max(metrics, key=rank)["step"]
    assert main(["lstm", "train", "--resume", "--out", str(path), "--quiet"]) == 0
    assert "length 9 of 9: passed, with a validation accuracy of at least 30%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("last_threshold", "accuracies", "lengths"),
    [
        # By hand, for lengths 3 and 4 and threshold 0.5: an accuracy that equals the threshold of its length ends it,
        # the next smaller float does not. Without last_threshold the threshold of length 4 is 0.5, too.
        (None, [math.nextafter(0.5, 0), 0.5, math.nextafter(0.5, 0), 0.5], [3, 3, 4, 4]),
        (0.75, [math.nextafter(0.5, 0), 0.5, 0.5, math.nextafter(0.75, 0), 0.75], [3, 3, 4, 4, 4]),
        (0.25, [0.25, math.nextafter(0.5, 0), 0.5, math.nextafter(0.25, 0), 0.25], [3, 3, 3, 4, 4]),
    ],
)
def test_each_length_ends_exactly_at_its_threshold(
    last_threshold: Any,
    accuracies: list[float],
    lengths: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    values = {"length": 4, "threshold": 0.5, "data_size": 20, "hidden_size": 2}
    config = replace(CURRICULUM, **values, last_threshold=last_threshold)
    remaining = iter([*accuracies, 1.0, 1.0, 1.0])
    monkeypatch.setattr(training, "score", lambda *_: Score(loss=1.0, accuracy=next(remaining), size=4))
    with caplog.at_level("INFO", "reviver"):
        metrics = train(config, tmp_path / "run", progress=True).read_metrics()
    assert "LSTM T=4: 0/2 lengths  validation accuracy" in caplog.text
    assert [row["length"] for row in metrics] == lengths
    complete = [completes_curriculum(config, row) for row in metrics]
    assert complete == [False] * (len(metrics) - 1) + [True]


def test_a_curriculum_learns_a_length_that_training_at_that_length_does_not(tmp_path: Path) -> None:
    """The network of the report: a few epochs with a curriculum, near chance without."""
    values = {"length": 40, "epochs": 60, "threshold": 0.97, "learning_rate": 1e-2, "data_size": 2000}
    config = replace(LSTM_PRESETS["recall"], **values, jump_factor=None, last_threshold=None)
    metrics = train(config, tmp_path / "curriculum").read_metrics()
    assert metrics[-1]["length"] == 40
    assert metrics[-1]["validation_accuracy"] >= 0.97
    fixed = replace(config, start_length=40, epochs=len(metrics))
    assert train(fixed, tmp_path / "fixed").read_metrics()[-1]["validation_accuracy"] < 0.3


# Jumps


@pytest.mark.parametrize(
    ("jump", "epochs", "holds", "path", "end"),
    [
        # By hand, for 7 lengths and jumps of 3 or 1: t trains, v validates only, and the number is the index of the length.
        (10.0, 60, [7], "t0 v3 v6", "threshold"),
        (10.0, 60, [2, 7], "t0 v3 v2 v1 t2 v5 v6", "threshold"),
        (10.0, 60, [1, 1, 2, 5, 7], "t0 v3 v2 v1 t1 t1 v4 v3 v2 t2 v5 v4 t5 v6", "threshold"),
        (10.0, 60, [4, 6, 7], "t0 v3 v6 v5 v4 t4 v6 v5 t6", "threshold"),
        (1.1, 60, [2, 7], "t0 v1 v2 t2 v3 v4 v5 v6", "threshold"),
        (10.0, 1, [5], "t0 v3 v6 v5 v4", "epochs"),  # the last epoch is followed by the validations
    ],
)
def test_a_run_trains_only_at_the_shortest_length_that_breaks(
    jump: float, epochs: int, holds: list[int], path: str, end: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """After k epochs the network holds the `holds[k - 1]` shortest lengths."""
    sizes = {"length": 1000, "start_length": 10, "data_size": 20, "hidden_size": 2, "epochs": epochs}
    config = replace(CURRICULUM, **sizes, length_factor=2.15444, jump_factor=jump)
    assert len(config.lengths) == 7
    trained = 0

    def scripted(_network: Any, data: Palindromes, *others: Any) -> Score:
        nonlocal trained
        trained += others[-1] is None  # a validation without training reports its progress
        accuracy = float(config.lengths.index(data.length) < holds[trained - 1])
        return Score(loss=0.25, accuracy=accuracy, size=4)

    monkeypatch.setattr(training, "score", scripted)
    folder = train(config, tmp_path / "run")
    metrics = folder.read_metrics()
    found = [f"{'t' if row['train_loss'] else 'v'}{config.lengths.index(row['length'])}" for row in metrics]
    assert " ".join(found) == path
    assert (folder.status, end_reason(config, metrics)) == ("finished", end)
    for before, row in itertools.pairwise([{"epoch": 0, "step": 0, "sequences": 0}, *metrics]):
        trained = row["train_accuracy"] is not None
        assert row["epoch"] - before["epoch"] == trained
        assert (row["step"] > before["step"]) == (row["sequences"] > before["sequences"]) == trained
    best = position(find_checkpoint(folder.checkpoints, "last"))["extra"]["best"]
    longest = max(row["length"] for row in metrics if row["validation_accuracy"])
    assert best["length"] == find_best(metrics, config)["length"] == longest, "not one that broke"
    steps = max(row["length"] for row in metrics if row["train_loss"]) - 1
    assert main(["lstm", "predict", str(folder.path), "7" * (steps + 1)]) == 0
    assert capsys.readouterr().out.endswith(f"the network was trained on at most {steps} digits, got {steps + 1}\n")


# Early stopping


def test_early_stopping_ends_a_run_whose_best_weights_are_used_and_changes_nothing_before(
    folders: Callable[[str], RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, metrics, path = PATIENT, folders("patient").read_metrics(), folders("patient").path
    assert config.patience is not None
    assert 2 * config.patience < len(metrics) < config.epochs, "the run learns, and then it stops early"
    waited = [end - max(metrics[:end], key=rank)["epoch"] for end in range(1, len(metrics) + 1)]
    assert waited[-1] == config.patience > max(waited[:-1])
    other = train(replace(config, patience=None, epochs=len(metrics)), tmp_path / "run")
    assert [row | {"seconds": 0} for row in other.read_metrics()] == [row | {"seconds": 0} for row in metrics]
    assert load(other.path).checkpoint == "last"
    # The best checkpoint is the last one with the highest accuracy.
    accuracy = max(row["validation_accuracy"] for row in metrics)
    best_epoch = max(row["epoch"] for row in metrics if row["validation_accuracy"] == accuracy)
    assert best_epoch < len(metrics)
    best, last = load(path), load(path, checkpoint="last")
    assert (best.checkpoint, last.checkpoint) == ("best", "last")
    assert (best.step, last.step) == (metrics[best_epoch - 1]["step"], metrics[-1]["step"])
    assert main(["lstm", "train", "--resume", "--out", str(path), "--quiet", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["ended_by"], result["best"]["epoch"]) == ("patience", best_epoch)
    assert main(["lstm", "evaluate", str(path), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert (evaluated["checkpoint"], evaluated["results"][0]["accuracy"]) == ("best", accuracy)
