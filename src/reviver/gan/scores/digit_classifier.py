"""A small convolutional network that classifies digits, with pinned weights in the package.

Its features and predictions score GANs on MNIST, and it chooses the end points of interpolations.
`train_classifier.py` trains the pinned weights, and those of classifiers for other images.

Shapes: N images, C channels, H height, W width, K classes.
"""

from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reviver.errors import DataError

IMAGE_SHAPE = (1, 28, 28)
"""(C, H, W) of the images that the pinned classifier takes."""
NUM_FEATURES = 128
CHANNELS = (32, 64, 128)
MIN_SIZE = 2 ** len(CHANNELS)
"""Minimum height and width, pixels: each pooling halves them."""
CHUNK = 128
"""Images that are classified at a time: the activations between two layers then fit the processor's cache."""


class DigitClassifier(nn.Module):
    """Convolutional classifier: images [N, C, H, W] in [-1, 1] -> logits [N, K].

    (Conv 3 x 3 -> BatchNorm -> ReLU -> MaxPool 2 x 2) with 32, 64 and 128 channels
      -> Linear 128 -> ReLU -> Linear K

    Images smaller than MIN_SIZE are a `DataError`.
    """

    def __init__(self, num_classes: int = 10, image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < MIN_SIZE:
            raise DataError(
                f"images must be at least {MIN_SIZE} x {MIN_SIZE} pixels to classify, got {height} x {width}"
            )
        self.image_shape = image_shape
        blocks: list[nn.Module] = []
        for next_channels in CHANNELS:
            convolution = nn.Conv2d(channels, next_channels, 3, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(next_channels), nn.ReLU(), nn.MaxPool2d(2)]
            channels = next_channels
        pooled_size = channels * (height // MIN_SIZE) * (width // MIN_SIZE)
        self.features = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(pooled_size, NUM_FEATURES), nn.ReLU())
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    @classmethod
    def pinned(cls) -> "DigitClassifier":
        """Return the classifier with the weights of the package, in eval mode."""
        classifier = cls()
        classifier.load_state_dict(load_file(weights_path()))
        return classifier.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, C, H, W] in [-1, 1] to logits [N, K]."""
        return self.logits(self.features(images))

    def logits(self, features: Tensor) -> Tensor:
        """Map features [N, D] to logits [N, K]."""
        logits: Tensor = self.head(features)
        return logits

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the class probabilities [N, K] of images [N, C, H, W] in [-1, 1]."""
        return torch.cat([self(chunk).softmax(1) for chunk in images.split(CHUNK)])


def weights_path() -> Path:
    """Return the path of the pinned weights."""
    return Path(str(files("reviver") / "data" / "digit_classifier.safetensors"))
