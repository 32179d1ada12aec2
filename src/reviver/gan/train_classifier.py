"""Makes the pinned weights of the digit classifier: `python -m reviver.gan.train_classifier`.

Trained on the 60 000 training images of MNIST, each shifted, turned and scaled a little at random, so
that it judges generated digits by their form. The test images only measure the result, which is written
beside the weights.
"""

import hashlib
import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from reviver.gan.classifier import DigitClassifier, weights_path
from reviver.gan.images import from_pixels, load_mnist
from reviver.runs.randomness import stream

EPOCHS, BATCH_SIZE, LEARNING_RATE, SEED = 10, 128, 2e-3, 0
MAX_ANGLE, MAX_SCALE, MAX_SHIFT = math.radians(10), 0.1, 0.1


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale and shift each image [N, 1, H, W] at random."""

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(images), generator=generator) * 2 - 1) * limit

    angle, scale = uniform(MAX_ANGLE), 1 + uniform(MAX_SCALE)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos, -sin, uniform(MAX_SHIFT)], 1), torch.stack([sin, cos, uniform(MAX_SHIFT)], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images + 1, grid, align_corners=False) - 1  # the border is black, -1


def train_classifier() -> DigitClassifier:
    """Train a classifier from scratch."""
    torch.manual_seed(SEED)
    data = load_mnist("train")
    assert data.labels is not None
    randomness = stream(SEED, "classifier")
    classifier = DigitClassifier()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    updates = EPOCHS * math.ceil(len(data.images) / BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=updates)
    for _ in range(EPOCHS):
        for indices in torch.randperm(len(data.images), generator=randomness).split(BATCH_SIZE):
            images = jitter(from_pixels(data.images[indices]), randomness)
            loss = functional.cross_entropy(classifier(images), data.labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return classifier.eval()


def accuracy(classifier: DigitClassifier) -> float:
    """Return the fraction of MNIST's test images that are recognised."""
    test = load_mnist("test")
    assert test.labels is not None
    return float((classifier.probabilities(from_pixels(test.images)).argmax(1) == test.labels).float().mean())


def main(path: Path | None = None) -> None:
    """Train, measure and write the weights with a description beside them."""
    path = path or weights_path()
    classifier = train_classifier()
    save_file({key: value.contiguous() for key, value in classifier.state_dict().items()}, path)
    description = {
        "command": "python -m reviver.gan.train_classifier",
        "test_accuracy": round(accuracy(classifier), 4),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "torch": torch.__version__,
    }
    path.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")


if __name__ == "__main__":
    main()
