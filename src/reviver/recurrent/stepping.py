"""A classifier step by step: its state across calls, and the logits of the sequence so far.

Shapes: B batch, I input size, H hidden size, k steps of a patch, C classes.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from reviver.errors import DataError
from reviver.settings.validation import refuse


class StepState(NamedTuple):
    """What a classifier keeps of the steps so far."""

    layers: Any
    """State of the recurrent layers after the last whole patch; None before."""
    pooled: tuple[Tensor, ...]
    """Of h_t over the patches: the last; the sum; the maximum; or Σ e^(s - m) h, Σ e^(s - m) and the largest score m."""
    patches: int
    patch: Tensor
    """Steps after the last whole patch, [B, n, I] with n < k."""


class Stream:
    """One sequence that arrives step by step: `logits = stream(x_t)` for x_t [I], those of the sequence so far, [C]."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.state: StepState | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Read a step x [I]; return the logits [C]."""
        logits, self.state = step(self.network, torch.as_tensor(x).unsqueeze(0), self.state)
        return logits[0]


def step(network: Any, x: Tensor, state: StepState | None = None) -> tuple[Tensor, StepState]:
    """Read a step of each sequence of a batch; `network` is a `RecurrentClassifier`, see its `step`."""
    if network.recurrent.num_directions == 2:
        refuse(
            "bidirectional",
            "must be False to run step by step, got True, which reads from the last step, too; train one that reads forward",
        )
    layers = network.recurrent
    if network.training and (layers.dropout > 0.0 or layers.hidden_dropout > 0.0):
        refuse(
            "network", "must be in eval mode to run step by step, since dropout has a mask for a sequence; call eval()"
        )
    if x.dim() != 2 or x.shape[-1] != network.input_size or (state is not None and len(x) != len(state.patch)):
        batch = "B" if state is None else len(state.patch)
        raise DataError(f"x must be a step [{batch}, {network.input_size}] of each sequence, got shape {list(x.shape)}")
    k = network.patch_size
    if state is None:
        state = StepState(None, (), 0, x.new_empty(len(x), 0, x.shape[1]))
    patch = torch.cat([state.patch, x.unsqueeze(1)], 1)
    filled = torch.nn.functional.pad(patch, (0, 0, 0, k - patch.shape[1])).flatten(1)  # [B, k·I]
    output, end = layers(filled.unsqueeze(1), state.layers)
    pooled = _pool(network, output[:, 0], state)
    after = StepState(end, pooled, state.patches + 1, patch[:, :0])
    return _read(network, after), after if patch.shape[1] == k else state._replace(patch=patch)


def _pool(network: Any, h: Tensor, state: StepState) -> tuple[Tensor, ...]:
    """Return the pooled hidden states with one more, h [B, H]; sums are in float64, where a device has it."""
    exact = h if h.device.type == "mps" else h.double()
    before = state.pooled
    if network.pooling == "last" or (not before and network.pooling == "max"):
        return (h,)
    if network.pooling == "max":
        return (torch.maximum(before[0], h),)
    if network.pooling == "mean":
        return (before[0] + exact if before else exact,)
    score = (torch.tanh(h @ network.W_att.T + network.b_att) @ network.u_att).to(exact.dtype).unsqueeze(1)  # [B, 1]
    if not before:
        return exact, torch.ones_like(score), score
    highest = torch.maximum(before[2], score)
    fade, weight = torch.exp(before[2] - highest), torch.exp(score - highest)
    return before[0] * fade + weight * exact, before[1] * fade + weight, highest


def _read(network: Any, state: StepState) -> Tensor:
    """Return the logits [B, C] of the steps so far."""
    p = state.pooled[0]
    if network.pooling in ("mean", "attention"):
        p = (p / (state.patches if network.pooling == "mean" else state.pooled[1])).to(network.W_out.dtype)
    logits: Tensor = network.output(p)
    return logits
