"""Sampling: generate images from latent vectors.

Shapes: N images, C channels, H height, W width, Z latent size.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from reviver.gan.networks import Generator
from reviver.rng import make_rng
from reviver.settings.validation import check

CHUNK = 2048
"""Images that are generated at a time, which bounds the memory of the device."""
MAX_SAMPLE_BYTES = 8 << 30
"""Maximum size of all samples, which are in memory at once."""


@torch.no_grad()
def generate(generator: Generator, z: Tensor) -> Tensor:
    """Return the images [N, C, H, W] in [-1, 1] of latents [N, Z], in eval mode; restore the generator's mode afterward."""
    was_training = generator.training
    try:
        images: Tensor = generator.eval()(z)
        return images
    finally:
        generator.train(was_training)


def generate_chunked(generator: Generator, z: Tensor) -> Tensor:
    """Generate images [N, C, H, W] from latents [N, Z], both on the CPU, in chunks on the generator's device."""
    device = next(generator.parameters()).device
    return torch.cat([generate(generator, chunk.to(device)).cpu() for chunk in z.split(CHUNK)])


def generate_samples(
    generator: Generator, num_samples: int, seed: int, class_index: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return images [N, C, H, W] in [-1, 1] of N = `num_samples` random latents, and these, [N, Z]; both on the CPU.

    A conditional generator generates the class `class_index`, by default random classes.
    """
    limit = MAX_SAMPLE_BYTES // (4 * math.prod(generator.image_shape))
    check("num_samples", num_samples, Annotated[int, Field(ge=1, le=limit)])
    classes = None if class_index is None else torch.full((num_samples,), class_index)
    z = generator.sample_latents(num_samples, make_rng(seed, "samples"), classes)
    return generate_chunked(generator, z), z
