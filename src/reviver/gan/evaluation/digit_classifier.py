"""A small convolutional network that recognises digits, trained by this project and pinned in the package.

It chooses end points in latent space and counts what a generator draws. `train_classifier.py` makes its weights, and
those of others like it, which know other images.

Shapes: N images, C channels, H height, W width, K classes.
"""

from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reviver.errors import DataError

IMAGE_SHAPE = (1, 28, 28)
"""(C, H, W) of the images that the pinned classifier knows."""
NUM_FEATURES = 128
CHANNELS = (32, 64, 128)
MIN_SIZE = 2 ** len(CHANNELS)
"""Of height and width: each pooling halves them."""


class DigitClassifier(nn.Module):
    """Images in [-1, 1], grey and 28 x 28 by default -> logits of the digits 0 ... 9, or of other classes.

    (Convolution 3 x 3 -> BatchNorm -> ReLU -> max pooling 2 x 2) with 32, 64 and 128 channels
      -> Linear 128 -> ReLU -> Linear K

    Raises:
        DataError: if the images are too small to be pooled so often.
    """

    def __init__(self, classes: int = 10, image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < MIN_SIZE:
            raise DataError(f"images: {height} x {width} pixels are too few to classify; give {MIN_SIZE} x {MIN_SIZE}")
        self.image_shape = image_shape
        blocks: list[nn.Module] = []
        for next_channels in CHANNELS:
            convolution = nn.Conv2d(channels, next_channels, 3, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(next_channels), nn.ReLU(), nn.MaxPool2d(2)]
            channels = next_channels
        pooled = channels * (height // MIN_SIZE) * (width // MIN_SIZE)
        self.features = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(pooled, NUM_FEATURES), nn.ReLU())
        self.head = nn.Linear(NUM_FEATURES, classes)

    @classmethod
    def pinned(cls) -> "DigitClassifier":
        """Return the classifier with the weights that come with the package, in eval mode."""
        classifier = cls()
        classifier.load_state_dict(load_file(weights_path()))
        return classifier.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, C, H, W] in [-1, 1] to logits [N, K].

        Raises:
            DataError: if the shape of the images does not fit.
        """
        if tuple(images.shape[1:]) != self.image_shape:
            known = ", ".join(map(str, ("N", *self.image_shape)))
            raise DataError(f"images: shape {list(images.shape)} does not fit; the classifier knows [{known}]")
        logits: Tensor = self.head(self.features(images))
        return logits

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probability of each class for images [N, C, H, W] in [-1, 1]: [N, K]."""
        return torch.cat([self(chunk).softmax(1) for chunk in images.split(512)])


def weights_path() -> Path:
    """Where the pinned weights are."""
    return Path(str(files("reviver") / "data" / "digit_classifier.safetensors"))
