"""The real images that a GAN's samples are compared with, and what real images and noise score beside them.

Shapes: N samples, T training images, M test images, Q images whose nearest neighbours are searched, D features,
K classes.
"""

import logging
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from reviver.cache import cached, digest
from reviver.errors import ConfigError, DataError
from reviver.gan.data.image_set import LABELLED, ImageSet, load_images, load_mnist, load_test_images, to_pixels
from reviver.gan.evaluation import metrics
from reviver.gan.evaluation.digit_classifier import IMAGE_SHAPE
from reviver.gan.evaluation.feature_extractor import FeatureExtractor, Features
from reviver.gan.evaluation.metrics import Moments
from reviver.runs.rng import make_rng
from reviver.validation import check

K_NEAREST = 5
"""k of precision, recall, density and coverage; Naeem et al. (2020) take the same."""
NUM_SEARCHED = 1000
"""Q, the most images whose nearest training images are searched."""
MAX_DRAWS = 4
"""Disjoint draws of N training images that the floor is the mean of, as far as there are so many images."""
CACHE_VERSION = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """How N images compare with the test images; see docs/reference/gan-scores.md for the meaning of each number.

    Attributes:
        class_kl: KL divergence of the classes in the images from those in the training data, in nats.
        spacing: median distance of an image to its k-th nearest among the N, in the space of the features.
        classes: images of each class, [K].
    """

    fid: float
    kid: float
    precision: float
    recall: float
    density: float
    coverage: float
    class_kl: float
    spacing: float
    classes: tuple[int, ...] = field(kw_only=True)


class ReferenceStats(NamedTuple):
    """The test images as samples are compared with them."""

    features: Tensor
    """[M, D] float64"""
    moments: Moments
    kernel_mean: float
    radii: Tensor
    """Squared distances to the k-th nearest, [M]."""
    class_fractions: Tensor
    """Of the training data, by its labels, [K]."""


class TrainingFeatures(NamedTuple):
    """The training images, among which the nearest to a sample is searched, and how near test images come to them."""

    features: Tensor
    """[T, D] float32"""
    nearest_pixels: Tensor
    """Distances of test images to their nearest training images, [Q]."""
    nearest_features: Tensor
    """The same by features, [Q]."""


@dataclass(frozen=True)
class Reference:
    """All that samples of one data set are compared with.

    Attributes:
        data: what the images are called.
        n: N, for which floor and ceiling hold.
        key: what names the data and the extractor in the cache.
        train_images, test_images: bytes [T, C, H, W], [M, C, H, W].
        real_baseline: what N training images score, mean over `len(real_baseline_fids)` disjoint draws; its classes are of all.
        real_baseline_fids: the FID of each draw.
        noise_baseline: what N images of uniform noise score.
    """

    data: str
    extractor: FeatureExtractor
    n: int
    key: str
    stats: ReferenceStats
    train_images: Tensor
    test_images: Tensor
    real_baseline: Comparison
    real_baseline_fids: tuple[float, ...]
    noise_baseline: Comparison

    @cached_property
    def training_features(self) -> TrainingFeatures:
        """What samples are compared with one by one; a training does without."""

        def look() -> dict[str, Tensor]:
            features = self.extractor.extract(self.train_images).features
            test_features = self.stats.features.float()
            chosen = torch.randperm(len(test_features), generator=make_rng(0, "searched"))[:NUM_SEARCHED]
            found = find_nearest(self.test_images[chosen], test_features[chosen], self.train_images, features)
            return {"features": features, "nearest_pixels": found[1], "nearest_features": found[3]}

        note = f"looking at the {len(self.train_images)} training images once, for this and later scores"
        return TrainingFeatures(**cached(f"scores-{self.key}-originals", look, note))

    def compare(self, images: Tensor) -> Comparison:
        """Compare N images [N, C, H, W] in [-1, 1], rounded to bytes, with the test images."""
        return compare(self.extractor.extract(to_pixels(images)), self.stats)


