"""What generated images are compared with: statistics of the test images, and two baselines.

Shapes: N generated images, T training images, M test images, Q images whose nearest training images are searched,
C channels, H height, W width, D features, K classes.
"""

import hashlib
import logging
from dataclasses import astuple, dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from statistics import fmean
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from reviver.data.images.image_set import LABELED_SOURCES, ImageSet, load_images, to_pixels
from reviver.errors import ConfigError, DataError
from reviver.files.cache import cached
from reviver.gan.scores import metrics
from reviver.gan.scores.feature_extractor import IMAGE_SHAPE, FeatureExtractor, Features
from reviver.gan.scores.metrics import Moments, NearestNeighbors
from reviver.rng import make_rng
from reviver.settings.gan import DIGITS
from reviver.settings.validation import check

K_NEAREST = 5
"""k of precision, recall, density, coverage and spacing, as in Naeem et al. (2020)."""
NUM_SEARCHED = 1000
"""Maximum Q."""
MAX_MAPPED, MAX_MAPPED_BYTES = 100_000, 1 << 28
"""Maximum number and size of mapped training images that are searched for the nearest; of more, some are chosen at random."""
MAX_SUBSETS = 4
"""Maximum number of disjoint subsets of N training images that the real-data baseline is the mean of."""
CACHE_VERSION = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Metrics of N images against the test images; docs/reference/gan-scores.md defines each."""

    fid: float
    kid: float
    precision: float
    recall: float
    density: float
    coverage: float
    class_kl: float
    spacing: float
    class_counts: tuple[int, ...] = field(kw_only=True)


class ReferenceStats(NamedTuple):
    """Statistics of the test images, features [M, D] float64 and radii [M], and class fractions [K] of the training images."""

    features: Tensor
    moments: Moments
    mean_kernel: float
    radii: Tensor
    class_fractions: Tensor


@dataclass(frozen=True)
class Reference:
    """Everything that N generated images of one data set are compared with."""

    data: str
    extractor: FeatureExtractor
    num_samples: int
    """N; the baselines hold for this number of images only."""
    key: str
    """Name of the data and the extractor in the cache."""
    stats: ReferenceStats
    train_images: Tensor  # bytes [T, C, H, W]
    test_images: Tensor  # bytes [M, C, H, W]
    real_baseline: Comparison
    """Metrics of N training images, mean over disjoint subsets; its class counts are sums."""
    real_baseline_fids: tuple[float, ...]  # of each subset
    noise_baseline: Comparison  # N images of uniform noise

    @cached_property
    def training_features(self) -> dict[str, Tensor]:
        """`features` [T, D] of the training images, and distances [Q] of test images to the nearest by pixels and features."""

        def compute() -> dict[str, Tensor]:
            features, test_features = self.extractor.extract(self.train_images).features, self.stats.features.float()
            chosen = torch.randperm(len(test_features), generator=make_rng(0, "searched"))[:NUM_SEARCHED]
            images = self.test_images[chosen]
            by_pixels, by_features = find_nearest(images, test_features[chosen], self.train_images, features)
            nearest = {"nearest_pixels": by_pixels.distances, "nearest_features": by_features.distances}
            return {"features": features} | nearest

        note = f"extracting the features of {len(self.train_images)} training images, once for this and later scores"
        return cached(f"scores-{self.key}-originals", compute, note)

    def score(self, images: Tensor) -> Comparison:
        """Compare images [N, C, H, W] in [-1, 1], rounded to bytes, with the test images."""
        return compare_features(self.extractor.extract(to_pixels(images)), self.stats)


def load_reference(
    num_samples: int = 10_000,
    extractor: FeatureExtractor | None = None,
    train: ImageSet | None = None,
    test: ImageSet | None = None,
) -> Reference:
    """Compute the reference of a data set, by default MNIST and the digit classifier, or read it from the cache.

    The cache has an entry for each content of the images, extractor and N = `num_samples`. A number out of range is a
    ConfigError, too few test images or training images without the classes of the extractor are a DataError.
    """
    extractor = extractor or FeatureExtractor.pinned()
    train, test = train or load_images("mnist"), test or load_images("mnist", split="test")
    check_num_samples("num_samples", num_samples, train, test)
    fractions = class_fractions(train, extractor)
    content = [(images.sha256, images.image_shape) for images in (train, test)], fractions.tolist()
    digest = hashlib.sha256(repr(content).encode()).hexdigest()
    key = f"v{CACHE_VERSION}-k{K_NEAREST}-{extractor.sha256[:16]}-{digest[:16]}-torch{torch.__version__}"

    def compute_stats() -> dict[str, Tensor]:
        features = extractor.extract(test.images).features
        mean_kernel = torch.tensor(metrics.mean_polynomial_kernel(features.double()), dtype=torch.float64)
        radii = metrics.squared_knn_radii(features.double(), K_NEAREST)
        return {"features": features, "kernel_mean": mean_kernel, "radii": radii}

    note = f"extracting the features of {len(test.images)} test images, once for this and later scores"
    kept = cached(f"scores-{key}", compute_stats, note)
    features = kept["features"].double()
    stats = ReferenceStats(features, metrics.moments(features), float(kept["kernel_mean"]), kept["radii"], fractions)
    order = torch.randperm(len(train), generator=make_rng(0, "floor"))

    def compute_baselines() -> dict[str, Tensor]:
        subsets = order[: len(train) // num_samples * num_samples].split(num_samples)[:MAX_SUBSETS]
        _log.info("computing the baselines of %d images once: %d subsets of real ones", num_samples, len(subsets))
        shape = (num_samples, *train.image_shape)
        noise = torch.randint(0, 256, shape, generator=make_rng(0, "ceiling"), dtype=torch.uint8)
        image_sets = (*(train.images[subset] for subset in subsets), noise)
        rows = [astuple(compare_features(extractor.extract(images), stats)) for images in image_sets]
        numbers = torch.tensor([row[:-1] for row in rows], dtype=torch.float64)
        return {"numbers": numbers, "classes": torch.tensor([row[-1] for row in rows])}

    kept = cached(f"scores-{key}-n{num_samples}", compute_baselines)
    *real_rows, noise_row = kept["numbers"].tolist()
    *real_counts, noise_counts = kept["classes"].tolist()
    mean_row = [fmean(column) for column in zip(*real_rows, strict=True)]
    sum_counts = tuple(sum(column) for column in zip(*real_counts, strict=True))
    limit = min(MAX_MAPPED, MAX_MAPPED_BYTES // prod(train.image_shape))
    searched = train.images if not train.is_mapped or len(train) <= limit else train.images[order[:limit]]
    real = Comparison(*mean_row, class_counts=sum_counts), tuple(fid for fid, *_ in real_rows)
    noise = Comparison(*noise_row, class_counts=tuple(noise_counts))
    return Reference(train.name, extractor, num_samples, key, stats, searched, test.images, *real, noise)


def load_extractor(
    data: str, image_shape: tuple[int, ...], path: str | None = None, sha256: str | None = None
) -> FeatureExtractor:
    """Return the feature extractor of a run on `data`: that at `path`, or the digit classifier for MNIST.

    Raises:
        ConfigError: if there is no extractor for images of `image_shape`, (C, H, W).
        DataError: if the file cannot be read, or does not have the SHA-256, if given.
    """
    if path is None and not (data in DIGITS and image_shape == IMAGE_SHAPE):
        raise ConfigError(
            f"data: the digit classifier does not know {data!r} as images of {list(image_shape)}, so there are no "
            "scores; train an extractor on labeled images with reviver gan train-extractor and give it as --extractor"
        )
    extractor = FeatureExtractor.pinned() if path is None else FeatureExtractor.read(Path(path))
    if sha256 not in (None, extractor.sha256):
        raise DataError(
            f"extractor: {path} is not the file that this run recorded; restore it, or give another --extractor"
        )
    expected_shape = extractor.classifier.image_shape
    if expected_shape != image_shape:
        raise ConfigError(
            f"extractor: {path} takes images of {list(expected_shape)}, and this run generates {list(image_shape)}; train "
            f"one with reviver gan train-extractor --image-size {image_shape[1]} on the same data"
        )
    return extractor


def check_num_samples(name: str, num_samples: int, train: ImageSet, test: ImageSet) -> None:
    """Check k < `num_samples` ≤ T and k < M: fewer have no k-th nearest neighbor, for more there is no real-data baseline."""
    if len(test) <= K_NEAREST:
        raise DataError(
            f"data: {test.name} has {len(test)} test images, scores need {K_NEAREST + 1}; give more of them"
        )
    check(name, num_samples, Annotated[int, Field(ge=K_NEAREST + 1, le=len(train))])


def class_fractions(train: ImageSet, extractor: FeatureExtractor) -> Tensor:
    """Return the fraction of labeled images in each class, [K] float64; no or other labels are a `DataError`."""
    if train.labels is None:
        raise DataError(f"data: {train.name} has no labels, which scores need; {LABELED_SOURCES}")
    num_classes = extractor.classifier.head.out_features
    counts = torch.bincount(train.labels, minlength=num_classes).double()
    num_present = int((counts > 0).sum())
    if not len(counts) == num_classes == num_present:
        raise DataError(
            f"data: {train.name} has images of {num_present} classes and the extractor knows {num_classes}; give the "
            "data that the extractor was trained on"
        )
    return counts / counts.sum()


def compare_features(images: Features, stats: ReferenceStats) -> Comparison:
    """Compare the features and predicted classes of images with the test images."""
    features = images.features.double()
    radii = metrics.squared_knn_radii(features, K_NEAREST)
    prdc = metrics.prdc(features, radii, stats.features, stats.radii, K_NEAREST)
    counts = torch.bincount(images.classes, minlength=len(stats.class_fractions))
    return Comparison(
        fid=metrics.frechet_distance(metrics.moments(features), stats.moments),
        kid=metrics.polynomial_mmd(features, stats.features, stats.mean_kernel),
        **prdc,
        class_kl=metrics.kl_divergence(counts / counts.sum(), stats.class_fractions),
        spacing=float(radii.median().sqrt()),
        class_counts=tuple(counts.tolist()),
    )


def find_nearest(
    images: Tensor, features: Tensor, train_images: Tensor, train_features: Tensor
) -> tuple[NearestNeighbors, NearestNeighbors]:
    """Find the nearest of T training images to Q images by pixels, bytes compared in [0, 1], and by features [Q, D], [T, D]."""
    indices, distances = metrics.nearest_neighbors(images.flatten(1).float(), train_images.flatten(1))
    by_features = metrics.nearest_neighbors(features, train_features)
    return NearestNeighbors(indices, distances / 255), by_features
