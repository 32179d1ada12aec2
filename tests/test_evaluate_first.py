"""A length curriculum that validates before it trains: its path, its records, and resuming bit for bit."""

import itertools
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver import load
from reviver.cli import main
from reviver.data.describe import SequenceData
from reviver.data.tasks.build import build_task
from reviver.errors import Interrupted
from reviver.explorer.lstm_facts import score_rows
from reviver.lstm import scoring
from reviver.lstm.scoring import Score, score
from reviver.runs.folder import RunFolder
from reviver.runs.schema import CurriculumMetrics, metric_names
from reviver.settings.fields import override
from reviver.settings.lstm import LSTMConfig
from reviver.show.export.lstm_card import lstm_card
from reviver.train.lstm import curriculum, training
from reviver.train.lstm.curriculum import Stage
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.stopping import end_reason, find_best
from reviver.train.lstm.training import build_network, train
from tests.test_curriculum import CONFIG
from tests.test_lstm_training import at_step, crash, fingerprint, interrupt

JUMPING = override(CONFIG, {"length": 40, "jump_factor": 4.0, "threshold": 0.5, "epochs": 60})
"""Lengths 3, 4, 7, 10, 15, 23, 34 and 40; a jump goes on three lengths."""


def walk(config: LSTMConfig, holds: Sequence[int]) -> Iterator[tuple[Stage, bool]]:
    """Yield what a run does and whether that passes.

    Args:
        config: settings of the run.
        holds: number of lengths that the network holds after 0, 1, 2, ... epochs; then it is the last of them.
    """
    position: dict[str, Any] = {**curriculum.start(config)}
    epochs = 0
    count = len(config.lengths)
    while position["stage"] < count:
        stage = curriculum.next_stage(config, position)
        epochs += stage.trains
        passed = stage.number < holds[min(epochs, len(holds) - 1)]
        yield stage, passed
        curriculum.advance(position, stage, passed=passed)


@given(
    holds=st.lists(st.integers(0, 12), max_size=12),
    length=st.integers(20, 10**4),
    length_factor=st.floats(1.7, 4),
    jump_factor=st.floats(1.01, 1000),
)
def test_a_run_trains_only_at_the_shortest_length_that_breaks(
    holds: list[int], length: int, length_factor: float, jump_factor: float
) -> None:
    changes = {"length": length, "length_factor": length_factor, "jump_factor": jump_factor, "start_length": 10}
    config = LSTMConfig(curriculum=True, **changes)  # type: ignore[arg-type]
    holds = [0, *itertools.accumulate(holds, max), 10**9]  # it never forgets, and holds all lengths at last
    steps = list(walk(config, holds))
    assert steps[0][0] == Stage(0, trains=True)
    epochs, longest = 0, -1  # the longest length that has passed
    for (stage, passed), following in itertools.zip_longest(steps, steps[1:]):
        known = holds[epochs]  # before an epoch
        epochs += stage.trains
        if stage.trains:
            assert stage.number == longest + 1
            assert stage.number >= known
        else:
            assert longest < stage.number <= longest + curriculum.jump_size(config)
        if passed:
            longest = stage.number
        elif following is not None and stage.trains:
            assert following[0] == stage  # another epoch at the same length
    assert longest == len(config.lengths) - 1


@pytest.mark.parametrize(
    ("holds", "path"),
    [
        # By hand, for 7 lengths and jumps of 3: t trains, v validates only, and the number is the index of the length.
        ([0, 7], "t0 v3 v6"),
        ([0, 3, 7], "t0 v3 v2 t3 v6"),
        ([0, 2, 7], "t0 v3 v2 v1 t2 v5 v6"),
        ([0, 1, 1, 2, 5, 7], "t0 v3 v2 v1 t1 t1 v4 v3 v2 t2 v5 v4 t5 v6"),
        ([0, 4, 6, 7], "t0 v3 v6 v5 v4 t4 v6 v5 t6"),
    ],
)
def test_the_path_of_a_run(holds: list[int], path: str) -> None:
    config = LSTMConfig(curriculum=True, length=1000, length_factor=2.15444, jump_factor=10.0)
    assert len(config.lengths) == 7
    steps = [f"{'t' if stage.trains else 'v'}{stage.number}" for stage, _ in walk(config, holds)]
    assert " ".join(steps) == path


def test_a_jump_is_at_least_one_length() -> None:
    config = LSTMConfig(curriculum=True, length=1000, length_factor=5.0, jump_factor=2.0)
    assert curriculum.jump_size(config) == 1


def test_a_network_that_holds_every_length_jumps_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "score", lambda *_: Score(loss=0.25, accuracy=1.0, size=80))
    folder = train(JUMPING, tmp_path / "run")
    lengths = [(row["length"], row["train_loss"] is not None) for row in folder.read_metrics()]
    assert lengths == [(3, True), (10, False), (34, False), (40, False)]
    assert folder.read_metrics()[-1]["sequences"] == JUMPING.epoch_size_at(3)
    assert (folder.status, end_reason(JUMPING, folder.read_metrics())) == ("finished", "threshold")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(JUMPING, tmp_path_factory.mktemp("jumping") / "run").path


