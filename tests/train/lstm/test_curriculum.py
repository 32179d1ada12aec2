"""Length curriculum: thresholds, jumps, truncated backpropagation, early stopping, and the ends of runs."""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reviver import load
from reviver.cli import main
from reviver.data.describe import SequenceData
from reviver.data.tasks.build import build_task
from reviver.explorer.facts import lstm_facts
from reviver.lstm.scoring import Score
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_presets import PRESETS
from reviver.show.export.cards import lstm_card
from reviver.train.lstm import curriculum, training
from reviver.train.lstm.curriculum import Stage
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.stopping import completes_curriculum, end_reason, find_best, rank
from reviver.train.lstm.training import train
from tests.lstm_runs import CURRICULUM, JUMPING, PATIENT

Folders = Callable[[str], RunFolder]


# Thresholds


def test_a_length_ends_at_the_threshold_and_the_training_at_that_of_the_last_length(folders: Folders) -> None:
    metrics = folders("curriculum").read_metrics()
    assert list(dict.fromkeys(row["length"] for row in metrics)) == [3, 4, 7, 9]
    for row, after in itertools.pairwise(metrics):
        assert (after["length"] > row["length"]) == (row["validation_accuracy"] >= CURRICULUM.threshold)
    assert metrics[-1]["validation_accuracy"] >= CURRICULUM.threshold
    assert len(metrics) < CURRICULUM.epochs
    assert load(folders("curriculum").path, checkpoint="best").step == max(metrics, key=rank)["step"]


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
    last_threshold: float | None,
    accuracies: list[float],
    lengths: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"length": 4, "threshold": 0.5, "data_size": 20, "hidden_size": 2}
    changed = replace(CURRICULUM, **values, last_threshold=last_threshold)
    assert changed.lengths == (3, 4)
    remaining = iter([*accuracies, 1.0, 1.0, 1.0])
    monkeypatch.setattr(training, "score", lambda *_: Score(loss=1.0, accuracy=next(remaining), size=4))
    metrics = train(changed, tmp_path / "run").read_metrics()
    found = [(row["length"], row["validation_accuracy"]) for row in metrics]
    assert found == list(zip(lengths, accuracies, strict=True))
    complete = [completes_curriculum(changed, row) for row in metrics]
    assert complete == [False] * (len(metrics) - 1) + [True]


def test_a_curriculum_learns_a_length_that_training_at_that_length_does_not(tmp_path: Path) -> None:
    """The network of the report: a few epochs with a curriculum, near chance without."""
    values = {"length": 40, "epochs": 60, "threshold": 0.97, "learning_rate": 1e-2, "data_size": 2000}
    config = replace(PRESETS["recall"], **values, jump_factor=None, last_threshold=None)
    metrics = train(config, tmp_path / "curriculum").read_metrics()
    assert metrics[-1]["length"] == 40
    assert metrics[-1]["validation_accuracy"] >= 0.97
    fixed = replace(config, start_length=40, epochs=len(metrics))
    assert train(fixed, tmp_path / "fixed").read_metrics()[-1]["validation_accuracy"] < 0.3


