"""What D says about many real and generated images: the context of its log-odds for one image.

Shapes: N images, K classes, m images per input of D, G inputs of D: groups of m images.
"""

import torch
from torch import Tensor

from reviver.data.images.image_set import ImageSet, from_pixels
from reviver.explorer.gan_images import RealImages, spread
from reviver.explorer.manifest import LogitContext
from reviver.gan.networks import one_hot
from reviver.gan.sampling import generate_chunked
from reviver.runs.rng import make_rng
from reviver.train.gan.run import GANRun

NUM_CONTEXT = 500
"""G of real images, and of samples."""
DIGITS = 4
"""Decimal places of the log-odds."""


def context_logits(run: GANRun, images: RealImages) -> LogitContext:
    """Return the log-odds of D for real images and for samples; of a D with packing, for groups of m."""
    fake, classes = sample_inputs(run, NUM_CONTEXT)
    real: list[float] = []
    source = ""
    for candidate, name in ((images.test, "test images"), (images.train, "training images")):
        if candidate is not None and not real and _has_classes(candidate, run.generator.num_classes):
            real, source = _real_logits(run, candidate), name
    return LogitContext(real=real, fake=_logits(run, fake, classes), real_source=source)


def sample_inputs(run: GANRun, count: int) -> tuple[Tensor, Tensor | None]:
    """Return samples, [count m, C, H, W], and their one-hot classes [count m, K], or None."""
    generator = run.generator
    z = generator.sample_latents(count * run.discriminator.packing, make_rng(run.config.seed, "explorer/context"))
    return generate_chunked(generator, z), generator.class_labels(z)


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
