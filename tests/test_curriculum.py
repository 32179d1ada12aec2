"""Length curriculum: its lengths, the data of each length, thresholds, and resuming bit for bit."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reviver.cli import main
from reviver.data.tasks.build import build_task
from reviver.data.tasks.palindromes import Palindromes, PalindromeTask
from reviver.errors import Interrupted
from reviver.lstm.scoring import Score, score
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.settings.lstm import MIN_BATCH_SIZE, LSTMConfig
from reviver.settings.lstm_presets import PRESETS
from reviver.train.lstm import training
from reviver.train.lstm.stopping import completes_curriculum, rank
from reviver.train.lstm.training import build_network, train
from tests.test_lstm_training import at_step, crash, fingerprint, interrupt

CONFIG = LSTMConfig(
    curriculum=True,
    length=9,
    start_length=3,
    length_factor=1.5,
    threshold=0.3,
    encoding="onehot",
    hidden_size=16,
    data_size=400,
    batch_size=32,
    batch_steps=160,
    learning_rate=1e-2,
    epochs=40,
    checkpoint_every=3,
)
"""Lengths 3, 4, 7 and 9, with batches of 32, 32, 22 and 17."""


def rows(digits: Tensor) -> set[bytes]:
    return {bytes(row.tolist()) for row in digits}


@given(start=st.integers(2, 50), length=st.integers(2, 10**6), length_factor=st.floats(1.01, 100))
def test_lengths_increase_up_to_length(start: int, length: int, length_factor: float) -> None:
    lengths = LSTMConfig(curriculum=True, start_length=start, length=length, length_factor=length_factor).lengths
    assert lengths[0] == min(start, length)
    assert lengths[-1] == length
    assert list(lengths) == sorted(set(lengths))


def test_without_a_curriculum_there_is_one_length() -> None:
    config = LSTMConfig(length=100)
    assert config.lengths == (100,)
    assert config.batch_size_at(100) == config.batch_size


def test_long_sequences_have_smaller_batches_but_as_many() -> None:
    config = PRESETS["recall-100000"]
    batches = [-(-config.epoch_size_at(length) // config.batch_size_at(length)) for length in config.lengths]
    assert set(batches) == {16}
    assert config.batch_size_at(100_000) == MIN_BATCH_SIZE
    assert config.batch_size_at(10) == config.batch_size


@pytest.mark.parametrize("length", [2, 3, 4, 5, 8, 31, 60])
def test_an_epoch_has_fresh_palindromes_of_all_lengths_and_none_of_the_validation_set(length: int) -> None:
    task = PalindromeTask(override(CONFIG, {"length": 60, "batch_steps": 10**6}))
    data, other = task.training(0, length), task.training(1, length)
    validation = task.validation(length)
    assert len(data) == 320
    assert data.lengths is not None
    assert data.lengths.min() + 1 >= max(2, length // 2)
    assert data.lengths.max() == length - 1
    assert not torch.equal(data.digits(), other.digits())
    assert torch.equal(data.digits(), task.training(0, length).digits())
    held_out = rows(validation.digits())
    for digits, palindrome_length in zip(data.digits(), data.palindrome_lengths, strict=True):
        palindrome = digits[:palindrome_length]
        assert torch.equal(palindrome, palindrome.flip(0))
        assert not digits[palindrome_length:].any()
        assert palindrome_length < length or bytes(digits.tolist()) not in held_out


@given(begin=st.integers(0, 20), size=st.integers(0, 20), seed=st.integers(0, 100))
def test_encoding_a_range_of_steps_equals_that_range_of_the_whole(begin: int, size: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    halves = torch.randint(10, (5, 11), generator=rng, dtype=torch.uint8)
    for lengths in (None, torch.randint(2, 22, (5,), generator=rng)):
        data = Palindromes(halves, 21, lengths, "onehot")
        end = min(begin + size, data.steps)
        begin = min(begin, end)
        assert torch.equal(data.encode(begin, end), data.encode()[:, begin:end])
        assert torch.equal(data[1:3].encode(), data.encode()[1:3])


@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_score_does_not_depend_on_the_chunk_size(num_layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = override(CONFIG, {"num_layers": num_layers, "length": 50})
    task = PalindromeTask(config)
    network = build_network(config, task)
    data = task.validation(50)
    whole = score(network, data, task.target)
    monkeypatch.setattr("reviver.lstm.scoring.CHUNK_STEPS", 7 * len(data))
    chunked = score(network, data, task.target)
    assert chunked.loss == pytest.approx(whole.loss, rel=1e-6)
    assert chunked.accuracy == whole.accuracy


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = train(CONFIG, tmp_path_factory.mktemp("curriculum") / "run")
    return fingerprint(folder)


def test_a_length_ends_at_the_threshold_and_the_training_at_that_of_the_last_length(
    uninterrupted: dict[str, Any],
) -> None:
    metrics = uninterrupted["metrics"]
    assert list(dict.fromkeys(row["length"] for row in metrics)) == [3, 4, 7, 9]
    for row, after in itertools.pairwise(metrics):
        passed = row["validation_accuracy"] >= CONFIG.threshold
        assert (after["length"] > row["length"]) == passed
    assert metrics[-1]["length"] == 9
    assert metrics[-1]["validation_accuracy"] >= CONFIG.threshold
    assert len(metrics) < CONFIG.epochs
    assert uninterrupted["state"]["extra"]["best"]["step"] == max(metrics, key=rank)["step"]


def test_last_threshold_applies_to_the_last_length_only(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    config = override(CONFIG, {"last_threshold": 0.99})
    metrics = train(config, tmp_path / "run").read_metrics()
    earlier = [row for row in uninterrupted["metrics"] if row["length"] < 9]
    assert [row["validation_accuracy"] for row in metrics[: len(earlier)]] == [
        row["validation_accuracy"] for row in earlier
    ]
    assert all(row["validation_accuracy"] < 0.99 for row in metrics[:-1] if row["length"] == 9)
    assert metrics[-1]["validation_accuracy"] >= 0.99
    assert len(metrics) > len(uninterrupted["metrics"])


def below(accuracy: float) -> float:
    """Return the largest float below `accuracy`."""
    return math.nextafter(accuracy, 0.0)


@pytest.mark.parametrize(
    ("last_threshold", "accuracies", "lengths"),
    [
        # By hand, for lengths 3 and 4 and threshold 0.5: an accuracy that equals the threshold of its length ends it,
        # the next smaller float does not. Without last_threshold the threshold of length 4 is 0.5, too.
        (None, [below(0.5), 0.5, below(0.5), 0.5], [3, 3, 4, 4]),
        (0.75, [below(0.5), 0.5, 0.5, below(0.75), 0.75], [3, 3, 4, 4, 4]),
        (0.25, [0.25, below(0.5), 0.5, below(0.25), 0.25], [3, 3, 3, 4, 4]),
    ],
)
def test_each_length_ends_exactly_at_its_threshold(
    last_threshold: float | None,
    accuracies: list[float],
    lengths: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"length": 4, "threshold": 0.5, "last_threshold": last_threshold, "data_size": 20, "hidden_size": 2}
    config = override(CONFIG, changes)
    assert config.lengths == (3, 4)
    remaining = iter([*accuracies, 1.0, 1.0, 1.0])
    monkeypatch.setattr(training, "score", lambda *_: Score(loss=1.0, accuracy=next(remaining), size=4))
    metrics = train(config, tmp_path / "run").read_metrics()
    assert [(row["length"], row["validation_accuracy"]) for row in metrics] == list(
        zip(lengths, accuracies, strict=True)
    )


@pytest.mark.parametrize(
    ("last_threshold", "length", "accuracy", "expected"),
    [
        (None, 4, 0.5, True),
        (None, 4, below(0.5), False),
        (None, 3, 1.0, False),
        (0.75, 4, 0.75, True),
        (0.75, 4, below(0.75), False),
        (0.25, 4, 0.25, True),
        (0.25, 4, below(0.25), False),
    ],
)
def test_a_curriculum_is_complete_at_the_threshold_of_the_last_length(
    last_threshold: float | None, length: int, accuracy: float, expected: bool
) -> None:
    config = override(CONFIG, {"length": 4, "threshold": 0.5, "last_threshold": last_threshold})
    assert completes_curriculum(config, {"length": length, "validation_accuracy": accuracy}) == expected


@pytest.mark.parametrize(
    ("last_threshold", "threshold_max_length", "thresholds"),
    [
        # By hand, for lengths 3, 4, 7 and 9 and threshold 0.5.
        (None, 4, [0.5, 0.5, 0.5, 0.5]),
        (0.25, None, [0.5, 0.5, 0.5, 0.25]),
        (0.25, 2, [0.25, 0.25, 0.25, 0.25]),
        (0.25, 4, [0.5, 0.5, 0.25, 0.25]),
        (0.25, 5, [0.5, 0.5, 0.25, 0.25]),
        (0.75, 9, [0.5, 0.5, 0.5, 0.75]),
    ],
)
def test_lengths_beyond_a_maximum_have_the_last_threshold(
    last_threshold: float | None, threshold_max_length: int | None, thresholds: list[float]
) -> None:
    config = override(
        CONFIG, {"threshold": 0.5, "last_threshold": last_threshold, "threshold_max_length": threshold_max_length}
    )
    assert config.lengths == (3, 4, 7, 9)
    assert [config.threshold_at(length) for length in config.lengths] == thresholds


@pytest.mark.parametrize("step", [1, 7, 12, 25, 40])
def test_an_interrupted_run_resumes_at_its_length_bit_for_bit(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        at_step(patched, step, interrupt)
        with pytest.raises(Interrupted, match="SIGINT and saved"):
            train(CONFIG, out)
    train(CONFIG, out, resume=True)
    assert fingerprint(out) == uninterrupted


@pytest.mark.parametrize("step", [5, 33])
def test_a_crashed_run_resumes_bit_for_bit(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        at_step(patched, step, crash)
        with pytest.raises(MemoryError):
            train(CONFIG, out)
    train(CONFIG, out, resume=True)
    assert fingerprint(out) == uninterrupted


def test_the_epochs_may_end_before_the_last_length(tmp_path: Path) -> None:
    config = override(CONFIG, {"threshold": 1.0, "epochs": 2, "learning_rate": 1e-6})
    folder = train(config, tmp_path / "run")
    assert [row["length"] for row in folder.read_metrics()] == [3, 3]
    assert RunFolder.open(folder.path).status == "finished"


def test_a_curriculum_learns_a_length_that_training_at_that_length_does_not(tmp_path: Path) -> None:
    """The network of the report at T = 80: some ten epochs with a curriculum, near chance without."""
    config = override(PRESETS["recall"], {"length": 80, "epochs": 60, "jump_factor": None, "threshold": 0.995})
    metrics = train(config, tmp_path / "curriculum").read_metrics()
    assert metrics[-1]["length"] == 80
    assert metrics[-1]["validation_accuracy"] >= 0.995
    fixed = override(config, {"start_length": 80, "epochs": len(metrics)})
    assert train(fixed, tmp_path / "fixed").read_metrics()[-1]["validation_accuracy"] < 0.3


def test_every_preset_has_a_task() -> None:
    for preset in PRESETS.values():
        task = build_task(preset)
        assert task.input_size >= 1


@pytest.mark.parametrize(
    ("changes", "reached"),
    [
        ("--threshold 0.3 --learning-rate 1e-2", True),
        ("--threshold 1.0 --learning-rate 1e-6 --epochs 2", False),
    ],
)
def test_the_summary_reports_whether_the_last_length_passed(
    changes: str, reached: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--length 4 --curriculum --start-length 3 --encoding onehot --hidden-size 16 --data-size 400 --quiet"
    out = tmp_path / "run"
    assert main(["lstm", "train", *words.split(), *changes.split(), "--out", str(out)]) == 0
    last = RunFolder.open(out).read_metrics()[-1]
    end = "in validation passed" if reached else "in validation not passed; go on with --resume and more --epochs"
    assert f"length {last['length']} of 4: " in (text := capsys.readouterr().out)
    assert text.rstrip().endswith(end)
