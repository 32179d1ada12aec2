"""The LSTM cell: its weights by name, its equations, and its initialization.

Shapes:  B batch size, I input size, H hidden size, P size of the hidden state: that of the projection, H without one.
Symbols: σ logistic sigmoid, ⊙ elementwise product, x_t input, h_t hidden state and c_t cell state of step t.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Linear = Callable[[Tensor, Tensor], Tensor]
"""Function that returns x W^T for x [B, K] and W [H, K]."""


class LSTMState(NamedTuple):
    """The recurrent state after a step: hidden state h [B, P] and cell state c [B, H]."""

    h: Tensor
    c: Tensor


class LSTMGates(NamedTuple):
    """The input, forget and output gates of a step and its cell candidate g, [B, H] each."""

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor


class LSTMWeights(NamedTuple):
    """Weights by the names of the equations: W [H, I], U [H, P], b [H] or None, `W_proj` [P, H], None without a projection."""

    W_i: Tensor
    W_f: Tensor
    W_c: Tensor
    W_o: Tensor
    U_i: Tensor
    U_f: Tensor
    U_c: Tensor
    U_o: Tensor
    b_i: Tensor | None
    b_f: Tensor | None
    b_c: Tensor | None
    b_o: Tensor | None
    W_proj: Tensor | None

    def by_name(self) -> dict[str, Tensor]:
        """Return those that there are."""
        return {name: weight for name, weight in self._asdict().items() if weight is not None}


class StackedWeights(NamedTuple):
    """The weights of a cell as `torch.nn.LSTM` stacks them, in the order i, f, c, o of the equations.

    `W` is torch's `weight_ih` [4·H, I], `U` its `weight_hh` [4·H, P]. It has two biases, which only ever occur as their sum:
    `b_ih` and `b_hh` [4·H], None for 0. `W_proj` is its `weight_hr` [P, H], None without a projection.
    """

    W: Tensor
    U: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    W_proj: Tensor | None = None

    def by_gate(self) -> LSTMWeights:
        """Return views of the weights by the names of the equations; of two biases, their sum."""
        b = self.b_ih if self.b_hh is None else self.b_hh if self.b_ih is None else self.b_ih + self.b_hh
        H = len(self.W) // 4
        gates = [slice(gate * H, (gate + 1) * H) for gate in range(4)]  # `chunk` gives views that forbid changes
        parts = [None if tensor is None else tensor[gate] for tensor in (self.W, self.U, b) for gate in gates]
        return LSTMWeights(*parts, self.W_proj)  # type: ignore[call-arg, arg-type]


def lstm_step(
    x: Tensor, state: LSTMState, w: LSTMWeights, linear: Linear = functional.linear
) -> tuple[LSTMState, LSTMGates]:
    """Compute a step of a long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000).

        i_t = σ(W_i x_t + U_i h_{t-1} + b_i)        input gate
        f_t = σ(W_f x_t + U_f h_{t-1} + b_f)        forget gate
        g_t = tanh(W_c x_t + U_c h_{t-1} + b_c)     cell candidate
        o_t = σ(W_o x_t + U_o h_{t-1} + b_o)        output gate
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t             cell state
        h_t = o_t ⊙ tanh(c_t)                       hidden state

    With `W_proj` it is an LSTMP (Sak, Senior & Beaufays 2014), whose hidden state is a projection to P < H numbers:

        h_t = W_proj (o_t ⊙ tanh(c_t))              hidden state of an LSTMP

    `x` [B, I] is the input and `linear` the product of a batch with a matrix. Return the state after the step, and the gates.
    """
    h, c = state  # [B, P], [B, H]

    def affine(W: Tensor, U: Tensor, b: Tensor | None) -> Tensor:  # W x_t + U h_{t-1} + b
        z = linear(x, W) + linear(h, U)
        return z if b is None else z + b

    i = torch.sigmoid(affine(w.W_i, w.U_i, w.b_i))  # [B, H]
    f = torch.sigmoid(affine(w.W_f, w.U_f, w.b_f))  # [B, H]
    g = torch.tanh(affine(w.W_c, w.U_c, w.b_c))  # [B, H]
    o = torch.sigmoid(affine(w.W_o, w.U_o, w.b_o))  # [B, H]
    c = f * c + i * g  # [B, H]
    h = o * torch.tanh(c)  # [B, H]
    if w.W_proj is not None:
        h = linear(h, w.W_proj)  # [B, P]
    return LSTMState(h, c), LSTMGates(i, f, g, o)


@torch.no_grad()
def reset_weights(w: LSTMWeights, rng: torch.Generator | None = None) -> None:
    """Sample new weights in place from `rng` (torch's default generator if None).

    - `W_*`, `U_*`, `W_proj`: Xavier-uniform, each matrix by itself. This keeps the scale of activations and gradients
      through a step (Glorot & Bengio 2010).
    - `b_f`: 1. At first the cell keeps σ(1) = 73 % of its value at each step, not half of it (Gers et al. 2000; Jozefowicz
      et al. 2015). The 1 is a stored value, not added in the equations.
    - `b_i`, `b_c`, `b_o`: 0.
    """
    for name, weight in w._asdict().items():
        if weight is not None and name.startswith("b"):
            nn.init.constant_(weight, 1.0 if name == "b_f" else 0.0)
        elif weight is not None:
            nn.init.xavier_uniform_(weight, generator=rng)
