"""Random shifts of the images that the discriminator sees, real and generated alike.

The discriminator can learn the training images by heart. Shifted images make that harder (Zhao et al. 2020, "Differentiable
augmentation for data-efficient GAN training"). The gradient goes back through the shift to the generated image in place. If a
part of the images stays in place, the distribution of the shifted images determines that of the images, so the generator does
not learn to shift (Karras et al. 2020, "Training generative adversarial networks with limited data", section 2.2).
"""

import torch
from torch import Tensor

from reviver.rows import Rng, rand

SIDE = 28
"""Longer side of an image, in pixels, for each pixel of reach. In smaller images a pixel would cut off strokes at the edge."""


def shift(images: Tensor, probability: float, rng: Rng) -> Tensor:
    """Return images [N, C, H, W], each with some probability shifted in each direction by at most a 28th of the longer side.

    A random shift may also be none. Pixels from outside repeat those at the edge. The result is differentiable in the
    images.
    """
    if probability == 0:
        return images
    height, width = images.shape[2:]
    reach = max(height, width) // SIDE
    side = 2 * reach + 1
    drawn = rand((len(images),), rng, device=images.device) / probability  # below 1: shifted
    numbers = torch.where(drawn < 1, (drawn * side**2).long().clamp(max=side**2 - 1), side**2 // 2)[:, None]  # [N, 1]
    y = torch.arange(height, device=images.device) - (numbers // side - reach)  # [N, H], the row that each comes from
    x = torch.arange(width, device=images.device) - (numbers % side - reach)  # [N, W]
    sources = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None]  # [N, H, W]
    return images.flatten(2).gather(2, sources.flatten(1)[:, None].expand(-1, images.shape[1], -1)).view_as(images)
