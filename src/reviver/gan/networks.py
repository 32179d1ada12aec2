"""The two networks of the GAN (Goodfellow et al. 2014), with the original's layers.

Shapes: N images, Z latent size, C channels, H height, W width, K classes (0 unless conditional).
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.errors import DataError
from reviver.files.pretrained import PretrainedMixin
from reviver.rng import Rng, RowsRng, rand
from reviver.runs.records import ImageData
from reviver.settings.fields import Count, CountOrZero, Positive, Probability
from reviver.settings.validation import JSON_LIST, settings

GENERATOR_WIDTHS = (128, 256, 512, 1024)
DISCRIMINATOR_WIDTHS = (512, 256)
NEGATIVE_SLOPE = 0.2
TAGS = ("reviver", "gan")
"""Tags of the model cards."""

ImageShape = Annotated[tuple[Count, Count, Count], JSON_LIST]


@settings
class GeneratorSpec:
    """Arguments of `Generator`."""

    latent_size: Count
    image_shape: ImageShape
    batch_norm_eps: Positive
    num_classes: CountOrZero


@settings
class DiscriminatorSpec:
    """Arguments of `Discriminator`."""

    image_shape: ImageShape
    dropout: Probability
    num_classes: CountOrZero


class Generator(nn.Module, PretrainedMixin):
    """The generator G: latent vectors z [N, Z] -> images [N, C, H, W] in [-1, 1].

    z -> Linear 128 -> LeakyReLU 0.2
      -> (Linear 256 -> BatchNorm -> LeakyReLU 0.2), the same with 512 and with 1024
      -> Linear C·H·W -> Tanh

    `image_shape` is (C, H, W), and `batch_norm_eps` is added to the variance in BatchNorm (Ioffe & Szegedy 2015). With
    `num_classes` K > 0 the generator is conditional (Mirza & Osindero 2014): a latent vector is the noise followed by the
    one-hot class, and Z = latent_size + K. A size below 1 is a `ConfigError`.
    """

    _spec, _data_model, _tags = GeneratorSpec, ImageData, TAGS
    _pipeline_tag = "unconditional-image-generation"
    _call = "images = network(network.sample_latents(25, torch.Generator()))  # [25, C, H, W] in [-1, 1]"

    def __init__(
        self,
        latent_size: int = 100,
        image_shape: Sequence[int] = (1, 28, 28),
        *,
        batch_norm_eps: float = 1e-5,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        sizes: Any = {"latent_size": latent_size, "image_shape": image_shape, "num_classes": num_classes}
        spec = GeneratorSpec(**sizes, batch_norm_eps=batch_norm_eps)
        self.image_shape, self.noise_size, self.num_classes = spec.image_shape, latent_size, num_classes
        self.latent_size = latent_size + num_classes
        layers: list[nn.Module] = [nn.Linear(self.latent_size, GENERATOR_WIDTHS[0]), nn.LeakyReLU(NEGATIVE_SLOPE)]
        for width, next_width in pairwise(GENERATOR_WIDTHS):
            normalization = nn.BatchNorm1d(next_width, eps=batch_norm_eps)
            layers += [nn.Linear(width, next_width), normalization, nn.LeakyReLU(NEGATIVE_SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear(GENERATOR_WIDTHS[-1], prod(self.image_shape)), nn.Tanh())

    def _spec_values(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        epsilon = next(layer.eps for layer in self.layers if isinstance(layer, nn.BatchNorm1d))
        shape, classes = self.image_shape, self.num_classes
        return {"latent_size": self.noise_size, "image_shape": shape, "batch_norm_eps": epsilon, "num_classes": classes}

    def forward(self, z: Tensor) -> Tensor:
        """Return the images [N, C, H, W] of latent vectors z [N, Z], see `sample_latents`."""
        pixels: Tensor = self.layers(z)  # [N, C·H·W]
        return pixels.view(-1, *self.image_shape)

    def sample_latents(self, count: int, rng: torch.Generator, classes: Tensor | None = None) -> Tensor:
        """Sample N = `count` latent vectors z ~ N(0, I), [N, Z], on the device of `rng` and in the dtype of the weights.

        A conditional generator takes `classes`, indices [N] int64; by default they are uniformly random.
        """
        z = torch.randn(count, self.noise_size, device=rng.device, generator=rng)
        if self.num_classes:
            if classes is None:
                classes = torch.randint(self.num_classes, (count,), device=z.device, generator=rng)
            z = torch.cat([z, one_hot(classes, self.num_classes)], dim=1)
        return z.to(next(self.parameters()).dtype)

    def class_labels(self, z: Tensor) -> Tensor | None:
        """Return the one-hot classes [N, K] in latent vectors z [N, Z]; None if the generator is not conditional."""
        return z[:, self.noise_size :] if self.num_classes else None


class Discriminator(nn.Module, PretrainedMixin):
    """The discriminator D: images [N, C, H, W] -> probability that each is real, [N, 1].

    images -> Linear 512 -> LeakyReLU 0.2 -> Linear 256 -> LeakyReLU 0.2 -> Linear 1 -> Sigmoid

    Args:
        image_shape: (C, H, W) of an image; a size below 1 is a `ConfigError`.
        dropout: probability, below 1, of dropping a unit after each LeakyReLU, in training (Srivastava et al. 2014).
        num_classes: K > 0 if the input is an image and its one-hot class (Mirza & Osindero 2014).
    """

    _spec, _data_model, _tags = DiscriminatorSpec, ImageData, TAGS

    def __init__(self, image_shape: Sequence[int] = (1, 28, 28), *, dropout: float = 0.0, num_classes: int = 0) -> None:
        super().__init__()
        spec = DiscriminatorSpec(image_shape=image_shape, dropout=dropout, num_classes=num_classes)  # type: ignore[arg-type]
        self.image_shape, self.dropout, self.num_classes = spec.image_shape, dropout, num_classes
        layers: list[nn.Module] = []
        for width, next_width in pairwise((prod(self.image_shape) + num_classes, *DISCRIMINATOR_WIDTHS)):
            layers += [nn.Linear(width, next_width), nn.LeakyReLU(NEGATIVE_SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear(DISCRIMINATOR_WIDTHS[-1], 1))

    @property
    def _call(self) -> str:  # type: ignore[override]
        labels = ", labels" if self.num_classes else ""
        return f"probabilities = network(images{labels})  # images [N, C, H, W] in [-1, 1]"

    def logits(self, images: Tensor, labels: Tensor | None = None, rng: Rng = None) -> Tensor:
        """Return the log-odds, [N, 1], that images [N, C, H, W] in [-1, 1] are real; losses are computed from them.

        A conditional discriminator needs one-hot `labels` [N, K]. `rng`, by default torch's own, generates the dropout
        masks. Images of another shape are a `DataError`.
        """
        x = self.inputs(images, labels)
        for layer in self.layers:
            x = layer(x)
            if self.training and self.dropout > 0 and isinstance(layer, nn.LeakyReLU):
                uniform = rand(x.shape, rng, device=x.device)
                x = x * ((uniform >= self.dropout).to(x.dtype) / (1.0 - self.dropout))
        return x

    def paired_logits(
        self, real: Tensor, fake: Tensor, labels: Tensor | None = None, rng: Rng = None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of real and of generated images, [N, 1] each, in one pass: D has no BatchNorm.

        `labels` [2N, K] are those of the real and then of the generated images.
        """
        rng = rng.repeated(2) if isinstance(rng, RowsRng) else rng
        real_logits, fake_logits = self.logits(torch.cat([real, fake]), labels, rng).chunk(2)
        return real_logits, fake_logits

    def inputs(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the inputs of the first layer, [N, C·H·W + K], of images [N, C, H, W] and labels [N, K]."""
        if images.shape[1:] != self.image_shape:
            shape = ", ".join(map(str, ("N", *self.image_shape)))
            raise DataError(f"images must have shape [{shape}], got {list(images.shape)}")
        return images.flatten(1) if labels is None else torch.cat([images.flatten(1), labels], dim=1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the probability that each of the images [N, C, H, W] is real, [N, 1]; `labels` as in `logits`."""
        return torch.sigmoid(self.logits(images, labels))


def one_hot(classes: Tensor, count: int) -> Tensor:
    """Return class indices [N] int64 as one-hot vectors [N, K] float32, K = `count`."""
    return functional.one_hot(classes, count).float()
