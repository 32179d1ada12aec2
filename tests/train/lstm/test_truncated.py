"""Truncated backpropagation through time: segments, carried states, and lost digits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reviver.data.tasks.palindromes import Palindromes, half_length
from reviver.errors import ConfigError
from reviver.lstm.classifier import LSTMClassifier
from reviver.runs.distributed.world import World
from reviver.runs.folder import RunFolder
from reviver.settings.fields import override
from reviver.train.lstm.training import check_batch_sizes, train_step, truncated_step
from reviver.train.lstm.truncated import LOST, CarriedBatch, Segment
from tests.lstm_runs import CURRICULUM, TRUNCATED


def palindromes(size: int, length: int, *, equal: bool = False, encoding: str = "scalar") -> Palindromes:
    rng = torch.Generator().manual_seed(size * 1000 + length)
    halves = torch.randint(10, (size, half_length(length)), dtype=torch.uint8, generator=rng)
    lengths = None if equal else torch.randint(2, length + 1, (size,), generator=rng)
    return Palindromes(halves, length, lengths, encoding)


def carried_batch(length: int, steps: int, size: int, encoding: Any = "scalar") -> CarriedBatch:
    changes = {"length": length, "bptt_steps": steps, "batch_size": size, "encoding": encoding, "start_length": 2}
    return CarriedBatch(override(CURRICULUM, changes), torch.device("cpu"))


def certain(segment: Segment) -> Tensor:
    """Return logits with which no digit is lost."""
    return 50.0 * torch.nn.functional.one_hot(segment.targets, 10)


@given(length=st.integers(2, 60), steps=st.integers(1, 70), encoding=st.sampled_from(["scalar", "onehot"]))
def test_the_segments_of_a_palindrome_are_its_steps(length: int, steps: int, encoding: str) -> None:
    data = palindromes(5, length, encoding=encoding)
    assert data.lengths is not None
    batch, rng = carried_batch(length, steps, 5, encoding), torch.Generator().manual_seed(0)
    batch.start(data)
    read: list[list[Tensor]] = [[] for _ in range(5)]
    while batch.remaining.any():
        whole = data.lengths <= steps
        half = torch.minimum(batch.remaining, torch.tensor((steps + 1) // 2))
        segment = batch.segment(rng)
        assert segment.lengths.max() <= steps
        assert (segment.lengths >= torch.where(whole, batch.remaining, half)).all()
        assert torch.equal(segment.targets, data.targets)
        for row, (x, count) in enumerate(zip(segment.x, segment.lengths, strict=True)):
            read[row].append(x[:count])
        batch.carry(segment, segment.state, certain(segment))
    for row, x in enumerate(data.encode()):
        assert torch.equal(torch.cat(read[row]), x[: data.lengths[row]])


def test_the_states_after_the_segments_are_those_of_whole_palindromes() -> None:
    network = LSTMClassifier(1, 16, 10)
    data, batch = palindromes(6, 50, equal=True), carried_batch(50, 7, 6)
    frozen = torch.optim.SGD(network.parameters(), lr=0.0)
    rng = torch.Generator().manual_seed(0)
    batch.start(data)
    h, c = torch.zeros(1, 6, 16), torch.zeros(1, 6, 16)
    while batch.remaining.any():
        active = batch.remaining > 0
        segment = batch.segment(rng)
        # a palindrome that has ended waits here, with one padded step that does not count
        _, state = network.lstm(segment.x, segment.state, segment.lengths.clamp(min=1))
        h[:, active], c[:, active] = state[0][:, active].detach(), state[1][:, active].detach()
        batch.carry(segment, (state[0].detach(), state[1].detach()), certain(segment))
    torch.testing.assert_close((h, c), tuple(part.detach() for part in network.lstm(data.encode())[1]))
    fresh = carried_batch(50, 7, 6)
    truncated_step(network, frozen, fresh, data, max_norm=1.0, segment_rng=torch.Generator().manual_seed(0))
    assert not fresh.h.requires_grad, "the gradient ends at the start of a segment"
    assert fresh.h.abs().sum() > 0


def test_without_truncation_an_update_is_that_of_whole_sequences_bit_for_bit() -> None:
    data = palindromes(32, 9)
    results = []
    for truncated in (False, True):
        network = LSTMClassifier(1, 16, 10, hidden_dropout=0.5).train()
        network.reset_parameters(torch.Generator().manual_seed(0))
        optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-2)
        rngs = {"rng": torch.Generator().manual_seed(1)}
        if truncated:
            rngs["segment_rng"] = torch.Generator().manual_seed(2)
            result = truncated_step(network, optimizer, carried_batch(9, 8, 32), data, max_norm=0.1, **rngs)
        else:
            result = train_step(network, optimizer, data.encode(), data.targets, data.lengths, max_norm=0.1, **rngs)
        results.append([*(parameter.detach() for parameter in network.parameters()), result.loss, result.correct])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_a_lost_digit_and_an_ended_palindrome_are_replaced() -> None:
    batch = carried_batch(50, 10, 4)
    batch.start(palindromes(4, 50, equal=True))
    batch.remaining[2] = 4  # this one ends in the next segment
    segment = batch.segment(torch.Generator().manual_seed(0))
    before = batch.halves.clone()
    confidence = torch.tensor([0.9, LOST - 0.01, 0.9, LOST + 0.01])
    probabilities = ((1 - confidence) / 9)[:, None].repeat(1, 10)
    probabilities[torch.arange(4), segment.targets] = confidence
    state = torch.ones_like(batch.h), torch.ones_like(batch.c)
    batch.carry(segment, state, probabilities.log())
    fresh = palindromes(3, 44, equal=True)  # fewer than B: repeated
    batch.start(fresh)
    assert torch.equal(batch.halves[[0, 3]], before[[0, 3]])
    assert torch.equal(batch.halves[[1, 2], :22], fresh.halves[[1, 2]])
    assert batch.remaining[[1, 2]].tolist() == [43, 43]
    for part in (batch.h, batch.c):
        assert part[0].sum(1).tolist() == [16, 0, 0, 16]
    assert batch.take_started() == 6
    assert batch.take_started() == 0


def test_it_learns_to_hold_a_digit_over_more_steps_than_the_gradient_reaches(
    folders: Callable[[str], RunFolder],
) -> None:
    last = folders("truncated").read_metrics()[-1]
    assert last["length"] == TRUNCATED.length > 4 * (TRUNCATED.bptt_steps or 0)
    assert last["validation_accuracy"] >= TRUNCATED.threshold
    assert last["sequences"] < last["step"] * TRUNCATED.batch_size


def test_several_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="bptt_steps must be none with 2 processes, got 8; start one"):
        check_batch_sizes(TRUNCATED, World(0, 2))
