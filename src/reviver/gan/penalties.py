"""Penalties on the gradient of the discriminator's logits with respect to the image.

    R1                 γ/2 E_x[‖∂l/∂x‖²]         (Mescheder et al. 2018)
    gradient penalty   λ E[(‖∂l/∂x̂‖ - 1)²]       (WGAN-GP; Gulrajani et al. 2017)

The discriminator adds them to its loss. They need gradients of gradients, so one update with penalties costs as much as
several without. Lazy regularization (Karras et al. 2020, "Analyzing and improving StyleGAN", section 3.1) adds them
every k updates only, times k.

A process that computes some rows of a batch only takes the mean of those. Without rows the mean is NaN and its gradient 0.

Shapes: N images, C channels, H height, W width. A `logits` function maps images [N, C, H, W] to logits [N, 1].
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.gan.networks import Discriminator
from reviver.rng import Rng, rand

Logits = Callable[[Tensor], Tensor]


class Penalties(NamedTuple):
    """Weights of the penalties, and the updates k from one that adds them to the next."""

    r1: float = 0.0
    gradient_penalty: float = 0.0
    interval: int = 1


def grad_norm_sq(logits: Logits, images: Tensor) -> Tensor:
    """Return ‖∂l/∂x‖² for each image x of `images` [N, C, H, W], [N]; differentiable in the discriminator's weights."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(logits(images).sum(), images, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def r1_penalty(logits: Logits, real: Tensor, gamma: float) -> Tensor:
    """Return γ/2 E[‖∂l/∂x‖²] at the real images x, a scalar (Mescheder et al. 2018, section 4.1)."""
    return gamma / 2 * grad_norm_sq(logits, real).mean()


def gradient_penalty(logits: Logits, real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """Return E[(‖∂l/∂x̂‖ - 1)²] at x̂ = α x + (1 - α) G(z), α [N, 1, 1, 1]; a scalar (Gulrajani et al. 2017, equation 3)."""
    interpolated = alpha * real + (1 - alpha) * fake
    norm_sq = grad_norm_sq(logits, interpolated).clamp(min=1e-30)  # at 0, as if dropout left no unit, √ has no gradient
    return (norm_sq.sqrt() - 1).square().mean()


def discriminator_penalty(
    weights: Penalties | None,
    discriminator: Discriminator,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None = None,
    rng: Rng = None,
) -> Tensor:
    """Return the sum of the penalties, times their `interval`; a scalar, 0 without `weights`.

    `real` and `fake` are images [N, C, H, W], without a graph, `labels` and `rng` those of `gan_step`. An interpolated
    image has the class of the real one.
    """
    penalty = real.new_zeros(())
    if weights is None:
        return penalty
    real_labels = None if labels is None else labels.chunk(2)[0]
    logits = partial(discriminator.logits, labels=real_labels, rng=rng)
    if weights.r1 > 0:
        penalty = penalty + r1_penalty(logits, real, weights.r1)
    if weights.gradient_penalty > 0:
        alpha = rand((len(real), 1, 1, 1), rng, device=real.device)  # α ~ U[0, 1]
        penalty = penalty + weights.gradient_penalty * gradient_penalty(logits, real, fake.to(real.dtype), alpha)
    return weights.interval * penalty
