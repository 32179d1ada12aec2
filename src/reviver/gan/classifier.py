"""A small convolutional network that recognises digits, trained by this project and pinned in the package.

It chooses end points in latent space and counts what a generator draws. `train_classifier.py` makes its weights.

Shapes: N images, K = 10 classes.
"""

from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reviver.errors import DataError

IMAGE_SHAPE = (1, 28, 28)
NUM_FEATURES = 128


class DigitClassifier(nn.Module):
    """Grey 28 x 28 images in [-1, 1] -> logits of the digits 0 ... 9, or of other classes.

    (Convolution 3 x 3 -> BatchNorm -> ReLU -> max pooling 2 x 2) with 32, 64 and 128 channels
      -> Linear 128 -> ReLU -> Linear 10
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for channels, next_channels in ((1, 32), (32, 64), (64, 128)):
            blocks += [
                nn.Conv2d(channels, next_channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(next_channels),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(128 * 3 * 3, NUM_FEATURES), nn.ReLU())
        self.head = nn.Linear(NUM_FEATURES, classes)

    @classmethod
    def pinned(cls) -> "DigitClassifier":
        """Return the classifier with the weights that come with the package, in eval mode."""
        classifier = cls()
        classifier.load_state_dict(load_file(weights_path()))
        return classifier.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 1, 28, 28] in [-1, 1] to logits [N, 10].

        Raises:
            DataError: if the shape of the images does not fit.
        """
        if tuple(images.shape[1:]) != IMAGE_SHAPE:
            raise DataError(
                f"images: shape {list(images.shape)} does not fit; the classifier knows grey digits [N, 1, 28, 28]"
            )
        logits: Tensor = self.head(self.features(images))
        return logits

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probability of each digit for images [N, 1, 28, 28] in [-1, 1]: [N, 10]."""
        return torch.cat([self(chunk).softmax(1) for chunk in images.split(512)])


def weights_path() -> Path:
    """Where the pinned weights are."""
    return Path(str(files("reviver") / "data" / "digit_classifier.safetensors"))
