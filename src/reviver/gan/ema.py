"""The generator that samples come from: the average of its weights, and statistics of BatchNorm that belong to them.

The exponential moving average (EMA) ā ← d ā + (1 - d) a averages out the oscillation of the two networks around the
equilibrium (Yazıcı et al. 2019; Karras et al. 2018). It is torch's, but for `AveragedModel`, which would rename the weights in
checkpoints, keep one decay for all updates, and average BatchNorm's count of batches.

A generator in eval mode normalizes with running averages of the statistics of past batches, and its EMA with an average of
those. Both lag behind the weights, and neither are the statistics that the averaged weights have. So at the end they are
recomputed from fresh latent vectors (Izmailov et al. 2018, "Averaging weights leads to wider optima", section 3.2; torch's
`swa_utils.update_bn` averages over batches, here they are those of all vectors together).
"""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, update_bn

from reviver.gan.custom_networks import CustomGenerator
from reviver.gan.networks import Generator
from reviver.rng import make_rng

EMA_INTERVAL = 4
"""Generator updates per EMA update; the decay is compounded to match."""
CHUNK = 2048
"""Latent vectors that are computed at a time, which bounds the memory."""
CUSTOM_CHUNK = 256
"""The same for user-defined networks: convolutions need much memory."""


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


@torch.no_grad()
def recompute_batch_norm(generator: Generator, num_samples: int, seed: int) -> None:
    """Set the running statistics of each BatchNorm layer, in order, to mean and variance over `num_samples` latent vectors.

    In eval mode the generator then maps these vectors to the images of one pass in training mode over all of them as one
    batch. Sums are in float64. Of a single vector, the variance stays. The generator's mode is restored.
    """
    was_training = generator.training
    generator.eval()
    z = generator.sample_latents(num_samples, make_rng(seed, "statistics")).to(next(generator.parameters()))
    if isinstance(generator, CustomGenerator):
        update_bn((chunk for chunk in z.split(CUSTOM_CHUNK) if len(chunk) > 1), generator)
        generator.train(was_training)
        return
    for index, layer in enumerate(generator.layers):
        if isinstance(layer, nn.BatchNorm1d):  # its inputs depend on the statistics of those before
            assert layer.running_mean is not None
            assert layer.running_var is not None
            x = torch.cat([generator.layers[:index](chunk).cpu() for chunk in z.split(CHUNK)]).double()
            layer.running_mean.copy_(x.mean(0))
            if len(x) > 1:
                layer.running_var.copy_(x.var(0, correction=0))
    generator.train(was_training)
