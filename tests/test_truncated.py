"""Truncated backpropagation through time: segments, carried states, lost digits, and resuming bit for bit."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reviver.data.tasks.palindromes import Palindromes, half_length
from reviver.errors import ConfigError, Interrupted
from reviver.lstm.classifier import LSTMClassifier
from reviver.runs.distributed.world import World
from reviver.settings.fields import override
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm import training
from reviver.train.lstm.parallel import check_batch_sizes
from reviver.train.lstm.training import train, train_step, truncated_step
from reviver.train.lstm.truncated import LOST, CarriedBatch, Segment, truncated_loss
from tests.test_lstm_training import fingerprint, interrupt

CONFIG = LSTMConfig(
    curriculum=True,
    length=40,
    start_length=5,
    bptt_steps=8,
    encoding="onehot",
    hidden_size=16,
    hidden_dropout=0.1,
    threshold=0.9,
    data_size=700,
    batch_size=32,
    learning_rate=1e-2,
    max_norm=1.0,
    epochs=60,
    checkpoint_every=3,
)
CPU = torch.device("cpu")


def palindromes(size: int, length: int, *, equal: bool = False, encoding: str = "scalar") -> Palindromes:
    rng = torch.Generator().manual_seed(size * 1000 + length)
    halves = torch.randint(10, (size, half_length(length)), dtype=torch.uint8, generator=rng)
    lengths = None if equal else torch.randint(2, length + 1, (size,), generator=rng)
    return Palindromes(halves, length, lengths, encoding)


def carried_batch(length: int, steps: int, size: int, encoding: str = "scalar") -> CarriedBatch:
    settings = {"length": length, "bptt_steps": steps, "batch_size": size, "encoding": encoding, "start_length": 2}
    return CarriedBatch(override(CONFIG, settings), CPU)


def certain(segment: Segment) -> Tensor:
    """Return logits with which no digit is lost."""
    return 50.0 * torch.nn.functional.one_hot(segment.targets, 10)


@given(length=st.integers(2, 60), steps=st.integers(1, 70), encoding=st.sampled_from(["scalar", "onehot"]))
def test_the_segments_of_a_palindrome_are_its_steps(length: int, steps: int, encoding: str) -> None:
    data = palindromes(5, length, encoding=encoding)
    batch, rng = carried_batch(length, steps, 5, encoding), torch.Generator().manual_seed(0)
    batch.start(data)
    read: list[list[Tensor]] = [[] for _ in range(5)]
    while batch.remaining.any():
        segment = batch.segment(rng)
        assert segment.lengths.max() <= steps
        assert torch.equal(segment.targets, data.targets)
        for row, (x, count) in enumerate(zip(segment.x, segment.lengths, strict=True)):
            read[row].append(x[:count])
        batch.carry(segment, segment.state, certain(segment))
    assert data.lengths is not None
    for row, x in enumerate(data.encode()):
        assert torch.equal(torch.cat(read[row]), x[: data.lengths[row]])


def test_the_states_after_the_segments_are_those_of_whole_palindromes() -> None:
    network = LSTMClassifier(1, 16, 10).eval()
    data = palindromes(6, 50, equal=True)
    batch, rng = carried_batch(50, 7, 6), torch.Generator().manual_seed(0)
    batch = CarriedBatch(override(batch.config, {"hidden_size": 16}), CPU)
    batch.start(data)
    h, c = torch.zeros(1, 6, 16), torch.zeros(1, 6, 16)
    while batch.remaining.any():
        active = batch.remaining > 0
        segment = batch.segment(rng)
        # a palindrome that has ended waits here, with one padded step that does not count
        lengths = segment.lengths.clamp(min=1)
        _, _, state = truncated_loss(network, segment._replace(lengths=lengths))
        h[:, active], c[:, active] = state[0][:, active], state[1][:, active]
        batch.carry(segment, state, certain(segment))
    _, expected = network.lstm(data.encode())
    torch.testing.assert_close((h, c), expected)


def test_without_truncation_an_update_is_that_of_whole_sequences_bit_for_bit() -> None:
    data = palindromes(32, 9)
    weights = []
    for truncated in (False, True):
        network = LSTMClassifier(1, 16, 10, hidden_dropout=0.5).train()
        network.reset_parameters(torch.Generator().manual_seed(0))
        optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-2)
        rng = torch.Generator().manual_seed(1)
        if truncated:
            batch = carried_batch(9, 8, 32)
            result = truncated_step(
                network, optimizer, batch, data, max_norm=1.0, segment_rng=torch.Generator().manual_seed(2), rng=rng
            )
        else:
            result = train_step(network, optimizer, data.encode(), data.targets, data.lengths, max_norm=1.0, rng=rng)
        weights.append([*(parameter.detach() for parameter in network.parameters()), result.loss, result.correct])
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


def test_the_gradient_ends_at_the_start_of_a_segment() -> None:
    network = LSTMClassifier(1, 16, 10)
    batch = carried_batch(50, 7, 6)
    batch.start(palindromes(6, 50, equal=True))
    segment = batch.segment(torch.Generator().manual_seed(0))
    _, logits, state = truncated_loss(network, segment)
    batch.carry(segment, state, logits)
    assert not batch.h.requires_grad
    assert not logits.requires_grad
    assert batch.h.abs().sum() > 0


def test_a_lost_digit_and_an_ended_palindrome_are_replaced() -> None:
    batch = carried_batch(50, 10, 4)
    batch.start(palindromes(4, 50, equal=True))
    batch.remaining[2] = 4  # this one ends in the next segment
    segment = batch.segment(torch.Generator().manual_seed(0))
    before = batch.halves.clone()
    probabilities = torch.full((4, 10), 0.01)
    probabilities[torch.arange(4), segment.targets] = torch.tensor([0.9, LOST - 0.01, 0.9, LOST + 0.01])
    state = torch.ones_like(batch.h), torch.ones_like(batch.c)
    others = (1 - probabilities[torch.arange(4), segment.targets]) / 9
    for row, target in enumerate(segment.targets):
        probabilities[row, torch.arange(10) != target] = others[row]
    batch.carry(segment, state, probabilities.log())
    fresh = palindromes(3, 44, equal=True)  # fewer than B: repeated
    batch.start(fresh)
    assert torch.equal(batch.halves[[0, 3]], before[[0, 3]])
    assert torch.equal(batch.halves[[1, 2], :22], fresh.halves[[1, 2]])
    assert batch.remaining[[1, 2]].tolist() == [43, 43]
    assert batch.h[0].sum(1).tolist() == [16, 0, 0, 16]
    assert batch.take_started() == 6
    assert batch.take_started() == 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return fingerprint(train(CONFIG, tmp_path_factory.mktemp("truncated") / "run"))


def test_it_learns_to_hold_a_digit_over_more_steps_than_the_gradient_reaches(uninterrupted: dict[str, Any]) -> None:
    last = uninterrupted["metrics"][-1]
    assert last["length"] == CONFIG.length > 4 * (CONFIG.bptt_steps or 0)
    assert last["validation_accuracy"] >= CONFIG.threshold
    assert last["sequences"] < last["step"] * CONFIG.batch_size


def test_an_interrupted_run_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    out, calls = tmp_path / "run", 0
    last_step = uninterrupted["metrics"][-1]["step"]

    def counting(network: LSTMClassifier, *arguments: Any, **keywords: Any) -> training.StepResult:
        nonlocal calls
        calls += 1
        if calls == last_step - 7:  # in the middle of an epoch, with carried states
            interrupt(network)
        return truncated_step(network, *arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(training, "truncated_step", counting)
        with pytest.raises(Interrupted, match="SIGINT and saved"):
            train(CONFIG, out)
    train(CONFIG, out, resume=True)
    assert fingerprint(out) == uninterrupted


@pytest.mark.parametrize(
    "changes",
    [
        {"curriculum": False},
        {"task": "copy"},
        {"cell": "rnn", "hidden_dropout": 0.5},
        {"bidirectional": True},
        {"pooling": "mean"},
        {"patch_size": 2},
    ],
)
def test_settings_without_a_state_to_carry_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="bptt_steps must be none"):
        dataclasses.replace(CONFIG, **changes)


def test_several_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="bptt_steps must be none with 2 processes, got 8"):
        check_batch_sizes(CONFIG, World(0, 2))
