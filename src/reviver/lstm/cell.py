"""The LSTM cell: its equations, its initialization and one time step.

Shapes:  B batch size, I input size, H hidden size. A sequence [T, B, I] takes T steps (see `network.unroll`).
Symbols: σ logistic sigmoid, ⊙ elementwise product, x_t input, h_t hidden state and c_t cell state of step t.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.config import Count
from reviver.validation import check


class LSTMState(NamedTuple):
    """The recurrent state after a step.

    Attributes:
        h: hidden state, [B, H] for a cell, [D·L, B, H] for a network (D directions, L layers).
        c: cell state, of the same shape.
    """

    h: Tensor
    c: Tensor


class LSTMGates(NamedTuple):
    """The input, forget and output gates of a step and its cell candidate g, [B, H] each."""

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor


class LSTMCell(nn.Module):
    """A long short-term memory cell (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000).

        i_t = σ(W_i x_t + U_i h_{t-1} + b_i)        input gate
        f_t = σ(W_f x_t + U_f h_{t-1} + b_f)        forget gate
        g_t = tanh(W_c x_t + U_c h_{t-1} + b_c)     cell candidate
        o_t = σ(W_o x_t + U_o h_{t-1} + b_o)        output gate
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t             cell state
        h_t = o_t ⊙ tanh(c_t)                       hidden state

    Args:
        input_size: I.
        hidden_size: H.
        linear: function that returns x W^T for x [B, K] and W [H, K].
        device: device of the parameters.
        dtype: dtype of the parameters.

    Parameters: `W_*` [H, I], `U_*` [H, H] and `b_*` [H] for each * of i, f, c, o.

    Raises:
        ConfigError: if a size is below 1.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        linear: Callable[[Tensor, Tensor], Tensor] = functional.linear,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check("input_size", input_size, Count)
        check("hidden_size", hidden_size, Count)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.linear = linear

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        I, H = input_size, hidden_size  # noqa: E741
        self.W_i, self.U_i, self.b_i = empty(H, I), empty(H, H), empty(H)
        self.W_f, self.U_f, self.b_f = empty(H, I), empty(H, H), empty(H)
        self.W_c, self.U_c, self.b_c = empty(H, I), empty(H, H), empty(H)
        self.W_o, self.U_o, self.b_o = empty(H, I), empty(H, H), empty(H)
        self.reset_parameters()

    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Sample new weights from `rng` (torch's default generator if None).

        - `W_*`, `U_*`: Xavier-uniform, each matrix by itself. This keeps the scale of activations and gradients
          through a step (Glorot & Bengio 2010).
        - `b_f`: 1. The forget gates begin open, so that the cell remembers, and gradients reach far back, before
          anything is learned (Gers et al. 2000; Jozefowicz et al. 2015). The 1 is a stored value, not added in `forward`.
        - `b_i`, `b_c`, `b_o`: 0.
        """
        for matrix in (self.W_i, self.W_f, self.W_c, self.W_o, self.U_i, self.U_f, self.U_c, self.U_o):
            nn.init.xavier_uniform_(matrix, generator=rng)
        for bias in (self.b_i, self.b_c, self.b_o):
            nn.init.zeros_(bias)
        nn.init.ones_(self.b_f)

    def forward(self, x: Tensor, state: LSTMState) -> tuple[LSTMState, LSTMGates]:
        """Compute one step from the input x [B, I] and the state before it; return the new state and the gates."""
        linear = self.linear
        h, c = state  # [B, H] each
        i = torch.sigmoid(linear(x, self.W_i) + linear(h, self.U_i) + self.b_i)  # [B, H]
        f = torch.sigmoid(linear(x, self.W_f) + linear(h, self.U_f) + self.b_f)  # [B, H]
        g = torch.tanh(linear(x, self.W_c) + linear(h, self.U_c) + self.b_c)  # [B, H]
        o = torch.sigmoid(linear(x, self.W_o) + linear(h, self.U_o) + self.b_o)  # [B, H]
        c = f * c + i * g  # [B, H]
        h = o * torch.tanh(c)  # [B, H]
        return LSTMState(h, c), LSTMGates(i, f, g, o)

    def weights(self) -> list[Tensor]:
        """Return the parameters by kind, each in the order of the equations: W_i W_f W_c W_o, U_i ... U_o, b_i ... b_o."""
        W: list[Tensor] = [self.W_i, self.W_f, self.W_c, self.W_o]  # [H, I] each
        U: list[Tensor] = [self.U_i, self.U_f, self.U_c, self.U_o]  # [H, H] each
        b: list[Tensor] = [self.b_i, self.b_f, self.b_c, self.b_o]  # [H] each
        return W + U + b
