"""Scores by two extractors against training images, so that the choice among variants does not see the test images.

Shapes: N samples, T training images, D features.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.gan_search.second_extractor import SecondExtractor, load_or_train
from reviver.gan.data.image_set import from_pixels, load_mnist, to_pixels
from reviver.gan.evaluation import metrics
from reviver.gan.evaluation.digit_classifier import DigitClassifier
from reviver.gan.evaluation.feature_extractor import CHUNK, FeatureExtractor
from reviver.gan.evaluation.metrics import Moments
from reviver.gan.evaluation.reference_stats import K_NEAREST
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_samples
from reviver.io.atomic import atomic_write
from reviver.runs.rng import make_rng

NUM_SAMPLES = 10_000
DRAWS = (1000, 1001)
"""Seeds of the latent vectors; each score is the mean over them."""
CONFIDENT = 0.95
Extractor = DigitClassifier | SecondExtractor


class Reference(NamedTuple):
    """Images that samples are compared with."""

    moments: Moments
    """Of the features of all images."""
    neighbors: Tensor
    """Features of NUM_SAMPLES of the images, for precision, recall and coverage, [NUM_SAMPLES, D]."""
    radii: Tensor
    """Squared distances of `neighbors` to their k-th nearest, [NUM_SAMPLES]."""
    confident: float
    """Fraction of the images that are classified with probability CONFIDENT or more."""


class Judge:
    """The two extractors, and the references of both.

    Args:
        folder: keeps the second extractor's weights and the references.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.extractors: Mapping[str, Extractor] = {
            "own": FeatureExtractor.pinned().classifier,
            "second": load_or_train(folder / "second_extractor.pt"),
        }

    @cache  # noqa: B019, the judge lives as long as the process
    def reference(self, name: str, split: str) -> Reference:
        """Return the reference of an extractor, own or second, on a split of MNIST, train or test."""
        path = self.folder / f"reference-{name}-{split}.pt"
        if not path.exists():
            with atomic_write(path) as temporary:
                torch.save(self._make_reference(name, split), temporary)
        (mean, covariance), *rest = torch.load(path, weights_only=True)
        return Reference(Moments(mean, covariance), *rest)

    def _make_reference(self, name: str, split: str) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, float]:
        features, confident = extract(self.extractors[name], load_mnist(split).images)
        chosen = torch.randperm(len(features), generator=make_rng(5, "held"))[:NUM_SAMPLES]
        neighbors = features[chosen]
        radii = metrics.squared_knn_radii(neighbors, K_NEAREST)
        mean, covariance = metrics.moments(features)
        return (mean, covariance), neighbors, radii, confident

    def score(
        self, generator: Generator, *, split: str = "train", draws: tuple[int, ...] = DRAWS, neighbors: bool = True
    ) -> dict[str, float]:
        """Return the scores of a generator by both extractors, such as `fid_own` and `fid_second`; means over the draws.

        Args:
            generator: the generator.
            split: images to compare with.
            draws: seeds of the latent vectors.
            neighbors: also compute precision, recall and coverage, which take most of the time.
        """
        scores: dict[str, list[float]] = {}
        for seed in draws:
            images, _ = generate_samples(generator, NUM_SAMPLES, seed)
            pixels = to_pixels(images)
            for name, extractor in self.extractors.items():
                reference = self.reference(name, split)
                features, confident = extract(extractor, pixels)
                found = {
                    "fid": metrics.frechet_distance(metrics.moments(features), reference.moments),
                    "confident": confident,
                }
                if neighbors:
                    radii = metrics.squared_knn_radii(features, K_NEAREST)
                    prdc = metrics.prdc(features, radii, reference.neighbors, reference.radii, K_NEAREST)
                    found |= {"precision": prdc.precision, "recall": prdc.recall, "coverage": prdc.coverage}
                for score, value in found.items():
                    scores.setdefault(f"{score}_{name}", []).append(value)
        return {name: fmean(values) for name, values in scores.items()}


@torch.no_grad()
def extract(extractor: Extractor, pixels: Tensor) -> tuple[Tensor, float]:
    """Return the features [N, D] of images as bytes [N, 1, 28, 28], and the fraction classified with CONFIDENT or more."""
    features, probabilities = [], []
    for chunk in pixels.split(CHUNK):
        of_chunk = extractor.features(from_pixels(chunk))
        features.append(metrics.snap(of_chunk))
        probabilities.append(extractor.head(of_chunk).softmax(1).max(1).values)
    return torch.cat(features).double(), float((torch.cat(probabilities) >= CONFIDENT).double().mean())
