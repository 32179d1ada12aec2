"""Exponential moving average (EMA) of the generator's weights, which samples come from: ā ← d ā + (1 - d) a.

It averages out the oscillation of the two networks around the equilibrium (Yazıcı et al. 2019; Karras et al. 2018).

The average is torch's. Its `AveragedModel` wraps the network, which would rename the weights in checkpoints, keeps one decay
for all updates, and averages BatchNorm's count of batches; so only its average function is used.
"""

from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from reviver.gan.networks import Generator

EMA_INTERVAL = 4
"""Generator updates per EMA update; the decay is compounded to match."""


def ema_decay(max_decay: float, rampup: float, updates: int) -> float:
    """Return the decay d per generator update after `updates` of them.

    With `rampup` the horizon of the average is that fraction of the updates so far, until d is `max_decay` (Karras et al.
    2020, "Training generative adversarial networks with limited data"). So the average forgets the initial weights early.
    """
    return max_decay if rampup == 0 else min(max_decay, 1 - 1 / (rampup * updates + 1))


def update_ema(average: Generator, generator: Generator, updates: int, *, decay: float, rampup: float = 0.0) -> None:
    """Update the EMA in place after the generator update number `updates`, from 1, every EMA_INTERVAL updates.

    One EMA update with dᵏ stands for k with d: it costs one pass over the weights instead of k. BatchNorm's statistics are
    averaged with the weights: a generator in eval mode uses them, and the latest ones do not fit averaged weights.
    """
    if updates % EMA_INTERVAL == 0:
        d = ema_decay(decay, rampup, updates) ** EMA_INTERVAL
        get_ema_multi_avg_fn(d)(_averaged_tensors(average), _averaged_tensors(generator), updates)


def _averaged_tensors(generator: Generator) -> list[Tensor]:
    tensors = [*generator.parameters(), *generator.buffers()]
    return [tensor for tensor in tensors if tensor.is_floating_point()]
