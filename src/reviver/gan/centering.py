r"""Centering of the discriminator's inputs: D sees s (x - m), where m is the mean of the training images.

The first layer's gradient is a sum of outer products with its inputs, so the curvature of its loss follows the second
moment E[x xᵀ] = Cov(x) + m mᵀ. Images in [-1, 1] that are mostly black have a large mean: of MNIST ‖m‖² = 515, while all
variance together is 211 and its largest principal component 20. One direction, that of m, is then many times as steep as
all others; it bounds the learning rate, and the rest is learned slowly. Subtracting m removes that direction (LeCun,
Bottou, Orr & Müller 1998, "Efficient BackProp", section 4.3). The scale s keeps what else depends on the size of the
inputs: it keeps the mean square of the input,

    s² = E‖x‖² / E‖x - m‖²,

so images whose mean is 0 are left as they are.

Centering changes the coordinates in which D learns, not the functions that it can be: with W ← s W and b ← b - s W m in
the first layer, D without centering gives the same logits. `fold` does that to each D that leaves the training. Penalties
are of the gradient with respect to the image x itself, so they have the factor s.

Shapes: C channels, H height, W width, K classes.
"""

import copy
import hashlib
from math import prod, sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reviver.data.images.image_set import ImageSet
from reviver.gan.custom_networks import CustomDiscriminator
from reviver.gan.networks import Discriminator
from reviver.settings.validation import refuse

CHUNK_PIXELS = 1 << 22
"""Pixels that are read at a time to compute the moments of the images."""


class ImageMoments(NamedTuple):
    """Moments of training images in [-1, 1]."""

    mean: Tensor
    """m, [C, H, W] float64."""
    variance: float
    """E‖x - m‖², the variance of all pixels together."""

    @property
    def mean_norm_sq(self) -> float:
        """‖m‖²."""
        return self.mean.square().sum().item()


def image_moments(data: ImageSet) -> ImageMoments:
    """Return the moments of all images of `data`, computed from sums of integers, so without rounding in any order."""
    total, squares = torch.zeros(2, *data.image_shape, dtype=torch.int64)
    batches = torch.arange(len(data)).split(max(1, CHUNK_PIXELS // prod(data.image_shape)))
    for pixels in data.read(list(batches), torch.device("cpu")):
        total += pixels.sum(0, dtype=torch.int64)
        squares += pixels.int().square().sum(0, dtype=torch.int64)
    mean = total.double() / len(data)  # of the bytes
    variance = squares.double() / len(data) - mean.square()
    return ImageMoments(mean / 127.5 - 1, max(0.0, variance.sum().item()) / 127.5**2)


def centering_scale(moments: ImageMoments) -> float:
    """Return s = √(E‖x‖² / E‖x - m‖²); equal images, for which it is not defined, are a `ConfigError`."""
    mean_sq = moments.mean_norm_sq + moments.variance
    if moments.variance <= 1e-12 * mean_sq:
        refuse("input_centering", "must be none if all images are equal, got auto")
    return sqrt(mean_sq / moments.variance)


class CenteredDiscriminator(Discriminator):
    """A `Discriminator` that sees s (x - m) instead of the image x; class labels are not changed.

    m and s are buffers, so a checkpoint holds them beside the weights. Before `set_centering`, m is 0 and s is 1.
    """

    input_mean: Tensor
    """m at each input of the first layer, 0 at the labels; [C·H·W + K]."""
    input_scale: Tensor
    """s at each input of the first layer, 1 at the labels; [C·H·W + K]."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        size = prod(self.image_shape) + self.num_classes
        self.register_buffer("input_mean", torch.zeros(size))
        self.register_buffer("input_scale", torch.ones(size))

    @torch.no_grad()
    def set_centering(self, mean: Tensor, scale: float) -> None:
        """Set m [C, H, W] and s."""
        images = mean.to(self.input_mean.dtype).to(self.input_mean.device)[None]
        labels = images.new_zeros(1, self.num_classes) if self.num_classes else None
        self.input_mean.copy_(super().inputs(images, labels)[0])
        is_pixel = super().inputs(torch.ones_like(images), labels)[0]
        self.input_scale.copy_(1 + (scale - 1) * is_pixel)

    def inputs(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the centered inputs of the first layer; see `Discriminator.inputs`."""
        return (super().inputs(images, labels) - self.input_mean) * self.input_scale

    def save_pretrained(self, folder: Any) -> None:
        """Write the network that `fold` returns."""
        fold(self).save_pretrained(folder)


@torch.no_grad()
def fold(discriminator: Discriminator) -> Discriminator:
    """Return D with the same logits in eval mode and without centering: W ← s W, b ← b - s W m in the first layer."""
    if not isinstance(discriminator, CenteredDiscriminator):
        return discriminator
    source = copy.deepcopy(discriminator).cpu()  # not every device has float64
    with torch.device("meta"):  # its initial weights would use random numbers
        result = Discriminator(source.image_shape, dropout=source.dropout, num_classes=source.num_classes)
    first: Any = source.layers[0]
    weight = first.weight.double() * source.input_scale
    first.bias.copy_(first.bias.double() - weight @ source.input_mean.double())
    first.weight.copy_(weight)
    result = result.to_empty(device="cpu").to(first.bias.dtype)
    result.layers.load_state_dict(source.layers.state_dict())
    return result.to(discriminator.input_mean.device).train(discriminator.training)


def center_inputs(discriminator: CenteredDiscriminator | CustomDiscriminator, moments: ImageMoments) -> dict[str, Any]:
    """Set m and s of a discriminator, and return the record of them in run.json, see `reviver.runs.records.Centering`."""
    scale = centering_scale(moments)
    discriminator.set_centering(moments.mean, scale)
    return {
        "scale": scale,
        "mean_norm_sq": moments.mean_norm_sq,
        "variance": moments.variance,
        "mean_sha256": hashlib.sha256(moments.mean.numpy().tobytes()).hexdigest(),
    }
