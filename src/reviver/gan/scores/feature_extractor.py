"""The feature extractor of scores: a small convolutional classifier, and the layer before its logits.

The weights of the classifier of digits are pinned in the package. Its features and predictions score GANs on MNIST, and it
chooses the end points of interpolations. `train_classifier.py` trains these weights, and those of classifiers of other images.

Shapes: N images, C channels, H height, W width, D features, K classes.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load, load_file
from torch import Tensor, nn

from reviver.data.images.image_set import from_pixels
from reviver.files.file_errors import reading
from reviver.files.read import read_metadata
from reviver.gan.scores.metrics import snap

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
    """

    def __init__(self, num_classes: int = 10, image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> None:
        super().__init__()
        channels, height, width = image_shape
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
        logits: Tensor = self.head(self.features(images))
        return logits

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the class probabilities [N, K] of images [N, C, H, W] in [-1, 1]."""
        return torch.cat([self(chunk).softmax(1) for chunk in images.split(CHUNK)])


def weights_path() -> Path:
    """Return the path of the pinned weights."""
    return Path(str(files("reviver") / "data" / "digit_classifier.safetensors"))


class Features(NamedTuple):
    """Features of N images for scores, [N, D] float32, multiples of `metrics.GRID`, and predicted classes, [N] int64."""

    features: Tensor
    classes: Tensor


@dataclass(frozen=True)
class FeatureExtractor:
    """A trained classifier of images, in eval mode, with its name in scores and the SHA-256 of the file of its weights."""

    name: str
    sha256: str
    classifier: DigitClassifier

    @classmethod
    def pinned(cls) -> "FeatureExtractor":
        """Return the digit classifier of the package."""
        return cls.read(weights_path(), "reviver digit classifier")

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> "FeatureExtractor":
        """Read an untrusted file that `save_classifier` wrote; its name is by default that of the extractor."""
        with reading(path, "give a file that reviver gan train-extractor wrote"):
            content = path.read_bytes()
            shape_text = read_metadata(path).get("image_shape")  # the pinned weights lack it
            weights = load(content)
            channels, height, width = map(int, shape_text.split(" x ")) if shape_text else IMAGE_SHAPE
            with torch.device("meta"):  # the weights are assigned
                classifier = DigitClassifier(len(weights["head.bias"]), (channels, height, width))
            classifier.load_state_dict(weights, assign=True)
        classifier.float()
        for parameter in classifier.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)  # twice as fast
        return cls(name or path.stem, hashlib.sha256(content).hexdigest(), classifier.eval())

    @torch.no_grad()
    def extract(self, pixels: Tensor) -> Features:
        """Return the features and predicted classes of images as bytes [N, C, H, W]."""
        assert not self.classifier.training, "BatchNorm would take its statistics from the batch"
        chunks = (from_pixels(chunk).contiguous(memory_format=torch.channels_last) for chunk in pixels.split(CHUNK))
        features = [self.classifier.features(chunk) for chunk in chunks]
        classes = [self.classifier.head(chunk).argmax(1) for chunk in features]
        return Features(snap(torch.cat(features)), torch.cat(classes))
