"""What the networks of a GAN put out: log-odds of D for many images, and the rounding error of what the page embeds.

Shapes: N samples, K classes, m images per input of D, G inputs of D: groups of m images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.data.images.image_set import ImageSet, from_pixels
from reviver.explorer.gan_images import RealImages, rounded, spread
from reviver.explorer.manifest import LogitContext, Rounding
from reviver.explorer.networks import FoldedLayer, compare, evaluate
from reviver.gan.networks import NEGATIVE_SLOPE, one_hot
from reviver.gan.sampling import generate_chunked
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.runs.rng import make_rng
from reviver.train.gan.run import GANRun

NUM_CONTEXT = 500
"""G of real images, and of samples, which measure the rounding, too."""


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
    classes = None if not num_classes or images.labels is None else one_hot(images.labels[chosen], num_classes)
    return _logits(run, from_pixels(images.images[chosen]), classes)


@torch.no_grad()
def _logits(run: GANRun, images: Tensor, classes: Tensor | None) -> list[float]:
    """Return the log-odds [G] of images [G m, C, H, W]."""
    return rounded(run.discriminator.logits(images, classes))


@torch.no_grad()
def measure_rounding(
    run: GANRun,
    samples: Samples,
    generator: Sequence[FoldedLayer],
    discriminator: Sequence[FoldedLayer],
    classifier: DigitClassifier | None,
    rounded_classifier: Sequence[FoldedLayer],
) -> list[Rounding]:
    """Compare the outputs of the rounded networks for samples with those of the trained ones in single precision."""
    images = samples.images[:NUM_CONTEXT]
    pixels = evaluate(generator, samples.latents[:NUM_CONTEXT], NEGATIVE_SLOPE)
    inputs = run.discriminator.pack(samples.images, samples.classes)
    probabilities = evaluate(discriminator, inputs, NEGATIVE_SLOPE).sigmoid()
    exact = run.discriminator(samples.images, samples.classes)
    rounding = [
        compare("generator", "pixel, from -1 to 1", pixels, images.flatten(1)),
        compare("discriminator", "probability that an image is real", probabilities, exact),
    ]
    if classifier is not None:
        found = evaluate(rounded_classifier, images).softmax(1)
        rounding.append(compare("classifier", "class probability", found, classifier.probabilities(images)))
    return rounding
