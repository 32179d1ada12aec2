"""The two networks of the GAN and what each of them minimises (Goodfellow et al. 2014).

Shapes: N images, Z latent size, C channels, H height, W width.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm as normalised

from reviver.config import Count
from reviver.errors import DataError
from reviver.validation import check

GENERATOR_WIDTHS = (128, 256, 512, 1024)
DISCRIMINATOR_WIDTHS = (512, 256)
NEGATIVE_SLOPE = 0.2
ImageShape = Annotated[Sequence[Count], Field(min_length=3, max_length=3)]


class Generator(nn.Module):
    """Draws images from noise: z [N, Z] -> images [N, C, H, W] in [-1, 1].

    z -> Linear 128 -> LeakyReLU 0.2
      -> (Linear 256 -> BatchNorm -> LeakyReLU 0.2), the same with 512 and with 1024
      -> Linear C·H·W -> Tanh

    Args:
        latent_size: the numbers of a noise vector.
        image_shape: (C, H, W) of an image.
        batch_norm_eps: what BatchNorm adds to the variance (Ioffe & Szegedy 2015).
        num_classes: K > 0 classes that an image can be ordered of (Mirza & Osindero 2014): a latent vector is then noise
            and, behind it, K numbers of which that of the class is 1. Z counts both.

    Raises:
        ConfigError: if a size is below 1.
    """

    def __init__(
        self,
        latent_size: int = 100,
        image_shape: Sequence[int] = (1, 28, 28),
        *,
        batch_norm_eps: float = 1e-5,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        check("latent_size", latent_size, Count)
        check("image_shape", image_shape, ImageShape)
        self.noise_size = latent_size
        self.num_classes = num_classes
        self.latent_size = latent_size + num_classes
        self.image_shape = tuple(image_shape)
        layers: list[nn.Module] = [nn.Linear(self.latent_size, GENERATOR_WIDTHS[0]), nn.LeakyReLU(NEGATIVE_SLOPE)]
        for width, next_width in pairwise(GENERATOR_WIDTHS):
            normalisation = nn.BatchNorm1d(next_width, eps=batch_norm_eps)
            layers += [nn.Linear(width, next_width), normalisation, nn.LeakyReLU(NEGATIVE_SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear(GENERATOR_WIDTHS[-1], prod(self.image_shape)), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Map latent vectors z [N, Z], see `sample_latents`, to images [N, C, H, W].

        Raises:
            DataError: if the shape of z does not fit.
        """
        if z.dim() != 2 or z.shape[1] != self.latent_size:
            raise DataError(f"z: shape {list(z.shape)} does not fit; give [N, {self.latent_size}]")
        pixels: Tensor = self.layers(z)  # [N, C·H·W]
        return pixels.view(-1, *self.image_shape)

    def sample_latents(self, count: int, randomness: torch.Generator, classes: Tensor | None = None) -> Tensor:
        """Draw latent vectors on the device of `randomness`, [N, Z].

        Of a conditional generator they are of `classes` [N] int64, by default of random ones, each equally likely.
        """
        z = torch.randn(count, self.noise_size, device=randomness.device, generator=randomness)
        if not self.num_classes:
            return z
        if classes is None:
            classes = torch.randint(self.num_classes, (count,), device=z.device, generator=randomness)
        return torch.cat([z, one_hot(classes, self.num_classes)], dim=1)

    def class_labels(self, z: Tensor) -> Tensor | None:
        """The classes that latent vectors z [N, Z] of a conditional generator order, one-hot [N, K]; None of another."""
        return z[:, self.noise_size :] if self.num_classes else None


