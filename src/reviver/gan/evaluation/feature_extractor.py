"""What looks at images for scores and paths: the digit classifier, or another, its features and its verdict.

Shapes: N images, C channels, H height, W width, D features, K classes.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from reviver.errors import DataError
from reviver.gan.data.image_set import from_pixels
from reviver.gan.evaluation.digit_classifier import IMAGE_SHAPE, DigitClassifier, weights_path
from reviver.gan.evaluation.metrics import snap
from reviver.io.files import read_file
from reviver.io.tensors import read_header

MAX_FILE_BYTES = 1 << 30
CHUNK = 128
"""Images at a time: what lies between two layers then fits the processor's cache."""


class ExtractorOutput(NamedTuple):
    """What an extractor computes of N images."""

    features: Tensor
    """[N, D]"""
    logits: Tensor
    """[N, K]"""


class Features(NamedTuple):
    """What an extractor sees in N images, for scores."""

    features: Tensor
    """[N, D] float32, multiples of `distances.GRID`"""
    classes: Tensor
    """The most probable class of each, [N] int64."""


@dataclass(frozen=True)
class FeatureExtractor:
    """A trained classifier of images in eval mode.

    Attributes:
        name: what it is called where scores are quoted.
        sha256: of the file of its weights.
    """

    name: str
    sha256: str
    classifier: DigitClassifier

    @classmethod
    def pinned(cls) -> "FeatureExtractor":
        """The digit classifier that comes with the package."""
        return cls.read(weights_path(), "reviver digit classifier")

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> "FeatureExtractor":
        """Read the weights of a classifier from a file.

        Raises:
            DataError: if the file is missing, damaged, or holds something else.
        """
        try:
            content = read_file(path, MAX_FILE_BYTES)
            header = read_header(path)
            weights = load(content)
            written = header.metadata.get("image_shape")  # see `save_classifier`; the pinned weights lack it
            channels, height, width = map(int, written.split(" x ")) if written else IMAGE_SHAPE
            with torch.device("meta"):  # takes no memory, whatever shape the file claims
                classifier = DigitClassifier(len(weights["head.bias"]), (channels, height, width))
            for key, tensor in classifier.state_dict().items():
                if weights[key].is_floating_point() != tensor.is_floating_point():
                    raise ValueError(f"{key} is of {weights[key].dtype}, not {tensor.dtype}")
            classifier.load_state_dict(weights, assign=True)
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())[:100]
            remedy = "give a file that reviver gan train-extractor wrote"
            raise DataError(f"extractor: {path} is not the weights of an extractor ({reason}); {remedy}") from error
        classifier.float()
        for weight in (one for one in classifier.parameters() if one.dim() == 4):
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)  # twice as fast
        return cls(name or path.stem, hashlib.sha256(content).hexdigest(), classifier.eval())

    @torch.no_grad()
    def forward(self, images: Tensor) -> ExtractorOutput:
        """Compute features and logits of images [N, C, H, W] in [-1, 1]."""
        assert not self.classifier.training, "BatchNorm would take its statistics from the batch"
        chunks = (chunk.contiguous(memory_format=torch.channels_last) for chunk in images.split(CHUNK))
        features = torch.cat([self.classifier.features(chunk) for chunk in chunks])
        return ExtractorOutput(features, self.classifier.head(features))

    def extract(self, pixels: Tensor) -> Features:
        """Look at images as bytes [N, C, H, W]."""
        seen = []
        for chunk in pixels.split(CHUNK):
            features, logits = self.forward(from_pixels(chunk))
            seen.append(Features(snap(features), logits.argmax(1)))
        return Features(*(torch.cat(parts) for parts in zip(*seen, strict=True)))
