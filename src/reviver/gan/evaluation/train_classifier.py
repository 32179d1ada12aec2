"""Makes the pinned weights of the digit classifier: `python -m reviver.gan.train_classifier`.

`reviver gan train-extractor` trains the same network on other images, so that GANs that learned them can be scored.

Trained on the 60 000 training images of MNIST, each shifted, turned and scaled a little at random, so
that it judges generated digits by their form. The test images only measure the result, which is written
beside the weights.
"""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from reviver.config import Count
from reviver.errors import DataError
from reviver.gan.data.image_set import LABELLED, ImageSet, from_pixels, load_mnist
from reviver.gan.evaluation.digit_classifier import DigitClassifier, weights_path
from reviver.io.files import atomic_write
from reviver.runs.rng import make_rng
from reviver.validation import check

EPOCHS, BATCH_SIZE, LEARNING_RATE, SEED = 10, 128, 2e-3, 0
MAX_ANGLE, MAX_SCALE, MAX_SHIFT = math.radians(10), 0.1, 0.1


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale and shift each image [N, C, H, W] at random."""

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(images), generator=generator) * 2 - 1) * limit

    angle, scale = uniform(MAX_ANGLE), 1 + uniform(MAX_SCALE)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos, -sin, uniform(MAX_SHIFT)], 1), torch.stack([sin, cos, uniform(MAX_SHIFT)], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images + 1, grid, align_corners=False) - 1  # the border is black, -1


def train_classifier(
    data: ImageSet | None = None, epochs: int = EPOCHS, progress: Callable[[int, float], None] | None = None
) -> DigitClassifier:
    """Train a classifier from scratch, by default on MNIST; `progress` is told each finished epoch and its last loss.

    Raises:
        ConfigError: if `epochs` is below 1.
        DataError: if the images have no labels, are too small, or lack a class between 0 and the last.
    """
    check("epochs", epochs, Count)
    data = data or load_mnist("train")
    if data.labels is None:
        raise DataError(f"data: {data.name} has no labels, which an extractor learns; {LABELLED}")
    classes = int(data.labels.max()) + 1
    if len(data.labels.unique()) != classes or classes < 2:
        problem = f"data: {data.name} has labels from 0 to {classes - 1} and not each of them"
        raise DataError(f"{problem}; number 2 or more classes from 0")
    torch.manual_seed(SEED)
    randomness = make_rng(SEED, "classifier")
    classifier = DigitClassifier(classes, data.image_shape)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    updates = epochs * math.ceil(len(data.images) / BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=updates)
    for epoch in range(1, epochs + 1):
        for indices in torch.randperm(len(data.images), generator=randomness).split(BATCH_SIZE):
            images = jitter(from_pixels(data.images[indices]), randomness)
            loss = functional.cross_entropy(classifier(images), data.labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if progress is not None:
            progress(epoch, float(loss.detach()))
    return classifier.eval()


def accuracy(classifier: DigitClassifier, test: ImageSet | None = None) -> float:
    """Return the fraction of test images, by default MNIST's, that are recognised.

    Raises:
        DataError: if they have no labels.
    """
    test = test or load_mnist("test")
    if test.labels is None:
        raise DataError(f"data: the test images of {test.name} have no labels; {LABELLED}")
    return float((classifier.probabilities(from_pixels(test.images)).argmax(1) == test.labels).float().mean())


def save_classifier(classifier: DigitClassifier, path: Path) -> str:
    """Write the weights and the shape of the images, whole or not at all; returns the file's SHA-256."""
    described = {"image_shape": " x ".join(map(str, classifier.image_shape))}
    with atomic_write(path) as temporary:
        save_file({key: value.contiguous() for key, value in classifier.state_dict().items()}, temporary, described)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(path: Path | None = None) -> None:
    """Train, measure and write the weights with a description beside them."""
    path = path or weights_path()
    classifier = train_classifier()
    sha256 = save_classifier(classifier, path)
    description = {
        "command": "python -m reviver.gan.train_classifier",
        "test_accuracy": round(accuracy(classifier), 4),
        "sha256": sha256,
        "torch": torch.__version__,
    }
    path.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")


if __name__ == "__main__":
    main()
