"""Handwritten digits read piece by piece: MNIST by rows or by pixels.

Shapes: N images, T steps, I pixels at a step.
"""

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from reviver.lstm.config import LSTMConfig, check_length
from reviver.lstm.tasks.task import Part, Sequences, Task
from reviver.mnist import Digits, read_mnist
from reviver.runs.rng import make_rng

SIDE = 28
NUM_DIGITS = 10
AVERAGED = MappingProxyType({49: (7, 7), 98: (7, 14), 196: (14, 14), 392: (14, 28)})
"""Height and width that images are averaged to for fewer pixels; each length doubles one of them."""


@dataclass(frozen=True)
class ImageSequences(Sequences):
    """Images cut into equal pieces, which enter one after the other.

    Attributes:
        pixels: [N, T, I] uint8.
        targets: the digits, [N] int64.
        lengths: None, as all have T steps.
    """

    pixels: Tensor
    targets: Tensor
    lengths: None = None

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """The input at the steps begin <= t < end, [N, end - begin, I]: pixels from 0, the background, to 1."""
        return self.pixels[:, begin:end].float() / 255


class DigitTask(Task):
    """Which digit an image of MNIST (LeCun & Cortes) shows, read from its top left: a class, C = 10.

        row-mnist      x_t = the row t of 28 pixels                         T = 28, I = 28
        pixel-mnist    x_t = the pixel t, row by row                        T = 784, I = 1
                       the same of images averaged to 14 × 28, 14 × 14,     T = 392, 196, 98 or 49
                       7 × 14 or 7 × 7

    Le, Jaitly & Hinton (2015) introduced the task by pixels. `length` is T. Of the 60 000 training images, or
    `data_size` of them, the part `train_fraction` is trained on in every epoch, and the rest, always the same,
    validates; evaluation is on the 10 000 test images. Chance, always saying 1: 1135/10 000 of the test images.
    Baseline: the entropy of their digits.
    """

    output_size = NUM_DIGITS
    chance = 0.1135

    def __init__(self, config: LSTMConfig) -> None:
        self.config = config
        self.input_size = SIDE if config.task == "row-mnist" else 1

    def baseline(self, length: int) -> float:
        """Loss of the best answer without looking, see `Task`."""
        return 2.300848

    @cached_property
    def split(self) -> dict[Part, Digits]:
        """The training images that are trained on, and those that validate."""
        images, labels = read_mnist("train")
        order = torch.randperm(len(images), generator=make_rng(self.config.seed, "split"))[: self.config.data_size]
        size = min(max(1, round(self.config.train_fraction * len(order))), len(order) - 1)
        parts: dict[Part, Tensor] = {"train": order[:size], "validation": order[size:]}
        return {name: Digits(images[part], labels[part]) for name, part in parts.items()}

    def part(self, part: Part, length: int) -> ImageSequences:
        """The images of a part, see `Task`."""
        return self._cut(self.split[part], length)

    def evaluation(self, length: int, size: int) -> tuple[ImageSequences, str]:
        """Images for a trained network, see `Task`."""
        check_length(self.config.task, length)
        images, labels = read_mnist("test")
        origin = "the MNIST test images" if size >= len(images) else f"the first {size} MNIST test images"
        return self._cut(Digits(images[:size], labels[:size]), length), origin

    def _cut(self, digits: Digits, length: int) -> ImageSequences:
        images = digits.images
        if self.input_size == 1 and length != SIDE**2:
            height, width = AVERAGED[length]
            images = functional.avg_pool2d(images.float(), (SIDE // height, SIDE // width)).round().to(torch.uint8)
        return ImageSequences(images.reshape(len(images), length, self.input_size), digits.labels)
