"""Other weights to start from than those of `LSTMLayer.reset_parameters`."""

import torch

from reviver.lstm.network import LSTM


@torch.no_grad()
def chrono(lstm: LSTM, longest: int, generator: torch.Generator | None = None) -> None:
    """Set the biases of the gates so that the units of each layer forget after different times, up to `longest` steps.

    Tallec & Ollivier (2018), "Can recurrent neural networks warp time?":

        b_f ~ log U(1, T_max - 1)
        b_i = -b_f

    A unit whose forget gate is σ(b_f) = 1 - 1/τ remembers for about τ = 1 + exp(b_f) steps, and these times are
    spread evenly from 2 to T_max. b_i keeps what enters as small as what is forgotten. Nothing else changes.

    Args:
        lstm: the network, its weights drawn already.
        longest: T_max.
        generator: source of the biases; torch's own by default.
    """
    for layer in lstm._lstm_layers():
        layer.b_f.uniform_(1.0, max(1.0, longest - 1.0), generator=generator).log_()
        layer.b_i.copy_(-layer.b_f)
