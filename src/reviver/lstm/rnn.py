"""A vanilla RNN as the baseline of the LSTM.

Shapes: B batch, T time, I input size, H hidden size, C classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reviver.files.hub import PretrainedMixin
from reviver.lstm.layer import check_batch, checked_lengths, is_inside
from reviver.rows import Rng, rand
from reviver.settings.fields import Probability
from reviver.settings.lstm_network import RNNClassifierSpec
from reviver.settings.validation import check


class RNNClassifier(PretrainedMixin, nn.Module):
    """A recurrent network without gates (Elman 1990) and a linear layer on its final hidden state.

        h_t = m_t ⊙ tanh(W x_t + U h_{t-1} + b)
        logits = W_out h_T + b_out

    m_t is the dropout mask of the hidden state, sampled at every step in training. The gradient of a loss at step T
    reaches step t through T - t matrices U^T diag(1 - tanh²), so it vanishes or explodes with T - t (Bengio, Simard &
    Frasconi 1994).

    Args:
        input_size: I.
        hidden_size: H.
        num_classes: C.
        hidden_dropout: see `LSTMOptions`.

    Parameters: `W` [H, I], `U` [H, H], `b` [H], `W_out` [C, H], `b_out` [C].

    Raises:
        ConfigError: if an argument is out of range.
    """

    @classmethod
    def _family(cls) -> Any:
        from reviver.lstm.pretrained import FAMILY

        return FAMILY

    def __init__(self, input_size: int, hidden_size: int, num_classes: int, *, hidden_dropout: float = 0.0) -> None:
        super().__init__()
        RNNClassifierSpec(
            input_size=input_size, hidden_size=hidden_size, num_classes=num_classes, hidden_dropout=hidden_dropout
        )
        self.input_size, self.hidden_size, self.hidden_dropout = input_size, hidden_size, hidden_dropout
        self.W = nn.Parameter(torch.empty(hidden_size, input_size))
        self.U = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.b = nn.Parameter(torch.empty(hidden_size))
        self.W_out = nn.Parameter(torch.empty(num_classes, hidden_size))
        self.b_out = nn.Parameter(torch.empty(num_classes))
        self.reset_parameters()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; raise ConfigError for a `hidden_dropout` out of range."""
        if name == "hidden_dropout":
            check(name, value, Probability)
        super().__setattr__(name, value)

    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Sample Xavier-uniform matrices (Glorot & Bengio 2010) from `rng` and set the biases to 0."""
        for weight in self.parameters():
            nn.init.xavier_uniform_(weight, generator=rng) if weight.dim() == 2 else nn.init.zeros_(weight)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        every_step: bool = False,
        rng: Rng = None,
    ) -> Tensor:
        """Return the logits of a batch; arguments, result and errors are those of `LSTMClassifier.forward`."""
        check_batch(x, self.input_size)
        batch, steps, _ = x.shape
        if lengths is not None:  # the gradient, too, must not depend on what is beyond the end of a sequence
            lengths = checked_lengths(lengths, x.transpose(0, 1))
            x = torch.where(is_inside(lengths, steps), x, 0.0)
        masks = None
        if self.training and self.hidden_dropout > 0.0:
            masks = sample_masks((steps, batch, self.hidden_size), self.hidden_dropout, rng, x)
        h = x.new_zeros(batch, self.hidden_size)
        outputs = []
        for t, z in enumerate((x @ self.W.T + self.b).unbind(1)):  # T times [B, H]
            h = torch.tanh(torch.addmm(z, h, self.U.T))  # [B, H]
            if masks is not None:
                h = masks[t] * h  # [B, H]
            outputs.append(h)
        output = torch.stack(outputs, dim=1)  # [B, T, H]
        if not every_step:
            last = steps - 1 if lengths is None else lengths - 1
            output = output[torch.arange(batch, device=x.device), last]  # [B, H]
        elif lengths is not None:
            output = torch.where(is_inside(lengths, steps), output, 0.0)
        return output @ self.W_out.T + self.b_out


def sample_masks(shape: tuple[int, int, int], p: float, rng: Rng, like: Tensor) -> Tensor:
    """Return dropout masks [T, B, H] on the device and in the dtype of `like`: 0 with probability `p`, else 1 / (1 - p)."""
    uniform = rand(shape, rng, dim=1, device=like.device, dtype=like.dtype)
    return (uniform >= p).to(like.dtype) / (1.0 - p)
