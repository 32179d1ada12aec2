"""Truncated backpropagation through time: segments, carried states, and lost digits."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from reviver.data.palindromes import Palindromes, half_length
from reviver.recurrent.classifier import LSTMClassifier
from reviver.recurrent.lstm import LSTM
from reviver.runs.folder import RunFolder
from reviver.train.lstm.training import train_step, truncated_step
from reviver.train.lstm.truncated import LOST, CarriedBatch
from tests.lstm_runs import TRUNCATED


def palindromes(size: int, length: int, *, equal: bool = False, encoding: str = "scalar") -> Palindromes:
    rng = torch.Generator().manual_seed(size * 1000 + length)
    halves = torch.randint(10, (size, half_length(length)), dtype=torch.uint8, generator=rng)
    lengths = None if equal else torch.randint(2, length + 1, (size,), generator=rng)
    return Palindromes(halves, length, lengths, encoding)


def carried_batch(length: int, steps: int, size: int, encoding: Any = "scalar") -> CarriedBatch:
    return CarriedBatch([(1, size, 16)] * 2, length, steps, encoding, torch.device("cpu"))


@given(length=st.integers(2, 60), steps=st.integers(1, 70), encoding=st.sampled_from(["scalar", "onehot"]))
def test_the_states_after_the_segments_are_those_of_whole_palindromes(length: int, steps: int, encoding: str) -> None:
    data = palindromes(5, length, encoding=encoding)
    assert data.lengths is not None
    batch, rng = carried_batch(length, steps, 5, encoding), torch.Generator().manual_seed(0)
    lstm = LSTM(data.encode().shape[2], 16, batch_first=True)
    batch.start(data)
    states = torch.zeros(2, 1, 5, 16)
    while batch.remaining.any():
        active, whole = batch.remaining > 0, data.lengths <= steps
        half = torch.minimum(batch.remaining, torch.tensor((steps + 1) // 2))
        segment = batch.segment(rng)
        assert segment.lengths.max() <= steps
        assert (segment.lengths >= torch.where(whole, batch.remaining, half)).all()
        assert torch.equal(segment.targets, data.targets)
        # A palindrome that has ended waits here, with one padded step that does not count.
        state = torch.stack(lstm(segment.x, segment.state, segment.lengths.clamp(min=1))[1]).detach()
        states[:, :, active] = state[:, :, active]
        certain = 50.0 * torch.nn.functional.one_hot(segment.targets, 10)  # no digit is lost
        batch.carry(segment, (state[0], state[1]), certain)
    expected = torch.stack(lstm(data.encode(), None, data.lengths)[1]).detach()
    torch.testing.assert_close(states, expected)


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
    state = torch.ones_like(batch.state[0]), torch.ones_like(batch.state[1])
    batch.carry(segment, state, probabilities.log())
    fresh = palindromes(3, 44, equal=True)  # fewer than B: repeated
    batch.start(fresh)
    assert torch.equal(batch.halves[[0, 3]], before[[0, 3]])
    assert torch.equal(batch.halves[[1, 2], :22], fresh.halves[[1, 2]])
    assert batch.remaining[[1, 2]].tolist() == [43, 43]
    for part in (batch.state[0], batch.state[1]):
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
