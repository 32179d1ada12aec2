"""Drawing images with a generator.

Shapes: N images, C channels, H height, W width, Z latent size.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from reviver.config import Seed
from reviver.errors import ConfigError
from reviver.gan.networks import Generator
from reviver.gan.onednn import fast_products
from reviver.runs.rng import stream
from reviver.validation import check

CHUNK = 2048
MAX_SAMPLE_BYTES = 8 << 30
"""All samples are in memory at once."""


@torch.no_grad()
@fast_products()
def draw(generator: Generator, z: Tensor) -> Tensor:
    """Draw images from z [N, Z] in eval mode, with BatchNorm's running statistics; the mode is put back after."""
    was_training = generator.training
    try:
        images: Tensor = generator.eval()(z)
        return images
    finally:
        generator.train(was_training)


def draw_chunks(generator: Generator, z: Tensor) -> Tensor:
    """Draw images from z [N, Z] on the CPU, a part at a time on the generator's device: [N, C, H, W] on the CPU."""
    device = next(generator.parameters()).device
    return torch.cat([draw(generator, chunk.to(device)).cpu() for chunk in z.split(CHUNK)])


def draw_samples(generator: Generator, n: int, seed: int, digit: int | None = None) -> tuple[Tensor, Tensor]:
    """Draw `n` images, of a conditional generator of the class `digit`, or of random classes.

    Returns them [N, C, H, W] in [-1, 1] and their latent vectors [N, Z], both on the CPU.

    Raises:
        ConfigError: if `n` is below 1 or so large that the images take too much memory, `seed` is out of range, or
            `digit` is no class of the generator.
    """
    if digit is not None and not generator.num_classes:
        raise ConfigError(f"digit: {digit} cannot be ordered of this run; train one with --conditional")
    if digit is not None:
        check("digit", digit, Annotated[int, Field(ge=0, le=generator.num_classes - 1)])
    check("n", n, Annotated[int, Field(ge=1, le=MAX_SAMPLE_BYTES // (4 * math.prod(generator.image_shape)))])
    check("seed", seed, Seed)
    classes = None if digit is None else torch.full((n,), digit)
    z = generator.draw_latents(n, stream(seed, "samples"), classes)
    return draw_chunks(generator, z), z