def load_reference(
    n: int = 10_000,
    extractor: FeatureExtractor | None = None,
    train: ImageSet | None = None,
    test: ImageSet | None = None,
) -> Reference:
    """Return what `n` samples are compared with: MNIST seen by the pinned classifier by default.

    Computed once for each content, extractor and `n`, and kept in the cache.

    Raises:
        ConfigError: if `n` is not possible.
        DataError: if the training images have no labels, or lack a class.
    """
    extractor = extractor or FeatureExtractor.pinned()
    train, test = train or load_mnist("train"), test or load_mnist("test")
    check_size("num_samples", n, train)
    shares = class_fractions(train, extractor)
    content = {"train": train.images, "classes": shares, "test": test.images}
    key = f"v{CACHE_VERSION}-k{K_NEAREST}-{extractor.sha256[:16]}-{digest(content)[:16]}-torch{torch.__version__}"

    def look() -> dict[str, Tensor]:
        features = extractor.extract(test.images).features
        kernel_mean = torch.tensor(metrics.kernel_mean(features.double()), dtype=torch.float64)
        radii = metrics.squared_radii(features.double(), K_NEAREST)
        return {"features": features, "kernel_mean": kernel_mean, "radii": radii}

    note = f"looking at the {len(test.images)} test images once, for this and later scores"
    seen = cached(f"scores-{key}", look, note)
    features = seen["features"].double()
    target = ReferenceStats(features, metrics.moments(features), float(seen["kernel_mean"]), seen["radii"], shares)

    def compare_draws() -> dict[str, Tensor]:
        draws = torch.randperm(len(train.images), generator=make_rng(0, "floor"))[: len(train.images) // n * n]
        parts = [train.images[chosen] for chosen in draws.split(n)[:MAX_DRAWS]]
        _log.info("scoring %d x %d real images and %d of noise once, as floor and ceiling", len(parts), n, n)
        noise = torch.randint(0, 256, (n, *train.image_shape), generator=make_rng(0, "ceiling"), dtype=torch.uint8)
        rows = [astuple(compare(extractor.extract(images), target)) for images in (*parts, noise)]
        numbers = torch.tensor([row[:-1] for row in rows], dtype=torch.float64)
        return {"numbers": numbers, "classes": torch.tensor([row[-1] for row in rows])}

    kept = cached(f"scores-{key}-n{n}", compare_draws)
    (*floors, ceiling), (*classes, ceiling_classes) = kept["numbers"].tolist(), kept["classes"].tolist()
    return Reference(
        *(train.name, extractor, n, key, target, train.images, test.images),
        real_baseline=Comparison(
            *map(fmean, zip(*floors, strict=True)), classes=tuple(map(sum, zip(*classes, strict=True)))
        ),
        real_baseline_fids=tuple(fid for fid, *_ in floors),
        noise_baseline=Comparison(*ceiling, classes=tuple(ceiling_classes)),
    )


def choose_data(
    extractor: FeatureExtractor, data: str, size: int, sha256: str | None = None
) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test images by which the extractor scores a run on `data`.

    `sha256` is that of the training images if the run recorded it.

    Raises:
        DataError: if the images cannot be read, have other classes, or are not those that the run learned.
    """
    train = load_images(data, size)
    if sha256 not in (None, train.sha256):
        raise DataError(f"data: {data} has changed since this run learned it; put the old images back")
    class_fractions(train, extractor)
    return train, load_test_images(data, size)


def choose_extractor(
    data: str, image_shape: tuple[int, ...], path: str | None = None, sha256: str | None = None
) -> FeatureExtractor:
    """Return what looks at the images of a run on `data`: the digit classifier for MNIST, or that at `path`.

    `sha256` is that of the file at `path` if it must be a certain one.

    Raises:
        ConfigError: if there is none for such images, said with what can be done.
        DataError: if the extractor cannot be read, or is another.
    """
    if path is None and (data, image_shape) != ("mnist", IMAGE_SHAPE):
        raise ConfigError(
            f"data: the digit classifier does not know {data!r} as images of {list(image_shape)}, so there are no scores "
            "and no measured paths; train one on labelled images with reviver gan train-extractor and give it as --extractor"
        )
    extractor = FeatureExtractor.pinned() if path is None else FeatureExtractor.read(Path(path))
    if sha256 not in (None, extractor.sha256):
        raise DataError(
            f"extractor: {path} is not the file that this run noted; restore it, or give another --extractor"
        )
    known = extractor.classifier.image_shape
    if known != image_shape:
        raise ConfigError(
            f"extractor: {path} knows images of {list(known)}, and this run draws {list(image_shape)}; train one with "
            f"reviver gan train-extractor --image-size {image_shape[1]} on the same data"
        )
    return extractor


def check_size(name: str, n: int, train: ImageSet) -> None:
    """Refuse a number of samples for which there are no k neighbours, or not as many training images as a floor."""
    check(name, n, Annotated[int, Field(ge=K_NEAREST + 1, le=len(train.images))])


def class_fractions(train: ImageSet, extractor: FeatureExtractor) -> Tensor:
    """The share of each class among labelled images: [K] float64.

    Raises:
        DataError: if they have no labels, or lack one of the extractor's classes.
    """
    if train.labels is None:
        raise DataError(f"data: {train.name} has no labels, which scores need; {LABELLED}")
    known = extractor.classifier.head.out_features
    counts = torch.bincount(train.labels, minlength=known).double()
    present = int((counts > 0).sum())
    if not len(counts) == known == present:
        raise DataError(
            f"data: {train.name} has images of {present} classes and the extractor knows {known}; give its training data"
        )
    return counts / counts.sum()


def compare(seen: Features, target: ReferenceStats) -> Comparison:
    """Compare images with the test images."""
    features = seen.features.double()
    radii = metrics.squared_radii(features, K_NEAREST)
    neighbours = metrics.compare_neighbours(features, radii, target.features, target.radii, K_NEAREST)
    counts = torch.bincount(seen.classes, minlength=len(target.class_fractions))
    return Comparison(
        fid=metrics.frechet_distance(metrics.moments(features), target.moments),
        kid=metrics.kernel_distance(features, target.features, target.kernel_mean),
        **neighbours._asdict(),
        class_kl=metrics.kl_divergence(counts / counts.sum(), target.class_fractions),
        spacing=float(radii.median().sqrt()),
        classes=tuple(counts.tolist()),
    )


def find_nearest(images: Tensor, features: Tensor, train_images: Tensor, train_features: Tensor) -> list[Tensor]:
    """Of images [Q, C, H, W] (bytes) with features [Q, D] the nearest training images: places and distances [Q].

    By pixels in [0, 1], then by features: `[places, distances, places, distances]`.
    """
    pixels, lengths = metrics.nearest(images.flatten(1).float(), train_images.flatten(1))
    return [pixels, lengths / 255, *metrics.nearest(features, train_features)]
