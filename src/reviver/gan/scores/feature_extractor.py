"""The feature extractor of scores: a trained classifier, and the layer before its logits.

Shapes: N images, C channels, H height, W width, D features, K classes.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load
from torch import Tensor

from reviver.data.images.image_set import from_pixels
from reviver.files.file_errors import reading
from reviver.files.read import read_header
from reviver.gan.scores.digit_classifier import CHUNK, IMAGE_SHAPE, DigitClassifier, weights_path
from reviver.gan.scores.metrics import snap


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
        """Read an untrusted file that `save_classifier` wrote; its name is by default that of the extractor.

        Raises `DataError` if the file is missing, damaged, or holds something else.
        """
        with reading(path, "give a file that reviver gan train-extractor wrote"):
            content = path.read_bytes()
            shape_text = read_header(path).metadata.get("image_shape")  # the pinned weights lack it
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
        classes = [self.classifier.logits(chunk).argmax(1) for chunk in features]
        return Features(snap(torch.cat(features)), torch.cat(classes))
