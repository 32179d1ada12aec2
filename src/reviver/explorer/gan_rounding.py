"""Difference between the embedded, rounded networks of a GAN and the trained ones.

Shapes: N samples, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from reviver.explorer.gan_discriminator import sample_inputs
from reviver.explorer.manifest import Rounding
from reviver.explorer.networks import FoldedLayer, evaluate
from reviver.gan.networks import NEGATIVE_SLOPE
from reviver.gan.sampling import generate_chunked
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.runs.rng import make_rng
from reviver.train.gan.run import GANRun

NUM_LATENTS = 500


@torch.no_grad()
def generator_rounding(run: GANRun, rounded: Sequence[FoldedLayer]) -> Rounding:
    """Compare the pixels of random images with those of the trained generator in single precision."""
    z = run.generator.sample_latents(NUM_LATENTS, make_rng(run.config.seed, "explorer/rounding"))
    exact = generate_chunked(run.generator, z).flatten(1)
    return _compare("generator", "pixel, from -1 to 1", evaluate(rounded, z, NEGATIVE_SLOPE), exact)


@torch.no_grad()
def discriminator_rounding(run: GANRun, rounded: Sequence[FoldedLayer]) -> Rounding:
    """Compare the probabilities that D gives to samples."""
    images, classes = sample_inputs(run, NUM_LATENTS)
    exact = run.discriminator(images, classes)
    inputs = run.discriminator.pack(images, classes)
    found = evaluate(rounded, inputs, NEGATIVE_SLOPE).sigmoid()
    return _compare("discriminator", "probability that an image is real", found, exact)


@torch.no_grad()
def classifier_rounding(run: GANRun, classifier: DigitClassifier, rounded: Sequence[FoldedLayer]) -> Rounding:
    """Compare the class probabilities of samples."""
    images = sample_inputs(run, 1 + (NUM_LATENTS - 1) // run.discriminator.packing)[0][:NUM_LATENTS]
    found = evaluate(rounded, images).softmax(1)
    return _compare("classifier", "class probability", found, classifier.probabilities(images))


def _compare(network: str, unit: str, rounded: Tensor, exact: Tensor) -> Rounding:
    errors = (rounded - exact.double()).abs()
    largest, mean = float(errors.max()), float(errors.mean())
    return Rounding(network=network, unit=unit, max=_short(largest), mean=_short(mean))


def _short(value: float) -> float:
    """Round up in the third digit, so that what the page states is never too good."""
    scale = 10.0 ** (2 - _exponent(value))
    return float(f"{-(-value * scale // 1) / scale:.3g}") if value else 0.0


def _exponent(value: float) -> int:
    return int(f"{value:e}".split("e")[1]) if value else 0
