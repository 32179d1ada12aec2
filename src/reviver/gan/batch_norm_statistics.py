"""Statistics of BatchNorm that belong to the final weights, instead of averages over the training.

A generator in eval mode normalizes with running averages of the statistics of past batches, and its EMA with an average of
those. Both lag behind the weights, and neither are the statistics that the averaged weights have. So at the end they are
recomputed from fresh latent vectors (Izmailov et al. 2018, "Averaging weights leads to wider optima", section 3.2; torch's
`swa_utils.update_bn` averages over batches, here they are those of all vectors together).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from reviver.gan.custom_networks import CustomGenerator, recompute_statistics
from reviver.gan.networks import Generator
from reviver.rng import make_rng

CHUNK = 2048
"""Latent vectors that are computed at a time, which bounds the memory."""


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
        recompute_statistics(generator, z)
        generator.train(was_training)
        return
    for index, layer in enumerate(generator.layers):
        if isinstance(layer, nn.BatchNorm1d):  # its inputs depend on the statistics of those before
            _set_statistics(layer, (generator.layers[:index](chunk).cpu() for chunk in z.split(CHUNK)))
    generator.train(was_training)


def _set_statistics(layer: nn.BatchNorm1d, inputs: Iterable[Tensor]) -> None:
    """Combine means and squared deviations of chunks [n, features] (Chan, Golub & LeVeque 1983, equation 2.1)."""
    count = 0
    mean = torch.zeros(layer.num_features, dtype=torch.float64)
    deviations = torch.zeros_like(mean)
    for chunk in inputs:
        x, before = chunk.double(), count
        count += len(x)
        difference = x.mean(0) - mean
        deviations += (x - x.mean(0)).square().sum(0) + difference.square() * (before * len(x) / count)
        mean += difference * (len(x) / count)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean.copy_(mean)
    if count > 1:
        layer.running_var.copy_(deviations / count)
