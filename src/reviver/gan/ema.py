"""Exponential moving average (EMA) of the generator's weights, which samples come from.

    ā ← d ā + (1 - d) a

It averages out the oscillation of the two networks around the equilibrium (Yazıcı et al. 2019; Karras et al. 2018).
"""

import torch

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

    One EMA update with dᵏ stands for k with d: it costs one pass over the weights instead of k.

    Args:
        average: the EMA, changed in place.
        generator: the generator.
        updates: generator updates so far, from 1.
        decay: see `max_decay` of `ema_decay`.
        rampup: see `ema_decay`.
    """
    if updates % EMA_INTERVAL == 0:
        lerp_state(average, generator, 1 - ema_decay(decay, rampup, updates) ** EMA_INTERVAL)


@torch.no_grad()
def lerp_state(average: Generator, generator: Generator, weight: float) -> None:
    """Set `average` to (1 - weight) average + weight generator, for parameters and BatchNorm's statistics.

    Statistics are averaged with the weights: a generator in eval mode uses them, and the latest statistics do not fit
    averaged weights.
    """
    pairs = list(zip(average.state_dict().values(), generator.state_dict().values(), strict=True))
    averaged = [(target, source) for target, source in pairs if target.is_floating_point()]
    torch._foreach_lerp_([target for target, _ in averaged], [source for _, source in averaged], weight)
    for target, source in pairs:
        if not target.is_floating_point():  # BatchNorm's count of batches
            target.copy_(source)
