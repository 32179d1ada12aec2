"""The LSTM cell: its equations, its initialization and one time step.

Shapes:  B batch size, I input size, H hidden size, P projection size. A sequence [T, B, I] takes T steps (see `network.unroll`).
Symbols: σ logistic sigmoid, ⊙ elementwise product, x_t input, h_t hidden state and c_t cell state of step t.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.lstm.options import check_sizes


class LSTMState(NamedTuple):
    """The recurrent state after a step.

    Attributes:
        h: hidden state, [B, H] for a cell, [D·L, B, H] for a network (D directions, L layers); P instead of H with a
            projection.
        c: cell state, [B, H] or [D·L, B, H].
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

    With `proj_size` it is an LSTMP (Sak, Senior & Beaufays 2014), whose hidden state is a projection to P < H numbers:

        h_t = W_proj (o_t ⊙ tanh(c_t))              hidden state of an LSTMP

    Args:
        input_size: I.
        hidden_size: H.
        bias: whether there are biases; without them each b is 0.
        device: device of the parameters.
        dtype: dtype of the parameters.
        proj_size: P; 0 for no projection.
        linear: function that returns x W^T for x [B, K] and W [H, K].

    Parameters: `W_*` [H, I], `U_*` [H, H] and `b_*` [H] for each * of i, f, c, o. With a projection `U_*` are [H, P], and
    there is `W_proj` [P, H]. Without biases `b_*` are None.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        proj_size: int = 0,
        linear: Callable[[Tensor, Tensor], Tensor] = functional.linear,
    ) -> None:
        super().__init__()
        check_sizes(input_size, hidden_size, bias, proj_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.proj_size = proj_size
        self.linear = linear

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        def empty_bias() -> nn.Parameter | None:
            return empty(hidden_size) if bias else None

        I, H, P = input_size, hidden_size, self.output_size  # noqa: E741
        self.W_i, self.U_i, self.b_i = empty(H, I), empty(H, P), empty_bias()
        self.W_f, self.U_f, self.b_f = empty(H, I), empty(H, P), empty_bias()
        self.W_c, self.U_c, self.b_c = empty(H, I), empty(H, P), empty_bias()
        self.W_o, self.U_o, self.b_o = empty(H, I), empty(H, P), empty_bias()
        self.W_proj = empty(P, H) if proj_size else None
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        """Size of the hidden state h: P with a projection, else H."""
        return self.proj_size or self.hidden_size

    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Sample new weights from `rng` (torch's default generator if None).

        - `W_*`, `U_*`, `W_proj`: Xavier-uniform, each matrix by itself. This keeps the scale of activations and gradients
          through a step (Glorot & Bengio 2010).
        - `b_f`: 1. The forget gates begin open, so that the cell remembers, and gradients reach far back, before
          anything is learned (Gers et al. 2000; Jozefowicz et al. 2015). The 1 is a stored value, not added in `forward`.
        - `b_i`, `b_c`, `b_o`: 0.
        """
        for matrix in (self.W_i, self.W_f, self.W_c, self.W_o, self.U_i, self.U_f, self.U_c, self.U_o):
            nn.init.xavier_uniform_(matrix, generator=rng)
        if self.W_proj is not None:
            nn.init.xavier_uniform_(self.W_proj, generator=rng)
        for bias, value in ((self.b_i, 0.0), (self.b_f, 1.0), (self.b_c, 0.0), (self.b_o, 0.0)):
            if bias is not None:
                nn.init.constant_(bias, value)

    def forward(self, x: Tensor, state: LSTMState) -> tuple[LSTMState, LSTMGates]:
        """Compute one step from the input x [B, I] and the state before it; return the new state and the gates."""
        h, c = state  # [B, P], [B, H]

        def affine(W: Tensor, U: Tensor, b: Tensor | None) -> Tensor:  # W x_t + U h_{t-1} + b
            z = self.linear(x, W) + self.linear(h, U)
            return z if b is None else z + b

        i = torch.sigmoid(affine(self.W_i, self.U_i, self.b_i))  # [B, H]
        f = torch.sigmoid(affine(self.W_f, self.U_f, self.b_f))  # [B, H]
        g = torch.tanh(affine(self.W_c, self.U_c, self.b_c))  # [B, H]
        o = torch.sigmoid(affine(self.W_o, self.U_o, self.b_o))  # [B, H]
        c = f * c + i * g  # [B, H]
        h = o * torch.tanh(c)  # [B, H]
        if self.W_proj is not None:
            h = self.linear(h, self.W_proj)  # [B, P]
        return LSTMState(h, c), LSTMGates(i, f, g, o)

    def weights(self) -> list[Tensor]:
        """Return W_i W_f W_c W_o, U_i ... U_o and, if there are biases, b_i ... b_o, in the order of the equations."""
        W: list[Tensor] = [self.W_i, self.W_f, self.W_c, self.W_o]  # [H, I] each
        U: list[Tensor] = [self.U_i, self.U_f, self.U_c, self.U_o]  # [H, P] each
        b = [self.b_i, self.b_f, self.b_c, self.b_o]  # [H] each
        return W + U + [bias for bias in b if bias is not None]

    def extra_repr(self) -> str:
        """Return the arguments that `print` shows."""
        shown = f"{self.input_size}, {self.hidden_size}"
        return (
            shown + ("" if self.bias else ", bias=False") + (f", proj_size={self.proj_size}" if self.proj_size else "")
        )
