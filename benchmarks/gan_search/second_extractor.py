"""A second feature extractor, of another architecture and with other random numbers than the digit classifier.

Samples can be good for one extractor by chance or by selection; a second one shows it. Nothing is chosen by this one.

Shapes: N images, K = 10 classes.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.gan.data.image_set import from_pixels, load_mnist
from reviver.gan.evaluation.train_classifier import augment
from reviver.io.atomic import atomic_write
from reviver.runs.rng import make_rng

EPOCHS, BATCH_SIZE, MAX_LEARNING_RATE, SEED = 6, 128, 3e-3, 77
NUM_FEATURES = 64


class SecondExtractor(nn.Module):
    """Classifier without BatchNorm and pooling: images [N, 1, 28, 28] in [-1, 1] -> logits [N, K].

    (Conv with stride 2 -> GELU) three times, 5 x 5, 5 x 5 and 3 x 3, -> Linear 64 -> GELU -> Linear K
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 24, 5, stride=2, padding=2), nn.GELU()),
            *(nn.Conv2d(24, 48, 5, stride=2, padding=2), nn.GELU()),
            *(nn.Conv2d(48, 64, 3, stride=2, padding=1), nn.GELU()),
            *(nn.Flatten(), nn.Linear(64 * 4 * 4, NUM_FEATURES), nn.GELU()),
        )
        self.head = nn.Linear(NUM_FEATURES, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [N, K] of images [N, 1, 28, 28] in [-1, 1]."""
        logits: Tensor = self.head(self.features(images))
        return logits


def load_or_train(path: Path) -> SecondExtractor:
    """Return the extractor with the weights at `path`, trained on MNIST first if there are none; in eval mode."""
    extractor = SecondExtractor()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            torch.save(train().state_dict(), temporary)
    extractor.load_state_dict(torch.load(path, weights_only=True))
    return extractor.eval()


def train(epochs: int = EPOCHS) -> SecondExtractor:
    """Train the extractor on the training images of MNIST, augmented as for the digit classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        data, rng, extractor = load_mnist("train"), make_rng(SEED, "second"), SecondExtractor()
    assert data.labels is not None
    optimizer = torch.optim.AdamW(extractor.parameters(), lr=MAX_LEARNING_RATE, weight_decay=0.01)
    updates = epochs * (len(data) // BATCH_SIZE + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LEARNING_RATE, total_steps=updates)
    for _ in range(epochs):
        for indices in torch.randperm(len(data), generator=rng).split(BATCH_SIZE):
            images = augment(from_pixels(data.images[indices]), rng)
            loss = functional.cross_entropy(extractor(images), data.labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return extractor
