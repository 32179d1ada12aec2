"""Handwritten digits as sequences: MNIST by rows or by pixels.

Shapes: N images, T steps, I pixels per step.
"""

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from reviver.data.images.named import Digits, read_mnist
from reviver.data.task import Sequences, SplitName, Task
from reviver.rng import make_rng

SIDE = 28
DOWNSAMPLED_SHAPES = MappingProxyType({49: (7, 7), 98: (7, 14), 196: (14, 14), 392: (14, 28)})
"""Height and width of the downsampled images of a length T; each length doubles one of them."""


@dataclass(frozen=True)
class ImageSequences(Sequences):
    """Images as sequences of rows or pixels; all have T steps."""

    pixels: Tensor
    """[N, T, I] uint8."""
    targets: Tensor
    """The digits, [N] int64."""
    lengths: None = None

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the pixels of the steps begin ≤ t < end, [N, end - begin, I], from 0 (background) to 1."""
        return self.pixels[:, begin:end].float() / 255


class DigitTask(Task):
    """The tasks `row-mnist` and `pixel-mnist`, see their definitions.

    Of the 60 000 training images, or `data_size` of them, the fraction `train_fraction` is the training set and the rest
    the validation set; evaluation uses the 10 000 test images.
    """

    @cached_property
    def splits(self) -> dict[SplitName, Digits]:
        """Training and validation images."""
        images, labels = read_mnist("train")
        order = torch.randperm(len(images), generator=make_rng(self.config.seed, "split"))[: self.config.data_size]
        size = min(max(1, round(self.config.train_fraction * len(order))), len(order) - 1)
        indices: dict[SplitName, Tensor] = {"train": order[:size], "validation": order[size:]}
        return {name: Digits(images[index], labels[index]) for name, index in indices.items()}

    def fixed_split(self, name: SplitName, length: int) -> ImageSequences:
        """Return the images of a split as sequences, see `Task`."""
        return self._as_sequences(self.splits[name], length)

    def evaluation(self, length: int, size: int) -> tuple[ImageSequences, str]:
        """Return test images as sequences, see `Task`."""
        self.definition.check_length(length)
        images, labels = read_mnist("test")
        origin = "the MNIST test images" if size >= len(images) else f"the first {size} MNIST test images"
        return self._as_sequences(Digits(images[:size], labels[:size]), length), origin

    def _as_sequences(self, digits: Digits, length: int) -> ImageSequences:
        images = digits.images
        if self.input_size == 1 and length != SIDE**2:
            height, width = DOWNSAMPLED_SHAPES[length]
            images = functional.avg_pool2d(images.float(), (SIDE // height, SIDE // width)).round().to(torch.uint8)
        return ImageSequences(images.reshape(len(images), length, self.input_size), digits.labels)
