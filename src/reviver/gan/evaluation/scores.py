"""Scores of a trained generator, each beside the floor of real images and the ceiling of noise.

Shapes: N samples, C channels, H height, W width, Q samples whose nearest training images are searched, S shown.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from reviver.config import Seed
from reviver.errors import DataError
from reviver.gan.data.image_set import from_pixels, to_pixels
from reviver.gan.evaluation.reference_stats import (
    K_NEAREST,
    NUM_SEARCHED,
    Comparison,
    Reference,
    compare,
    find_nearest,
    load_reference,
)
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_samples
from reviver.validation import check

NUM_SHOWN = 25
"""S, the samples that are drawn above their nearest training images."""
QUANTILES = (0.1, 0.5, 0.9)

COLLAPSED_COVERAGE = 0.1
"""Of the floor's. A hundred real images that are repeated reach 0.04 of it, five reach 0.002 (N = 10 000)."""
COLLAPSED_CLASS_KL = log(2)
"""What a generator has that draws half of the classes and never the others."""
REPEATED_SPACING = 0.1
"""Of the floor's: samples nearer to each other than this repeat few images. The preset public-script reaches 0.02."""


@dataclass(frozen=True)
class Distances:
    """Distances to the nearest training image: quantiles (10 %, 50 %, 90 %) over samples and over test images.

    Attributes:
        places, lengths: the nearest training image of each sample that is shown, and how far it is, [S].
    """

    samples: tuple[float, ...]
    test: tuple[float, ...]
    places: tuple[int, ...]
    lengths: tuple[float, ...]

    @classmethod
    def of(cls, places: Tensor, lengths: Tensor, test: Tensor) -> "Distances":
        """Summarise the distances of samples and of test images, [Q]; `places` are the samples' nearest, [Q]."""
        samples, of_test = (
            tuple(one.quantile(torch.tensor(QUANTILES, dtype=one.dtype)).tolist()) for one in (lengths, test)
        )
        return cls(samples, of_test, tuple(places[:NUM_SHOWN].tolist()), tuple(lengths[:NUM_SHOWN].tolist()))


@dataclass(frozen=True)
class Scores:
    """What N samples of a generator score against the test images.

    Attributes:
        reference_size: test images.
        num_searched: Q, of the samples; of the test images NUM_SEARCHED.
    """

    num_samples: int
    data: str
    reference_size: int
    extractor: str
    extractor_sha256: str
    k: int
    samples: Comparison
    real_baseline: Comparison
    real_baseline_fids: tuple[float, ...]
    noise_baseline: Comparison
    num_searched: int
    nearest_pixels: Distances
    nearest_features: Distances
    class_accuracy: tuple[float, ...] | None = None
    """Of a conditional generator: for each class, the part of the samples ordered of it that the extractor takes for it."""

    @property
    def fid_ratio(self) -> float:
        """FID as a multiple of its floor."""
        return self.samples.fid / self.real_baseline.fid

    @property
    def warning(self) -> str | None:
        """What is wrong with the samples, and what to try, if they are collapsed."""
        return warn(self.samples, self.real_baseline)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self) | {"fid_ratio": self.fid_ratio, "warning": self.warning}


def score_generator(
    generator: Generator, n: int = 10_000, seed: int = 0, *, reference: Reference | None = None
) -> Scores:
    """Score `n` samples of a generator, those that `reviver gan sample` draws from the same seed.

    A training may call it at any time: it draws from a stream of its own, puts the generator's mode back and leaves
    the global random numbers alone. Keep the `reference` (see `load_reference`) from one call to the next.

    Raises:
        ConfigError: if `n` or `seed` is not possible.
        DataError: if the extractor cannot look at what the generator draws.
    """
    check("seed", seed, Seed)  # before a reference is made, which takes a minute
    reference = reference or load_reference(n)
    images, z = generate_samples(generator, n, seed)
    return score_images(images, reference, generator.class_labels(z))


def score_images(images: Tensor, reference: Reference, ordered: Tensor | None = None) -> Scores:
    """Score images [N, C, H, W] in [-1, 1], rounded to bytes as a file of them is.

    `ordered` are the classes that they were ordered of, one-hot [N, K], if they were.

    Raises:
        DataError: if their shape is not that of the reference, or their number not the one that it was made for.
    """
    wanted = [reference.n, *reference.train_images.shape[1:]]
    if list(images.shape) != wanted:
        raise DataError(f"images: shape {list(images.shape)} does not fit; this reference is for {wanted}")
    pixels, originals = to_pixels(images), reference.training_features
    seen = reference.extractor.extract(pixels)
    searched = pixels[:NUM_SEARCHED], seen.features[:NUM_SEARCHED]
    found = find_nearest(*searched, reference.train_images, originals.features)
    return Scores(
        num_samples=reference.n,
        data=reference.data,
        reference_size=len(reference.stats.features),
        extractor=reference.extractor.name,
        extractor_sha256=reference.extractor.sha256,
        k=K_NEAREST,
        samples=compare(seen, reference.stats),
        real_baseline=reference.real_baseline,
        real_baseline_fids=reference.real_baseline_fids,
        noise_baseline=reference.noise_baseline,
        num_searched=len(found[0]),
        nearest_pixels=Distances.of(found[0], found[1], originals.nearest_pixels),
        nearest_features=Distances.of(found[2], found[3], originals.nearest_features),
        class_accuracy=None if ordered is None else _class_accuracy(seen.classes, ordered.argmax(1)),
    )