def test_every_length_that_was_evaluated_has_a_record(uninterrupted: Path) -> None:
    metrics = RunFolder.open(uninterrupted).read_metrics()
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


def test_the_best_checkpoint_is_not_of_a_length_that_broke(uninterrupted: Path) -> None:
    metrics = RunFolder.open(uninterrupted).read_metrics()
    assert find_best(metrics, JUMPING) == metrics[-1]
    broke = next(n for n, row in enumerate(metrics) if row["train_loss"] is None and row["validation_accuracy"] < 0.5)
    assert find_best(metrics[: broke + 1], JUMPING) in metrics[:broke]


def interrupt_at_chunk(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Send SIGINT before a chunk of the validations without training, counted from 1."""
    chunks = itertools.count(1)

    def interrupting(*arguments: Any) -> Score:
        *others, report = arguments

        def counting(done: float) -> None:
            if next(chunks) == chunk:
                os.kill(os.getpid(), signal.SIGINT)
            report(done)

        return score(*others, counting if report else None)

    monkeypatch.setattr(training, "score", interrupting)


@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_a_run_resumes_in_the_middle_of_a_validation_bit_for_bit(
    chunk: int, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "CHUNK_STEPS", 1000)  # several chunks each
        interrupt_at_chunk(patched, chunk)
        with pytest.raises(Interrupted, match="SIGINT and saved"):
            train(JUMPING, out)
    train(JUMPING, out, resume=True)
    assert fingerprint(out) == fingerprint(uninterrupted)


@pytest.mark.parametrize(("step", "action"), [(7, interrupt), (23, interrupt), (31, crash)])
def test_a_run_resumes_in_the_middle_of_an_epoch_bit_for_bit(
    step: int, action: Any, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        at_step(patched, step, action)
        with pytest.raises((Interrupted, MemoryError)):
            train(JUMPING, out)
    train(JUMPING, out, resume=True)
    assert fingerprint(out) == fingerprint(uninterrupted)


def test_the_last_epoch_is_followed_by_the_validations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = iter([1.0, 1.0, 0.0, 0.0, 1.0])
    monkeypatch.setattr(training, "score", lambda *_: Score(loss=0.25, accuracy=next(accuracies, 0.0), size=80))
    config = override(JUMPING, {"epochs": 1})
    metrics = train(config, tmp_path / "run").read_metrics()
    assert [row["length"] for row in metrics] == [3, 10, 34, 23, 15]
    assert end_reason(config, metrics) == "epochs"


@pytest.mark.parametrize("task", ["palindrome", "parity", "temporal-order"])
def test_chunks_have_the_score_of_the_whole_sequences_bit_for_bit(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = LSTMConfig(task=task, length=50, encoding="onehot", hidden_size=16, data_size=200)  # type: ignore[arg-type]
    built = build_task(config)
    network, data = build_network(config, built), built.validation(50)
    scores = []
    for steps in (1, 7, 50):
        monkeypatch.setattr(scoring, "CHUNK_STEPS", steps * len(data))
        scores.append(score(network, data, built.target))
    assert scores[0] == scores[1] == scores[2]


def test_a_score_reports_how_far_it_is() -> None:
    config = override(JUMPING, {"length": 4000, "data_size": 400})
    task = build_task(config)
    reports: list[float] = []
    score(build_network(config, task), task.validation(4000), task.target, report=reports.append)
    assert len(reports) == pytest.approx(80 * 4000 / scoring.CHUNK_STEPS, abs=1)
    assert reports == sorted(reports)
    assert (reports[0], reports[-1] < 1) == (0.0, True)


def test_the_number_of_validation_sequences_does_not_compare_runs() -> None:
    record = {"kind": "lstm", "config": {"curriculum": True}}
    names = metric_names(record, ["metrics"])
    assert "validation_accuracy" in names
    assert set(CurriculumMetrics.model_fields) - set(names) == {
        "step",
        "epoch",
        "sequences",
        "length",
        "validation_sequences",
        "seconds",
    }


def test_the_summary_has_the_last_length_and_that_of_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--length 40 --curriculum --start-length 3 --encoding onehot --hidden-size 16 --data-size 400 --quiet"
    changes = "--jump-factor 100 --threshold 0.01 --epochs 3"
    assert main(["lstm", "train", *words.split(), *changes.split(), "--out", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert "with dropout, length 3\n" in text
    assert text.rstrip().endswith("length 40 of 40: accuracy of 1.0% in validation passed")


def test_the_explorer_and_the_model_card_say_at_which_length_the_run_was_validated(uninterrupted: Path) -> None:
    run = load(uninterrupted)
    assert isinstance(run, LSTMRun)
    last = run.metrics[-1]
    data = SequenceData.of_task(run.config, run.task)
    rows, note = score_rows(run, data)
    trained = last["train_loss"] is not None
    assert len(rows) == (4 if trained else 2)
    assert ("length 40, at which the network was validated, but not trained" in note) != trained
    assert f"Measured after epoch {last['epoch']} on sequences of length 40, in one run" in lstm_card(run, data)