class Discriminator(nn.Module):
    """Tells real images from drawn ones: images [N, C, H, W] -> probability of being real [N, 1].

    images -> Linear 512 -> LeakyReLU 0.2 -> Linear 256 -> LeakyReLU 0.2 -> Linear 1 -> Sigmoid

    Args:
        image_shape: (C, H, W) of an image.
        dropout: probability to drop a unit after each LeakyReLU, in training (Srivastava et al. 2014).
        spectral_norm: divide each weight by its largest singular value (Miyato et al. 2018).
        packing: m images that are judged together, all real or all drawn, so that a lack of variety shows (Lin et al.
            2018); N is then a multiple of m, and logits and probabilities are [N / m, 1].
        num_classes: K > 0 where an image is judged with its class (Mirza & Osindero 2014).

    Raises:
        ConfigError: if a size is below 1.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 28, 28),
        *,
        dropout: float = 0.0,
        spectral_norm: bool = False,
        packing: int = 1,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        check("image_shape", image_shape, ImageShape)
        check("packing", packing, Count)
        self.num_classes = num_classes
        self.image_shape = tuple(image_shape)
        self.dropout = dropout
        self.packing = packing
        layers: list[nn.Module] = []
        inputs = packing * (prod(self.image_shape) + num_classes)
        for width, next_width in pairwise((inputs, *DISCRIMINATOR_WIDTHS)):
            layers += [nn.Linear(width, next_width), nn.LeakyReLU(NEGATIVE_SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear(DISCRIMINATOR_WIDTHS[-1], 1))
        if spectral_norm:
            for layer in self.linear_layers:
                normalised(layer)

    def logits(self, images: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Map images [N, C, H, W] to log-odds of being real [N, 1], which the losses are computed on.

        `labels` are the images' classes, one-hot [N, K], where they are judged with them; `generator` is the source of
        the dropout masks, torch's own by default.

        Raises:
            DataError: if the shape of the images does not fit.
        """
        x = self.packed(images, labels)
        for layer in self.layers:
            x = layer(x)
            if self.drops and isinstance(layer, nn.LeakyReLU):
                x = x * self.dropout_mask(x, generator)
        return x

    @property
    def linear_layers(self) -> list[nn.Linear]:
        """The layers with weights, in their order."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    @property
    def drops(self) -> bool:
        """Whether units are dropped now."""
        return self.training and self.dropout > 0

    def dropout_mask(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw what the units x are multiplied by: 0 for those that are dropped, 1 / (1 - p) for the others."""
        uniform = torch.rand(x.shape, device=x.device, generator=generator)
        return (uniform >= self.dropout).to(x.dtype) / (1.0 - self.dropout)

    def packed(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Write images [N, C, H, W] and their classes [N, K] as the first layer takes them, [N / m, m (C·H·W + K)].

        Raises:
            DataError: if a shape does not fit.
        """
        if images.shape[1:] != self.image_shape or len(images) % self.packing:
            multiple = f" with N a multiple of {self.packing}" if self.packing > 1 else ""
            wanted = ", ".join(map(str, ("N", *self.image_shape)))
            raise DataError(f"images: shape {list(images.shape)} does not fit; give [{wanted}]{multiple}")
        num_classes = 0 if labels is None else labels.shape[1]
        if num_classes != self.num_classes:
            raise DataError(f"labels: {num_classes} classes do not fit; give [N, {self.num_classes}], or None for 0")
        x = images.flatten(1) if labels is None else torch.cat([images.flatten(1), labels], dim=1)
        return x.reshape(len(images) // self.packing, -1)

    def unpacked(self, x: Tensor) -> Tensor:
        """Read the images [N, C, H, W] in what `packed` wrote."""
        pixels = prod(self.image_shape)
        return x.reshape(-1, pixels + self.num_classes)[:, :pixels].reshape(-1, *self.image_shape)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images [N, C, H, W] to the probability that each is real, [N, 1]; `labels` as in `logits`."""
        return torch.sigmoid(self.logits(images, labels))


def one_hot(classes: Tensor, count: int) -> Tensor:
    """Write classes [N] int64 as [N, K] float32, of which that of the class is 1 and the others are 0."""
    return functional.one_hot(classes, count).float()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating loss of the generator (Goodfellow et al. 2014, section 3).

        L_G = E_z[-log D(G(z))],    D = σ(logit)

    -log σ(l) = softplus(-l) does not overflow, where the logarithm of a rounded probability would.
    """
    return functional.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Binary cross-entropy of the discriminator (Goodfellow et al. 2014, equation 1), halved.

    L_D = ½ (E_x[-log D(x)] + E_z[-log(1 - D(G(z)))]),    D = σ(logit)
    """
    return (functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()) / 2
