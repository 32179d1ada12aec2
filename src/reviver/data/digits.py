"""Handwritten digits as sequences: MNIST by rows or by pixels.

Shapes: N images, T steps, I pixels per step.
"""

from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from reviver.data.generated import Numbers
from reviver.data.images.named import Digits, read_mnist
from reviver.data.task import SplitName, Task
from reviver.rng import make_rng

SIDE = 28
DOWNSAMPLED_SHAPES = MappingProxyType({49: (7, 7), 98: (7, 14), 196: (14, 14), 392: (14, 28)})
"""Height and width of the downsampled images of a length T; each length doubles one of them."""


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

    def fixed_split(self, name: SplitName, length: int) -> Numbers:
        """Return the images of a split as sequences, see `Task`."""
        return self._as_sequences(self.splits[name], length)

    def evaluation(self, length: int, size: int) -> tuple[Numbers, str]:
        """Return test images as sequences, see `Task`."""
        self.definition.check_length(length)
        images, labels = read_mnist("test")
        origin = "the MNIST test images" if size >= len(images) else f"the first {size} MNIST test images"
        return self._as_sequences(Digits(images[:size], labels[:size]), length), origin

    def _as_sequences(self, digits: Digits, length: int) -> Numbers:
        images = digits.images
        if self.input_size == 1 and length != SIDE**2:
            height, width = DOWNSAMPLED_SHAPES[length]
            images = functional.avg_pool2d(images.float(), (SIDE // height, SIDE // width)).round().to(torch.uint8)
        return Numbers(images.reshape(len(images), length, self.input_size), None, digits.labels)
