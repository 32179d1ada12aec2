"""Exponential moving average (EMA) of the generator's weights, which samples come from.

    ā ← d ā + (1 - d) a

It averages out the oscillation of the two networks around the equilibrium (Yazıcı et al. 2019; Karras et al. 2018).

The average is torch's. Its `AveragedModel` wraps the network, which would rename the weights in checkpoints, keeps one decay
for all updates, and averages BatchNorm's count of batches; so only its average function is used.
"""

from itertools import chain

from torch.optim.swa_utils import get_ema_multi_avg_fn

from reviver.gan.networks import Generator

EMA_INTERVAL = 4
"""Generator updates per EMA update; the decay is compounded to match."""


def ema_decay(max_decay: float, rampup: float, updates: int) -> float:
    """Return the decay d per generator update.

    With `rampup` the horizon of the average is that fraction of the updates so far (Karras et al. 2020, "Training
    generative adversarial networks with limited data"). So the average forgets the initial weights early, and reaches
    `max_decay` later.

    Args:
        max_decay: the decay without ramp-up, and the maximum with it; in [0, 1).
        rampup: horizon as a fraction of the updates so far; 0 for `max_decay` throughout.
        updates: generator updates so far.
    """
    if rampup == 0:
        return max_decay
    return min(max_decay, 1 - 1 / (rampup * updates + 1))


def update_ema(average: Generator, generator: Generator, updates: int, *, decay: float, rampup: float = 0.0) -> None:
    """Update the EMA after the generator update number `updates`, every EMA_INTERVAL updates.

    One EMA update with dᵏ stands for k with d: it costs one pass over the weights instead of k. BatchNorm's statistics are
    averaged with the weights: a generator in eval mode uses them, and the latest ones do not fit averaged weights.

    Args:
        average: the EMA, changed in place.
        generator: the generator.
        updates: generator updates so far, from 1.
        decay: see `max_decay` of `ema_decay`.
        rampup: see `ema_decay`.
    """
    if updates % EMA_INTERVAL == 0:
        averaged, latest = (
            [value for value in chain(one.parameters(), one.buffers()) if value.is_floating_point()]
            for one in (average, generator)
        )
        get_ema_multi_avg_fn(ema_decay(decay, rampup, updates) ** EMA_INTERVAL)(averaged, latest, updates)
