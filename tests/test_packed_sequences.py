"""Packed batches: each row gets its own output, state and gradient, in any order of rows. The oracle is `torch.nn.LSTM`."""

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reviver import LSTM


class Doubled(LSTM):
    """A subclass that calls the forward pass of its parent, and counts the calls."""

    calls = 0

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        self.calls += 1
        output, state = super().forward(*arguments, **keywords)
        return output, state


def lengths_of(kind: str, batch: int, rng: torch.Generator) -> Tensor:
    if kind == "equal":
        return torch.full((batch,), 6)
    longest = {"ties": 2, "some": 6, "few": 40}[kind]
    return torch.randint(1, longest + 1, (batch,), generator=rng)


def packed_batch(kind: str, order: str, batch: int, rng: torch.Generator) -> PackedSequence:
    lengths = lengths_of(kind, batch, rng)
    x = torch.randn(int(lengths.max()), batch, 3, generator=rng)
    if order == "unsorted":
        return pack_padded_sequence(x, lengths, enforce_sorted=False)
    lengths = lengths.sort(descending=True).values
    packed = pack_padded_sequence(x, lengths)
    if order == "sorted":
        return packed
    # An order of its own for rows of equal length, as of a caller who sorts by itself.
    unsorted = torch.randperm(batch, generator=rng)
    return PackedSequence(packed.data, packed.batch_sizes, unsorted.argsort(), unsorted)


def gradients(layer: nn.LSTM | LSTM, packed: PackedSequence, state: tuple[Tensor, Tensor] | None) -> list[Tensor]:
    data = packed.data.clone().requires_grad_()
    output, (h, c) = layer(PackedSequence(data, *packed[1:]), state)
    assert torch.equal(output.batch_sizes, packed.batch_sizes)
    assert all(ours is theirs for ours, theirs in zip(output[2:], packed[2:], strict=True))
    padded, lengths = pad_packed_sequence(output)
    weight = torch.arange(padded.numel(), dtype=torch.float32).reshape(padded.shape).cos()
    loss = (padded * weight).sum() + (h * weight[0, 0, : h.shape[-1]]).sum() + c.square().sum()
    return [padded, lengths, h, c, *torch.autograd.grad(loss, [data, *([] if state is None else state)])]


@pytest.mark.parametrize("order", ["unsorted", "sorted", "own"])
@pytest.mark.parametrize("kind", ["equal", "ties", "some", "few"])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(batch=st.integers(1, 300), layers=st.integers(1, 2), bidirectional=st.booleans(), with_state=st.booleans())
@example(batch=17, layers=1, bidirectional=False, with_state=False)
@example(batch=300, layers=2, bidirectional=True, with_state=True)
def test_rows_of_a_packed_batch(
    kind: str, order: str, batch: int, layers: int, bidirectional: bool, with_state: bool
) -> None:
    rng = torch.Generator().manual_seed(batch)
    torch.manual_seed(batch)
    layer = Doubled(3, 4, layers, bidirectional=bidirectional)
    packed = packed_batch(kind, order, batch, rng)
    shape = layers * (2 if bidirectional else 1), batch, 4
    state = tuple(torch.randn(shape, generator=rng, requires_grad=True) for _ in range(2)) if with_state else None
    found = gradients(layer, packed, state)  # type: ignore[arg-type]
    assert layer.calls == 1
    for ours, expected in zip(found, gradients(layer.to_torch(), packed, state), strict=True):  # type: ignore[arg-type]
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_masks_are_those_of_the_caller_s_rows() -> None:
    layer = LSTM(3, 8, hidden_dropout=0.5)
    lengths = torch.tensor([2, 5, 5, 3, 5])
    x = torch.randn(5, 5, 3)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, (h, _) = layer(packed, rng=torch.Generator().manual_seed(1))
    expected, (expected_h, _) = layer(x, None, lengths, rng=torch.Generator().manual_seed(1))
    torch.testing.assert_close(pad_packed_sequence(output)[0], expected)
    torch.testing.assert_close(h, expected_h)