@pytest.mark.parametrize(
    ("options", "end"),
    [
        ("--threshold 0.3 --epochs 9", "length 4 of 4: passed, with a validation accuracy of at least 30.0%\n"),
        ("--threshold 1.0 --epochs 2 --learning-rate 1e-6", "go on with --resume and more --epochs\n"),
    ],
)
def test_the_summary_says_how_far_a_run_came(
    options: str, end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--curriculum --length 4 --start-length 3 --encoding onehot --hidden-size 16 --data-size 400 --quiet"
    options = f"--learning-rate 1e-2 {options}" if "rate" not in options else options
    assert main(["lstm", "train", *words.split(), *options.split(), "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.endswith(end)


# Jumps


def walk(config: LSTMConfig, holds: Sequence[int]) -> Iterator[tuple[Stage, bool]]:
    """Yield what a run does and whether that passes; its network holds `holds[k]` lengths after k epochs, at most the last."""
    position: dict[str, Any] = {**curriculum.start(config)}
    epochs = 0
    while position["stage"] < len(config.lengths):
        stage = curriculum.next_stage(config, position)
        epochs += stage.trains
        passed = stage.number < holds[min(epochs, len(holds) - 1)]
        yield stage, passed
        curriculum.advance(position, stage, passed=passed)


@pytest.mark.parametrize(
    ("jump", "holds", "path"),
    [
        # By hand, for 7 lengths and jumps of 3 or 1: t trains, v validates only, and the number is the index of the length.
        (10.0, [0, 7], "t0 v3 v6"),
        (10.0, [0, 3, 7], "t0 v3 v2 t3 v6"),
        (10.0, [0, 2, 7], "t0 v3 v2 v1 t2 v5 v6"),
        (10.0, [0, 1, 1, 2, 5, 7], "t0 v3 v2 v1 t1 t1 v4 v3 v2 t2 v5 v4 t5 v6"),
        (10.0, [0, 4, 6, 7], "t0 v3 v6 v5 v4 t4 v6 v5 t6"),
        (1.1, [0, 2, 7], "t0 v1 v2 t2 v3 v4 v5 v6"),
    ],
)
def test_a_run_trains_only_at_the_shortest_length_that_breaks(jump: float, holds: list[int], path: str) -> None:
    config = LSTMConfig(curriculum=True, length=1000, length_factor=2.15444, jump_factor=jump)
    assert len(config.lengths) == 7
    assert " ".join(f"{'t' if stage.trains else 'v'}{stage.number}" for stage, _ in walk(config, holds)) == path


@pytest.mark.parametrize(
    ("accuracies", "epochs", "lengths", "end"),
    [
        ([1.0] * 4, 60, [3, 10, 34, 40], "threshold"),  # a network that holds every length jumps to the end
        ([1.0, 1.0, 0.0, 0.0, 1.0], 1, [3, 10, 34, 23, 15], "epochs"),  # the last epoch is followed by the validations
    ],
)
def test_lengths_that_were_only_validated_end_a_run(
    accuracies: list[float],
    epochs: int,
    lengths: list[int],
    end: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = iter(accuracies)
    monkeypatch.setattr(training, "score", lambda *_: Score(loss=0.25, accuracy=next(found, 0.0), size=80))
    config = replace(JUMPING, epochs=epochs)
    folder = train(config, tmp_path / "run")
    metrics = folder.read_metrics()
    assert [(row["length"], row["train_loss"] is not None) for row in metrics] == [
        (length, length == 3) for length in lengths
    ]
    assert metrics[-1]["sequences"] == config.epoch_size_at(3)
    assert (folder.status, end_reason(config, metrics)) == ("finished", end)
    state = json.loads((find_checkpoint(folder.checkpoints, "last") / "state.json").read_text())
    assert state["extra"]["best"]["length"] == lengths[-1], "the longest that passed, not one that broke"


def test_every_length_that_was_evaluated_has_a_record(folders: Folders) -> None:
    metrics = folders("jumping").read_metrics()
    assert any(row["train_loss"] is None for row in metrics)
    assert metrics[-1]["length"] == 40
    task = build_task(JUMPING)
    for before, row in itertools.pairwise([{"epoch": 0, "step": 0, "sequences": 0}, *metrics]):
        assert row["validation_sequences"] == len(task.validation(row["length"]))
        assert 0 <= row["validation_accuracy"] <= 1
        trained = row["train_loss"] is not None
        assert (row["train_accuracy"] is not None) == trained
        assert row["epoch"] - before["epoch"] == trained
        assert (row["step"] > before["step"]) == (row["sequences"] > before["sequences"]) == trained
    # The best checkpoint is not of a length that broke.
    assert find_best(metrics, JUMPING) == metrics[-1]
    broke = next(n for n, row in enumerate(metrics) if row["train_loss"] is None and row["validation_accuracy"] < 0.5)
    assert find_best(metrics[: broke + 1], JUMPING) in metrics[:broke]


def test_the_explorer_and_the_model_card_say_at_which_length_the_run_was_validated(folders: Folders) -> None:
    run = load(folders("jumping").path)
    assert isinstance(run, LSTMRun)
    data, last = SequenceData.of_task(run.config, run.task), run.metrics[-1]
    note = "length 40" if last["train_loss"] else "length 40, at which the network was validated, but not trained"
    for text in (lstm_facts(run, data, []).scores_note, lstm_card(run, data)):
        assert f"Measured after epoch {last['epoch']} in one run" in text
        assert f"The sequences have {note}." in text


# Early stopping


def test_early_stopping_ends_a_run_whose_best_weights_are_used_and_changes_nothing_before(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    by_default, best, last = (load(path, checkpoint=name) for name in (None, "best", "last"))
    assert (by_default.checkpoint, best.checkpoint, last.checkpoint) == ("best", "best", "last")
    assert by_default.step == best.step == metrics[best_epoch - 1]["step"]
    weights = [run.network.state_dict() for run in (by_default, best, last)]  # type: ignore[union-attr]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
    assert not all(weights[0][name].equal(weights[2][name]) for name in weights[0])
    words = "--length 3 --encoding onehot --hidden-size 8 --epochs 60 --patience 3 --batch-size 16 --checkpoint-every 4"
    words += f" --learning-rate 0.1 --resume --quiet --out {path}"
    assert main(["lstm", "train", *words.split()]) == 0
    assert "stopped early, after 3 epochs without improvement" in capsys.readouterr().out
    assert main(["lstm", "train", *words.split(), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["ended_by"], result["best"]["epoch"]) == ("patience", best_epoch)
    assert main(["lstm", "evaluate", str(path), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert (evaluated["checkpoint"], evaluated["results"][0]["accuracy"]) == ("best", accuracy)


def test_the_setting_that_ended_a_run() -> None:
    found = [{"epoch": k, "length": 3, "validation_accuracy": 0.5, "validation_loss": abs(k - 3)} for k in range(1, 5)]
    lengths = LSTMConfig(curriculum=True, length=3, start_length=2)
    assert end_reason(LSTMConfig(epochs=4), found) == "epochs"
    assert end_reason(LSTMConfig(epochs=4, patience=2), found) == "epochs"
    assert end_reason(LSTMConfig(epochs=9, patience=1), found) == "patience"
    assert end_reason(lengths, found) == "epochs"
    assert end_reason(lengths, [{**found[0], "validation_accuracy": 1.0}]) == "threshold"