def _class_accuracy(classes: Tensor, ordered: Tensor) -> tuple[float, ...]:
    """For each class, the part of the samples ordered of it that are of it; 0 where none was ordered."""
    count = int(ordered.max()) + 1
    right = torch.bincount(ordered[classes == ordered], minlength=count)
    return tuple((right / torch.bincount(ordered, minlength=count).clamp(min=1)).tolist())


def is_collapsed(samples: Comparison, floor: Comparison) -> bool:
    """Whether samples lack the data's variety: they cover little of it, or some classes take all."""
    return samples.coverage < COLLAPSED_COVERAGE * floor.coverage or samples.class_kl > COLLAPSED_CLASS_KL


def warn(samples: Comparison, floor: Comparison) -> str | None:
    """What is wrong with samples, and what to try, if they are collapsed."""
    if not is_collapsed(samples, floor):
        return None
    if samples.spacing < REPEATED_SPACING * floor.spacing:
        return (
            "collapsed: the samples repeat few images; try a small --batch-norm-eps (1e-5), --batch-size 64, a "
            "smaller --learning-rate, another --seed, or fewer epochs, and see where the grids in samples/ lose variety"
        )
    return (
        "collapsed or hardly trained: the samples show little of the data's variety; train for more epochs, and if "
        "that does not raise coverage try a smaller --learning-rate or another --seed"
    )


def describe(scores: Scores) -> list[str]:
    """The scores as a table, with what is needed to quote them."""
    samples, floor, ceiling = scores.samples, scores.real_baseline, scores.noise_baseline
    lines = [
        f"{scores.num_samples} samples against the {scores.reference_size} test images of {scores.data}",
        f"extractor: {scores.extractor}, sha256 {scores.extractor_sha256}",
        f"{'':<20} {'samples':>11} {'real data':>11} {'noise':>11}",
    ]
    for label, name, form in (
        ("FID", "fid", ".2f"),
        ("KID", "kid", ".3f"),
        ("precision", "precision", ".3f"),
        ("recall", "recall", ".3f"),
        ("density", "density", ".3f"),
        ("coverage", "coverage", ".3f"),
        ("class KL (nats)", "class_kl", ".4f"),
    ):
        row = "".join(f" {format(getattr(one, name), form):>11}" for one in (samples, floor, ceiling))
        lines.append(f"{label:<20}{row}" + (f"   {scores.fid_ratio:.1f} x the real baseline" if name == "fid" else ""))
    if scores.class_accuracy is not None:
        lines.append(f"ordered and drawn {_fractions(scores.class_accuracy)}")
    lines += [
        f"classes {_fractions([count / scores.num_samples for count in samples.classes])}",
        f"distance to the nearest training image: 10 %, median, 90 % of {scores.num_searched} samples and of test images",
    ]
    for label, found in (("by pixels", scores.nearest_pixels), ("by features", scores.nearest_features)):
        samples_text, test_text = ("".join(f" {one:7.2f}" for one in values) for values in (found.samples, found.test))
        lines.append(f"  {label:<11} samples{samples_text}   test images{test_text}")
    fids = scores.real_baseline_fids
    lines += [
        f"real baseline: mean of {len(fids)} x {scores.num_samples} training images (FID {min(fids):.2f} to {max(fids):.2f})",
        f"noise baseline: {scores.num_samples} images of uniform noise",
        f"k = {scores.k}. This FID and KID cannot be compared with those of Inception.",
    ]
    return lines + ([f"warning: {scores.warning}"] if scores.warning else [])


def _fractions(values: Sequence[float]) -> str:
    return "  ".join(f"{index}: {value:.1%}" for index, value in enumerate(values))


def nearest_grid(images: Tensor, scores: Scores, reference: Reference) -> Tensor:
    """The first samples, below them their nearest training images by pixels, below those by features: [3 S, C, H, W]."""
    found = [reference.train_images[list(one.places)] for one in (scores.nearest_pixels, scores.nearest_features)]
    return from_pixels(torch.cat([to_pixels(images[:NUM_SHOWN]), *found]))
