"""GAN inversion: find the latent vector whose generated image is nearest to a given one.

Shapes: N images, S starts, Z latent size, C channels, H height, W width.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.data.images.image_files import read_images
from reviver.data.images.image_set import from_pixels
from reviver.gan.networks import Generator
from reviver.rng import make_rng

STEPS, STARTS = 400, 16
LEARNING_RATE = 0.1
PRIOR_WEIGHT = 1e-3
"""λ, weight of ‖z‖²/Z. It keeps z where N(0, I) has its mass, unless the image needs another z."""


class Projection(NamedTuple):
    """Latents [N, Z], their images [N, C, H, W], and root-mean-square differences of the pixels, from 0 to 2, [N]."""

    latents: Tensor
    images: Tensor
    errors: Tensor


def project(
    generator: Generator, targets: Tensor, *, seed: int = 0, steps: int = STEPS, starts: int = STARTS
) -> Projection:
    """Project images into the range of the generator (Creswell & Bharath 2018).

        z* = argmin_z  mean (G(z) - x)² + λ ‖z‖²/Z

    Adam makes `steps` updates, with a cosine learning-rate schedule, from S = `starts` random starts per image, all in one
    batch; the result with the smallest error is kept. In eval mode the images of a batch do not depend on each other, so
    neither do the searches. G may be on any device and does not change; images x are [N, C, H, W] in [-1, 1], `seed` is
    that of the starts, and the projection is on the CPU.
    """
    num_images = len(targets)
    weight = next(generator.parameters())
    rng = make_rng(seed, "projection")
    z = generator.sample_latents(num_images * starts, rng).to(weight.device).requires_grad_()  # [N·S, Z]
    repeated_targets = targets.to(weight.device).repeat_interleave(starts, 0)  # [N·S, C, H, W]
    optimizer = torch.optim.Adam([z], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = copy.deepcopy(generator).eval()
    for _ in range(steps):
        squared_errors = (generator(z) - repeated_targets).square().flatten(1).mean(1)  # [N·S]
        loss = (squared_errors + PRIOR_WEIGHT * z.square().mean(1)).sum()
        (z.grad,) = torch.autograd.grad(loss, [z])
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        images = generator(z)
    errors = (images - repeated_targets).square().flatten(1).mean(1).sqrt().view(num_images, starts)
    best = errors.argmin(1) + starts * torch.arange(num_images, device=errors.device)  # [N], indices into N·S
    return Projection(z.detach()[best].cpu(), images[best].cpu(), errors.flatten()[best].detach().cpu())


def project_files(generator: Generator, paths: Sequence[Path], seed: int) -> tuple[Tensor, Projection]:
    """Return the images of files, cropped and resized, [N, C, H, W] in [-1, 1], and their projection."""
    targets = from_pixels(read_images(paths, generator.image_shape))
    return targets, project(generator, targets, seed=seed)
