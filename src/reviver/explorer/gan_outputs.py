"""What the networks of a GAN put out: log-odds of D for many images, and the rounding error of what the page embeds.

Shapes: N samples, K classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.data.images.image_set import from_pixels
from reviver.explorer.gan_images import RealImages, choose_images, rounded
from reviver.explorer.layers import FoldedLayer, evaluate, rounding_of
from reviver.explorer.manifest import LogitContext, Rounding
from reviver.gan.losses import describe_losses
from reviver.gan.networks import one_hot
from reviver.gan.sampling import generate_chunked
from reviver.gan.scores.feature_extractor import DigitClassifier
from reviver.rng import make_rng
from reviver.train.opened import OpenedRun

NUM_CONTEXT = 500
"""Number N of real images, and of samples, which measure the rounding, too."""


class Samples(NamedTuple):
    """Samples of a generator."""

    latents: Tensor
    """[N, Z]"""
    images: Tensor
    """[N, C, H, W]"""
    classes: Tensor | None
    """One-hot, [N, K]."""


def sample(run: OpenedRun) -> Samples:
    """Return the samples that stand for all of a run."""
    generator = run.generator
    rng = make_rng(run.config.seed, "explorer/context")
    z = generator.sample_latents(NUM_CONTEXT, rng)
    return Samples(z, generate_chunked(generator, z), generator.class_labels(z))


@torch.no_grad()
def context_logits(run: OpenedRun, samples: Samples, images: RealImages) -> LogitContext:
    """Return the log-odds of D for samples and for real images."""
    discriminator, num_classes = run.discriminator, run.generator.num_classes
    fake = rounded(discriminator.logits(samples.images, samples.classes))
    for found, name in ((images.test, "test images"), (images.train, "training images")):
        if found is None or (num_classes and (found.labels is None or int(found.labels.max()) >= num_classes)):
            continue  # none, or without the labels that a conditional D asks for
        chosen = choose_images(found, NUM_CONTEXT, run, "real")
        classes = one_hot(chosen.labels, num_classes) if num_classes and chosen.labels is not None else None
        real = rounded(discriminator.logits(from_pixels(chosen.images), classes))
        return LogitContext(real=real, fake=fake, real_source=name)
    return LogitContext(real=[], fake=fake, real_source="")


@torch.no_grad()
def measure_rounding(
    run: OpenedRun,
    samples: Samples,
    generator: Sequence[FoldedLayer],
    discriminator: Sequence[FoldedLayer],
    classifier: DigitClassifier | None,
    rounded_classifier: Sequence[FoldedLayer],
) -> list[Rounding]:
    """Compare the outputs of the rounded networks for samples with those of the trained ones in single precision."""
    images = samples.images
    pixels = evaluate(generator, samples.latents)
    inputs = run.discriminator.inputs(samples.images, samples.classes)
    probabilities = evaluate(discriminator, inputs).sigmoid()
    unit = "probability that an image is real" if describe_losses(run.config.loss).smoothed else "sigmoid of D's output"
    rounding = [
        rounding_of("generator", "pixel, from -1 to 1", pixels, images.flatten(1)),
        rounding_of("discriminator", unit, probabilities, run.discriminator(samples.images, samples.classes)),
    ]
    if classifier is not None:
        found = evaluate(rounded_classifier, images).softmax(1)
        rounding.append(rounding_of("classifier", "class probability", found, classifier.probabilities(images)))
    return rounding
