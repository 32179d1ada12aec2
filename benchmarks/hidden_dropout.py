"""Measure what hidden dropout does for the rows of MNIST as sequences, by kind and p, over seeds.

Few training images, so that the network overfits: each image, halved, is a sequence of 14 rows of 14 pixels. All networks have the
same number of updates. They are evaluated once, at the end, on all test images; nothing is chosen by them.

    OMP_NUM_THREADS=1 python -m benchmarks hidden_dropout
"""

import sys
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import machine
from reviver import LSTM
from reviver.data.images.named import read_mnist

IMAGES, EPOCHS, BATCH, HIDDEN = 500, 30, 50, 64
LEARNING_RATE = 3e-3
SEEDS = range(3)
KINDS = ("step", "variational", "zoneout")
PROBABILITIES = (0.2, 0.3, 0.5)


class RowClassifier(nn.Module):
    """Classifies an image by the hidden state after its last row, which is dropped as in the other steps."""

    def __init__(self, p: float, kind: str) -> None:
        super().__init__()
        self.lstm = LSTM(14, HIDDEN, batch_first=True, hidden_dropout=p, hidden_dropout_kind=kind)
        self.linear = nn.Linear(HIDDEN, 10)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.lstm(x)  # [B, T, H]
        return self.linear(output[:, -1])  # [B, 10]


@cache
def load(split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the first images of a split as sequences of rows, [B, 14, 14] in [0, 1], and their labels."""
    digits = read_mnist(split)
    return functional.avg_pool2d(digits.images[:count].float() / 255, 2), digits.labels[:count].long()


def train(p: float, kind: str, seed: int) -> dict[str, float]:
    """Train a network; return its accuracy and its mean cross-entropy on all test images, and the latter in training."""
    torch.manual_seed(seed)
    model = RowClassifier(p, kind)
    images, labels = load("train", IMAGES)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        for rows in torch.randperm(IMAGES).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    model.eval()
    with torch.no_grad():
        test_images, test_labels = load("test")
        logits = model(test_images)
        return {
            "accuracy": (logits.argmax(1) == test_labels).float().mean().item(),
            "loss": functional.cross_entropy(logits, test_labels).item(),
            "training_loss": functional.cross_entropy(model(images), labels).item(),
        }


def main() -> dict[str, object]:
    """Train all networks."""
    settings = [(0.0, "none"), *((p, kind) for kind in KINDS for p in PROBABILITIES)]
    rows = []
    for p, kind in settings:
        runs = [train(p, "step" if kind == "none" else kind, seed) for seed in SEEDS]
        rows.append({"kind": kind, "p": p, "runs": runs})
        sys.stderr.write(f"{kind} {p}: {[round(run['accuracy'], 4) for run in runs]}\n")
    return {
        "title": "Hidden dropout on the rows of MNIST",
        "machine": machine(),
        "training_images": IMAGES,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "hidden_size": HIDDEN,
        "dropout": rows,
    }
