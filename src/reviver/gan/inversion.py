"""Projection: the noise from which a generator draws an image that is nearest to a given one.

Shapes: N images, S starts, Z latent size, C channels, H height, W width.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.gan.networks import Generator
from reviver.gan.onednn import fast_matmul
from reviver.runs.rng import make_rng

STEPS, STARTS = 400, 16
LEARNING_RATE = 0.1
PRIOR_WEIGHT = 1e-3
"""Weight of ‖z‖²/Z beside the squared error of the pixels: z stays where noise lies, unless the image asks for more."""


class Projection(NamedTuple):
    """What was found for each image."""

    latents: Tensor
    """[N, Z]"""
    images: Tensor
    """What the generator draws from them, [N, C, H, W] in [-1, 1]."""
    errors: Tensor
    """Root-mean-square difference of the pixels, from 0 to 2, [N]."""


@fast_matmul()
def project(
    generator: Generator, targets: Tensor, *, seed: int = 0, steps: int = STEPS, starts: int = STARTS
) -> Projection:
    """Find the noise whose image comes nearest to each of `targets` [N, C, H, W] in [-1, 1].

        z* = argmin_z  mean (G(z) - x)² + λ ‖z‖²/Z

    by Adam from `starts` random noise vectors for each image, all at once; the best end is kept (as Creswell &
    Bharath 2018). In eval mode the images of a batch do not depend on each other, so neither do the searches. The
    generator itself is not changed.
    """
    count = len(targets)
    weight = next(generator.parameters())
    noise = make_rng(seed, "projection")
    z = generator.sample_latents(count * starts, noise).to(weight.device).requires_grad_()  # [N·S, Z]
    wanted = targets.to(weight.device).repeat_interleave(starts, 0)  # [N·S, C, H, W]
    optimizer = torch.optim.Adam([z], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = copy.deepcopy(generator).eval()
    for _ in range(steps):
        errors = (generator(z) - wanted).square().flatten(1).mean(1)  # [N·S]
        loss = (errors + PRIOR_WEIGHT * z.square().mean(1)).sum()
        (z.grad,) = torch.autograd.grad(loss, [z])
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        images = generator(z)
    errors = (images - wanted).square().flatten(1).mean(1).sqrt().view(count, starts)
    best = errors.argmin(1) + starts * torch.arange(count, device=errors.device)  # [N]
    return Projection(z.detach()[best].cpu(), images[best].cpu(), errors.flatten()[best].detach().cpu())
