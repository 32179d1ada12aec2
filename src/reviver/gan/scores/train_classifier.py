"""Training of the digit classifier; `reviver gan train-extractor --data mnist` makes the pinned weights.

It learns the 60 000 training images of MNIST, each rotated, scaled and shifted a little at random, so that it classifies
generated digits by their shape. The test images only measure the accuracy, which is written beside the weights.
`reviver gan train-extractor` trains the same network on other images, so that GANs that learned them can be scored.

Shapes: N images, C channels, H height, W width.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from reviver.data.images.image_set import ImageSet, from_pixels, load_images
from reviver.files.atomic import atomic_write
from reviver.gan.scores.feature_extractor import DigitClassifier
from reviver.rng import make_rng

EPOCHS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY, SEED = 10, 128, 2e-3, 0.01, 0
MAX_ANGLE, MAX_SCALE, MAX_SHIFT = math.radians(10), 0.1, 0.1
"""Limits of the random rotation (radians), relative scaling, and shift (of half the image)."""


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Rotate, scale and shift each image [N, C, H, W] in [-1, 1] at random."""

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(images), generator=rng) * 2 - 1) * limit

    angle, scale = uniform(MAX_ANGLE), 1 + uniform(MAX_SCALE)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos, -sin, uniform(MAX_SHIFT)], 1), torch.stack([sin, cos, uniform(MAX_SHIFT)], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images + 1, grid, align_corners=False) - 1  # fills the border with black, -1


def train_classifier(
    data: ImageSet | None = None, epochs: int = EPOCHS, progress: Callable[[int, float], None] | None = None
) -> DigitClassifier:
    """Train a classifier of labeled images, by default MNIST, with AdamW and a one-cycle learning rate; it is in eval mode.

    `progress` is called after each epoch with its number and its last loss.
    """
    data = data or load_images("mnist")
    assert data.labels is not None
    num_classes = int(data.labels.max()) + 1
    torch.manual_seed(SEED)
    rng = make_rng(SEED, "classifier")
    classifier = DigitClassifier(num_classes, data.image_shape)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    updates = epochs * math.ceil(len(data.images) / BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=updates)
    for epoch in range(1, epochs + 1):
        for indices in torch.randperm(len(data.images), generator=rng).split(BATCH_SIZE):
            images = augment(from_pixels(data.images[indices]), rng)
            loss = functional.cross_entropy(classifier(images), data.labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if progress is not None:
            progress(epoch, float(loss.detach()))
    return classifier.eval()


def accuracy(classifier: DigitClassifier, test: ImageSet | None = None) -> float:
    """Return the fraction of labeled test images, by default MNIST's, that are classified correctly."""
    test = test or load_images("mnist", split="test")
    assert test.labels is not None
    return float((classifier.probabilities(from_pixels(test.images)).argmax(1) == test.labels).double().mean())


def save_classifier(classifier: DigitClassifier, path: Path) -> str:
    """Write the weights and the image shape atomically; return the SHA-256 of the file."""
    metadata = {"image_shape": " x ".join(map(str, classifier.image_shape))}
    with atomic_write(path) as temporary:
        save_file({key: value.contiguous() for key, value in classifier.state_dict().items()}, temporary, metadata)
    return hashlib.sha256(path.read_bytes()).hexdigest()
