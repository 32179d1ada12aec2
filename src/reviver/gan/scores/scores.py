"""Scores of a trained generator, each beside the real-data baseline and the noise baseline.

Shapes: N samples, C channels, H height, W width, K classes, Q samples whose nearest training images are searched,
S of these that are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from reviver.data.images.image_set import from_pixels, to_pixels
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_samples
from reviver.gan.scores import metrics
from reviver.gan.scores.metrics import NearestNeighbors
from reviver.gan.scores.reference_stats import (
    K_NEAREST,
    NUM_SEARCHED,
    Comparison,
    Reference,
    compare_features,
    find_nearest,
    load_reference,
)
from reviver.text import percent

NUM_SHOWN = 25
"""S, the samples that are plotted above their nearest training images."""
QUANTILES = (0.1, 0.5, 0.9)
SCORE_LABELS = {"fid": "FID", "kid": "KID"}
SCORE_LABELS |= {name: name for name in ("precision", "recall", "density", "coverage")} | {
    "class_kl": "class KL (nats)"
}
"""Labels of the scores that tables, model cards and the explorer show, by name."""

MIN_COVERAGE_RATIO = 0.1
"""Coverage relative to real images below which there is mode collapse. At N = 10 000 a hundred real images, repeated,
reach 0.04 of it, and five reach 0.002."""
MAX_CLASS_KL = log(2)
"""Class KL above which there is mode collapse: that of a generator that generates half of the classes only."""
MIN_SPACING_RATIO = 0.1
"""Spacing relative to real images below which the samples repeat few images. The preset public-script reaches 0.02."""


@dataclass(frozen=True)
class NearestDistances:
    """Distances to the nearest training image.

    The `QUANTILES` are over Q samples and over test images; each of the S samples that are shown has the index of its nearest
    training image and the distance to it.
    """

    sample_quantiles: tuple[float, ...]
    test_quantiles: tuple[float, ...]
    indices: tuple[int, ...]
    distances: tuple[float, ...]

    @classmethod
    def of(cls, nearest: NearestNeighbors, test_distances: Tensor) -> "NearestDistances":
        """Summarize the nearest training images of samples [Q], and the distances of test images [Q]."""
        quantiles = (
            tuple(values.quantile(torch.tensor(QUANTILES, dtype=values.dtype)).tolist())
            for values in (nearest.distances, test_distances)
        )
        return cls(*quantiles, *(tuple(values[:NUM_SHOWN].tolist()) for values in nearest))


@dataclass(frozen=True)
class Scores:
    """Scores of N samples of a generator against the test images; docs/reference/gan-scores.md describes each field."""

    num_samples: int
    data: str
    num_test_images: int
    extractor: str
    extractor_sha256: str
    k: int
    samples: Comparison
    real_baseline: Comparison
    real_baseline_fids: tuple[float, ...]
    noise_baseline: Comparison
    num_searched: int
    nearest_pixels: NearestDistances
    nearest_features: NearestDistances
    class_accuracy: tuple[float | None, ...] | None
    fid_ratio: float | None
    warning: str | None


def score_generator(
    generator: Generator, num_samples: int = 10_000, seed: int = 0, *, reference: Reference | None = None
) -> Scores:
    """Score N = `num_samples` samples of a generator, those that `reviver gan sample` generates from the same seed.

    A training loop may call it at any time: it has its own random numbers, and restores the mode (training or eval) of
    the generator. The reference is by default that of MNIST, and holds for `num_samples`; keep it from one call to the next.
    """
    reference = reference or load_reference(num_samples)
    images, z = generate_samples(generator, num_samples, seed)
    return score_images(images, reference, generator.class_labels(z))


def score_images(images: Tensor, reference: Reference, class_labels: Tensor | None = None) -> Scores:
    """Score images [N, C, H, W] in [-1, 1], rounded to bytes as in an image file; N is `num_samples` of the reference.

    `class_labels` are the classes that the images were conditioned on, one-hot [N, K], if they were.
    """
    pixels, training = to_pixels(images), reference.training_features
    extracted = reference.extractor.extract(pixels)
    searched = pixels[:NUM_SEARCHED], extracted.features[:NUM_SEARCHED]
    by_pixels, by_features = find_nearest(*searched, reference.train_images, training["features"])
    samples, accuracy = compare_features(extracted, reference.stats), None
    if class_labels is not None:
        accuracy = metrics.class_accuracy(extracted.classes, class_labels.argmax(1), class_labels.shape[1])
    return Scores(
        num_samples=reference.num_samples,
        data=reference.data,
        num_test_images=len(reference.stats.features),
        extractor=reference.extractor.name,
        extractor_sha256=reference.extractor.sha256,
        k=K_NEAREST,
        samples=samples,
        real_baseline=reference.real_baseline,
        real_baseline_fids=reference.real_baseline_fids,
        noise_baseline=reference.noise_baseline,
        num_searched=len(by_pixels.indices),
        nearest_pixels=NearestDistances.of(by_pixels, training["nearest_pixels"]),
        nearest_features=NearestDistances.of(by_features, training["nearest_features"]),
        class_accuracy=accuracy,
        fid_ratio=fid_ratio(samples, reference.real_baseline),
        warning=collapse_warning(samples, reference.real_baseline),
    )


def fid_ratio(samples: Comparison, real_baseline: Comparison) -> float | None:
    """Return FID as a multiple of the real-data baseline; None if that is 0 up to rounding, as for equal sets."""
    return samples.fid / real_baseline.fid if real_baseline.fid > metrics.GRID**2 else None


def is_collapsed(samples: Comparison, real_baseline: Comparison) -> bool:
    """Return whether samples show mode collapse: they cover little of the data, or lack half of the classes."""
    has_low_coverage = samples.coverage < MIN_COVERAGE_RATIO * real_baseline.coverage
    return has_low_coverage or samples.class_kl > MAX_CLASS_KL


def collapse_warning(samples: Comparison, real_baseline: Comparison) -> str | None:
    """Return a message with a remedy if samples show mode collapse, else None."""
    if not is_collapsed(samples, real_baseline):
        return None
    if samples.spacing < MIN_SPACING_RATIO * real_baseline.spacing:
        return (
            "mode collapse: the samples repeat few images; try a small --batch-norm-eps (1e-5), --batch-size 64, a "
            "smaller --learning-rate, another --seed, or fewer epochs, and see where the grids in samples/ lose diversity"
        )
    return (
        "mode collapse or too little training: the diversity of the samples is low; train for more epochs, and if that "
        "does not raise coverage try a smaller --learning-rate or another --seed"
    )


def score_table(scores: Scores) -> list[str]:
    """Return the lines of a table of the scores, with what is needed to quote them."""
    lines = [
        f"{scores.num_samples} samples against the {scores.num_test_images} test images of {scores.data}",
        f"extractor: {scores.extractor}, sha256 {scores.extractor_sha256}",
        f"{'':<20} {'samples':>11} {'real data':>11} {'noise':>11}",
    ]
    for name, label in SCORE_LABELS.items():
        columns = (scores.samples, scores.real_baseline, scores.noise_baseline)
        decimals = {"fid": 2, "class_kl": 4}.get(name, 3)
        row = "".join(f" {getattr(column, name):>11.{decimals}f}" for column in columns)
        ratio = scores.fid_ratio if name == "fid" else None
        lines.append(f"{label:<20}{row}" + ("" if ratio is None else f"   {ratio:.1f} x real data"))
    if scores.class_accuracy is not None:
        lines.append(f"class accuracy {_percentages(scores.class_accuracy)}")
    lines += [
        f"classes {_percentages([count / scores.num_samples for count in scores.samples.class_counts])}",
        "distance to the nearest training image: 10 %, median and 90 %",
        f"of {scores.num_searched} samples and of test images:",
    ]
    for label, nearest in (("by pixels", scores.nearest_pixels), ("by features", scores.nearest_features)):
        sample_text = "".join(f" {value:7.2f}" for value in nearest.sample_quantiles)
        test_text = "".join(f" {value:7.2f}" for value in nearest.test_quantiles)
        lines.append(f"  {label:<11} samples{sample_text}   test{test_text}")
    fids = scores.real_baseline_fids
    lines += [
        f"real baseline: mean of {len(fids)} x {scores.num_samples} training images,",
        f"with FID from {min(fids):.2f} to {max(fids):.2f}",
        f"noise baseline: {scores.num_samples} images of uniform noise",
        f"k = {scores.k}. This FID and KID cannot be compared with those of Inception.",
    ]
    return lines + ([f"warning: {scores.warning}"] if scores.warning else [])


def nearest_grid(images: Tensor, scores: Scores, reference: Reference) -> Tensor:
    """Return the first S of the scored `images`, their nearest training images by pixels, and by features: [3 S, C, H, W]."""
    by_pixels = reference.train_images[list(scores.nearest_pixels.indices)]
    by_features = reference.train_images[list(scores.nearest_features.indices)]
    return from_pixels(torch.cat([to_pixels(images[:NUM_SHOWN]), by_pixels, by_features]))


def _percentages(values: Sequence[float | None]) -> str:
    return "  ".join(
        f"{index}: " + ("–" if value is None else f"{percent(value, 1)}%") for index, value in enumerate(values)
    )
