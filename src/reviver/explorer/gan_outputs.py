"""What the networks of a GAN put out: log-odds of D for many images, and the rounding error of what the page embeds.

Shapes: N samples, K classes, m images per input of D, G inputs of D: groups of m images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.data.images.image_set import ImageSet, from_pixels
from reviver.explorer.gan_images import RealImages, spread
from reviver.explorer.manifest import LogitContext, Rounding
from reviver.explorer.networks import FoldedLayer, evaluate
from reviver.gan.networks import NEGATIVE_SLOPE, one_hot
from reviver.gan.sampling import generate_chunked
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.runs.rng import make_rng
from reviver.train.gan.run import GANRun

NUM_CONTEXT = 500
"""G of real images, and of samples, which measure the rounding, too."""
DIGITS = 4
"""Decimal places of the log-odds."""


class Samples(NamedTuple):
    """Samples of a generator for G inputs of D."""

    latents: Tensor
    """[G m, Z]"""
    images: Tensor
    """[G m, C, H, W]"""
    classes: Tensor | None
    """One-hot, [G m, K]."""


def sample(run: GANRun) -> Samples:
    """Return the samples that stand for all of a run."""
    generator = run.generator
    rng = make_rng(run.config.seed, "explorer/context")
    z = generator.sample_latents(NUM_CONTEXT * run.discriminator.packing, rng)
    return Samples(z, generate_chunked(generator, z), generator.class_labels(z))


def context_logits(run: GANRun, samples: Samples, images: RealImages) -> LogitContext:
    """Return the log-odds of D for real images and for samples; of a D with packing, for groups of m."""
    fake = _logits(run, samples.images, samples.classes)
    for candidate, name in ((images.test, "test images"), (images.train, "training images")):
        if candidate is not None and _has_classes(candidate, run.generator.num_classes):
            return LogitContext(real=_real_logits(run, candidate), fake=fake, real_source=name)
    return LogitContext(real=[], fake=fake, real_source="")


def _has_classes(images: ImageSet, num_classes: int) -> bool:
    """Return whether images have the labels that a conditional D with K classes asks for; K = 0 asks for none."""
    return not num_classes or (images.labels is not None and int(images.labels.max()) < num_classes)


def _real_logits(run: GANRun, images: ImageSet) -> list[float]:
    """Return the log-odds for real images in random groups; of few images, for fewer groups."""
    m, num_classes = run.discriminator.packing, run.generator.num_classes
    groups = min(NUM_CONTEXT, len(images.images) // m)
    rng = make_rng(run.config.seed, "explorer/real")
    chosen = spread(images.labels, len(images.images), groups * m, rng)
    chosen = chosen[torch.randperm(len(chosen), generator=rng)]  # a group has random classes
    classes = None
    if num_classes:
        assert images.labels is not None, "_has_classes"
        classes = one_hot(images.labels[chosen], num_classes)
    return _logits(run, from_pixels(images.images[chosen]), classes)


@torch.no_grad()
def _logits(run: GANRun, images: Tensor, classes: Tensor | None) -> list[float]:
    """Return the log-odds [G] of images [G m, C, H, W]."""
    return [round(value, DIGITS) for value in run.discriminator.logits(images, classes).flatten().tolist()]


@torch.no_grad()
def generator_rounding(samples: Samples, rounded: Sequence[FoldedLayer]) -> Rounding:
    """Compare the pixels of samples with those of the trained generator in single precision."""
    found = evaluate(rounded, samples.latents[:NUM_CONTEXT], NEGATIVE_SLOPE)
    return _compare("generator", "pixel, from -1 to 1", found, samples.images[:NUM_CONTEXT].flatten(1))


@torch.no_grad()
def discriminator_rounding(run: GANRun, samples: Samples, rounded: Sequence[FoldedLayer]) -> Rounding:
    """Compare the probabilities that D gives to samples."""
    inputs = run.discriminator.pack(samples.images, samples.classes)
    found = evaluate(rounded, inputs, NEGATIVE_SLOPE).sigmoid()
    exact = run.discriminator(samples.images, samples.classes)
    return _compare("discriminator", "probability that an image is real", found, exact)


@torch.no_grad()
def classifier_rounding(classifier: DigitClassifier, samples: Samples, rounded: Sequence[FoldedLayer]) -> Rounding:
    """Compare the class probabilities of samples."""
    images = samples.images[:NUM_CONTEXT]
    found = evaluate(rounded, images).softmax(1)
    return _compare("classifier", "class probability", found, classifier.probabilities(images))


def _compare(network: str, unit: str, rounded: Tensor, exact: Tensor) -> Rounding:
    errors = (rounded - exact.double()).abs()
    return Rounding(network=network, unit=unit, max=_short(float(errors.max())), mean=_short(float(errors.mean())))


def _short(value: float) -> float:
    """Round up in the third digit, so that what the page states is never too good."""
    if value == 0:
        return 0.0
    scale = 10.0 ** (2 - int(f"{value:e}".split("e")[1]))
    return float(f"{-(-value * scale // 1) / scale:.3g}")
