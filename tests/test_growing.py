"""Growing lengths: which lengths there are, what is drawn at each, and that an interruption loses nothing."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reviver.cli import main
from reviver.config import override
from reviver.errors import Interrupted
from reviver.lstm.config import MIN_BATCH_SIZE, LSTMConfig
from reviver.lstm.presets import PRESETS
from reviver.lstm.tasks.build import build_task
from reviver.lstm.tasks.palindromes import Palindromes, PalindromeTask
from reviver.lstm.training import build_network, rank, score, train
from reviver.runs.folder import RunFolder
from tests.test_lstm_training import at_step, crash, fingerprint, interrupt

GROWING = LSTMConfig(
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
"""Lengths 3, 4, 7, 9, in batches of 32, 32, 22 and 17."""


def rows(digits: Tensor) -> set[bytes]:
    return {bytes(row.tolist()) for row in digits}


@given(start=st.integers(2, 50), length=st.integers(2, 10**6), length_factor=st.floats(1.01, 100))
def test_lengths_grow_to_the_last(start: int, length: int, length_factor: float) -> None:
    lengths = LSTMConfig(curriculum=True, start_length=start, length=length, length_factor=length_factor).lengths
    assert lengths[0] == min(start, length)
    assert lengths[-1] == length
    assert list(lengths) == sorted(set(lengths))


def test_a_fixed_length_is_the_only_one() -> None:
    config = LSTMConfig(length=100)
    assert config.lengths == (100,)
    assert config.batch_size_at(100) == config.batch_size


def test_long_sequences_come_in_smaller_batches_but_as_many() -> None:
    config = PRESETS["recall-100000"]
    batches = [-(-config.epoch_size_at(length) // config.batch_size_at(length)) for length in config.lengths]
    assert set(batches) == {25}
    assert config.batch_size_at(100_000) == MIN_BATCH_SIZE
    assert config.batch_size_at(10) == config.batch_size


@pytest.mark.parametrize("length", [2, 3, 4, 5, 8, 31, 60])
def test_an_epoch_draws_fresh_palindromes_of_its_range_and_none_of_the_validation_part(length: int) -> None:
    task = PalindromeTask(override(GROWING, {"length": 60, "batch_steps": 10**6}))
    data, other = task.training(0, length), task.training(1, length)
    validation = task.validation(length)
    assert len(data) == 320
    assert data.lengths is not None
    assert data.lengths.min() + 1 >= max(2, length // 2)
    assert data.lengths.max() == length - 1
    assert not torch.equal(data.digits(), other.digits())
    assert torch.equal(data.digits(), task.training(0, length).digits())
    held_out = rows(validation.digits())
    for row, whole_length in zip(data.digits(), data.whole_lengths, strict=True):
        palindrome = row[:whole_length]
        assert torch.equal(palindrome, palindrome.flip(0))
        assert not row[whole_length:].any()
        assert whole_length < length or bytes(row.tolist()) not in held_out


@given(begin=st.integers(0, 20), size=st.integers(0, 20), seed=st.integers(0, 100))
def test_a_piece_of_the_input_is_that_part_of_the_whole(begin: int, size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    halves = torch.randint(10, (5, 11), generator=generator, dtype=torch.uint8)
    for lengths in (None, torch.randint(2, 22, (5,), generator=generator)):
        data = Palindromes(halves, 21, lengths, "onehot")
        end = min(begin + size, data.steps)
        begin = min(begin, end)
        assert torch.equal(data.encode(begin, end), data.encode()[:, begin:end])
        assert torch.equal(data[1:3].encode(), data.encode()[1:3])


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_score_in_pieces_is_the_score(num_layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = override(GROWING, {"num_layers": num_layers, "length": 50})
    task = PalindromeTask(config)
    network = build_network(config, task)
    data = task.validation(50)
    whole = score(network, data, task.target)
    monkeypatch.setattr("reviver.lstm.training.EVALUATION_STEPS", 7 * len(data))
    pieces = score(network, data, task.target)
    assert pieces.loss == pytest.approx(whole.loss, rel=1e-6)
    assert pieces.accuracy == whole.accuracy


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = train(GROWING, tmp_path_factory.mktemp("growing") / "run")
    return fingerprint(folder)


def test_the_length_grows_when_the_threshold_is_passed_and_training_ends_at_the_last(
    uninterrupted: dict[str, Any],
) -> None:
    points = uninterrupted["metrics"]
    assert list(dict.fromkeys(point["length"] for point in points)) == [3, 4, 7, 9]
    for point, after in itertools.pairwise(points):
        passed = point["validation_accuracy"] >= GROWING.threshold
        assert (after["length"] > point["length"]) == passed
    assert points[-1]["length"] == 9
    assert points[-1]["validation_accuracy"] >= GROWING.threshold
    assert len(points) < GROWING.epochs
    assert uninterrupted["state"]["extra"]["best"]["step"] == max(points, key=rank)["step"]


def test_the_last_length_may_have_a_threshold_of_its_own(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    config = override(GROWING, {"last_threshold": 0.99})
    points = train(config, tmp_path / "run").read_metrics()
    common = [point for point in uninterrupted["metrics"] if point["length"] < 9]
    assert [point["validation_accuracy"] for point in points[: len(common)]] == [
        point["validation_accuracy"] for point in common
    ]
    assert all(point["validation_accuracy"] < 0.99 for point in points[:-1] if point["length"] == 9)
    assert points[-1]["validation_accuracy"] >= 0.99
    assert len(points) > len(uninterrupted["metrics"])


@pytest.mark.parametrize("step", [1, 7, 12, 25, 40])
def test_an_interrupted_run_resumes_at_its_length_to_the_same_bits(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        at_step(patched, step, interrupt)
        with pytest.raises(Interrupted, match="SIGINT and saved"):
            train(GROWING, out)
    train(GROWING, out, resume=True)
    assert fingerprint(out) == uninterrupted


@pytest.mark.parametrize("step", [5, 33])
def test_a_crashed_run_resumes_to_the_same_bits(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        at_step(patched, step, crash)
        with pytest.raises(MemoryError):
            train(GROWING, out)
    train(GROWING, out, resume=True)
    assert fingerprint(out) == uninterrupted


def test_a_limit_of_epochs_ends_a_run_below_its_length(tmp_path: Path) -> None:
    config = override(GROWING, {"threshold": 1.0, "epochs": 2, "learning_rate": 1e-6})
    folder = train(config, tmp_path / "run")
    assert [point["length"] for point in folder.read_metrics()] == [3, 3]
    assert RunFolder.open(folder.path).status == "finished"


def test_growing_reaches_what_a_fixed_length_does_not(tmp_path: Path) -> None:
    """The report's network at T = 80: solved in some ten epochs while growing, near chance without."""
    growing = override(PRESETS["recall"], {"length": 80, "epochs": 60})
    points = train(growing, tmp_path / "growing").read_metrics()
    assert points[-1]["length"] == 80
    assert points[-1]["validation_accuracy"] >= 0.995
    fixed = override(growing, {"start_length": 80, "epochs": len(points)})
    assert train(fixed, tmp_path / "fixed").read_metrics()[-1]["validation_accuracy"] < 0.3


def test_every_growing_preset_has_a_task() -> None:
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
def test_the_summary_says_whether_the_length_was_passed(
    changes: str, reached: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--length 4 --curriculum --start-length 3 --encoding onehot --hidden-size 16 --data-size 400 --quiet"
    out = tmp_path / "run"
    assert main(["lstm", "train", *words.split(), *changes.split(), "--out", str(out)]) == 0
    last = RunFolder.open(out).read_metrics()[-1]
    end = "in validation passed" if reached else "in validation not passed; go on with --resume and more --epochs"
    assert f"length {last['length']} of 4, " in (text := capsys.readouterr().out)
    assert text.rstrip().endswith(end)
