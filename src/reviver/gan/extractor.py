"""What looks at images for the scores: the digit classifier, its features and its verdict.

Shapes: N images, C channels, H height, W width, D features.
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
from reviver.gan.classifier import DigitClassifier, weights_path
from reviver.gan.distances import snap
from reviver.gan.images import from_pixels

CHUNK = 128
"""Images at a time: what lies between two layers then fits the processor's cache."""


class Seen(NamedTuple):
    """What an extractor sees in N images."""

    features: Tensor
    """[N, D] float32, multiples of `distances.GRID`"""
    classes: Tensor
    """The most probable class of each, [N] int64."""


@dataclass(frozen=True)
class Extractor:
    """A trained classifier of images in eval mode.

    Attributes:
        name: what it is called where scores are quoted.
        sha256: of the file of its weights.
    """

    name: str
    sha256: str
    classifier: DigitClassifier

    @classmethod
    def pinned(cls) -> "Extractor":
        """The digit classifier that comes with the package."""
        return cls.read(weights_path(), "reviver digit classifier")

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> "Extractor":
        """Read the weights of a classifier from a file.

        Raises:
            DataError: if the file is missing, damaged, or holds something else.
        """
        try:
            content = path.read_bytes()
            weights = load(content)
            classifier = DigitClassifier(len(weights["head.bias"]))
            classifier.load_state_dict(weights)
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())[:100]
            raise DataError(
                f"extractor: {path} is not the weights of an extractor ({reason}); give a file that "
                "reviver gan extractor wrote"
            ) from error
        for weight in (one for one in classifier.parameters() if one.dim() == 4):
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)  # twice as fast
        return cls(name or path.stem, hashlib.sha256(content).hexdigest(), classifier.eval())

    @torch.no_grad()
    def look(self, pixels: Tensor) -> Seen:
        """Look at images as bytes [N, 1, 28, 28]."""
        assert not self.classifier.training, "BatchNorm would take its statistics from the batch"
        seen = []
        for chunk in pixels.split(CHUNK):
            features = self.classifier.features(from_pixels(chunk).contiguous(memory_format=torch.channels_last))
            seen.append(Seen(snap(features), self.classifier.head(features).argmax(1)))
        return Seen(*(torch.cat(parts) for parts in zip(*seen, strict=True)))
