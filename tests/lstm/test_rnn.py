"""The vanilla RNN, against torch's and by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reviver.errors import DataError
from reviver.lstm.rnn import RNNClassifier


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
