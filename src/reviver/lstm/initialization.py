"""Initial weights other than those of `cell.reset_weights`."""

import torch

from reviver.lstm.layer import LSTM
from reviver.settings.validation import refuse


@torch.no_grad()
def chrono(lstm: LSTM, max_length: int, rng: torch.Generator | None = None) -> None:
    """Set the gate biases of every cell so that its units forget over a range of time scales (chrono initialization).

    Tallec & Ollivier (2018), "Can recurrent neural networks warp time?":

        b_f ~ log U(1, T_max - 1)
        b_i = -b_f

    A unit with forget gate σ(b_f) = 1 - 1/τ remembers for about τ = 1 + exp(b_f) steps, so τ is uniform from 2 to
    T_max. b_i scales the input by the part that is forgotten. The other parameters stay as they are.

    `max_length` is T_max in steps, `rng` the source of the biases (torch's default generator if None). The network is
    changed in place. Raise ConfigError if it has no biases.
    """
    if not lstm.bias:
        refuse("bias", "must be True for chrono initialization, which sets the biases of the gates, got False")
    for stacked in lstm.all_stacked_weights():
        w = stacked._replace(b_hh=None).by_gate()  # views
        assert w.b_i is not None and w.b_f is not None, "there are biases"  # noqa: PT018
        w.b_f.uniform_(1.0, max(1.0, max_length - 1.0), generator=rng).log_()
        w.b_i.copy_(-w.b_f)
        if stacked.b_hh is not None:
            stacked.b_hh.zero_()
