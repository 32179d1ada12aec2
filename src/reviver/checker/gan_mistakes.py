"""Well-known mistakes in a GAN: each is the piece with one mistake in it, or says whether the images of a network show it.

Shapes: N images, C channels, H height, W width, Z latent size, S points on a path.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from reviver.checker.pieces import Mistake
from reviver.gan.interpolation import interpolate as interpolate_on
from reviver.gan.losses import cross_entropy_discriminator, non_saturating_generator

ALGORITHM, NETWORKS, LOSSES, STEP, TRAIN = (
    "Algorithm 1",
    "The networks",
    "The losses",
    "One training step",
    "Train it",
)
Modify = Callable[[Tensor], Tensor]


def generator_loss(fake_logits: Tensor, *, change: Modify = lambda logits: logits) -> Tensor:
    """Return L_G of changed logits."""
    return non_saturating_generator(fake_logits, change(fake_logits))


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, *, change: Modify = lambda logits: logits) -> Tensor:
    """Return L_D of changed logits."""
    return cross_entropy_discriminator(change(real_logits), change(fake_logits))


def from_probability(logits: Tensor, target: float) -> Tensor:
    """Return the cross-entropy computed from the logarithm of a rounded probability, which may be log 0."""
    p = torch.sigmoid(logits)
    return -(torch.log(p) if target else torch.log(1 - p)).mean()


def clamped(logits: Tensor, target: float) -> Tensor:
    """Return the cross-entropy of torch for probabilities, which takes a logarithm for at least -100."""
    return functional.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))


def both(loss: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return L_D from a cross-entropy for targets 1 and 0."""
    return lambda real_logits, fake_logits: (loss(real_logits, 1.0) + loss(fake_logits, 0.0)) / 2


LABELS = "Which answer does G want for its images, and which ones does D want for real and for generated ones?"
SIGMOIDS = "How often do your network and your loss together apply a sigmoid?"
PROBABILITY = "What is the logarithm of a probability that was rounded to 0?"
MEAN = "The loss should not depend on the size of the batch."
SIGN = "Which sign has the loss that an optimizer minimizes?"
GENERATOR_LOSS_MISTAKES = (
    Mistake(
        "the loss is the saturating one, log(1 - D(G(z)))",
        "Where is this loss flat, and where is G at first?",
        ALGORITHM,
        lambda fake_logits: -functional.softplus(fake_logits).mean(),
    ),
    Mistake("the labels are exchanged", LABELS, LOSSES, partial(generator_loss, change=torch.neg)),
    Mistake("there are two sigmoids", SIGMOIDS, NETWORKS, partial(generator_loss, change=torch.sigmoid)),
    Mistake("the loss has the wrong sign", SIGN, LOSSES, lambda fake_logits: -generator_loss(fake_logits)),
    Mistake("the loss is a sum over the batch", MEAN, LOSSES, lambda logits: generator_loss(logits) * len(logits)),
    Mistake("the logarithm is missing", "L_G is a cross-entropy.", LOSSES, lambda fake_logits: -fake_logits.mean()),
    *(
        Mistake("the loss is computed from a rounded probability", PROBABILITY, LOSSES, partial(loss, target=1.0))
        for loss in (from_probability, clamped)
    ),
)
DISCRIMINATOR_LOSS_MISTAKES = (
    Mistake("the labels are exchanged", LABELS, LOSSES, partial(discriminator_loss, change=torch.neg)),
    Mistake("there are two sigmoids", SIGMOIDS, NETWORKS, partial(discriminator_loss, change=torch.sigmoid)),
    Mistake("the loss has the wrong sign", SIGN, LOSSES, lambda real, fake: -discriminator_loss(real, fake)),
    Mistake(
        "the factor ½ is missing", "L_D is the mean of two parts.", LOSSES, lambda r, f: 2 * discriminator_loss(r, f)
    ),
    Mistake("the loss is a sum over the batch", MEAN, LOSSES, lambda r, f: len(r) * discriminator_loss(r, f)),
    Mistake("the generated images are missing", LABELS, LOSSES, lambda r, f: functional.softplus(-r).mean() / 2),
    Mistake("the real images are missing", LABELS, LOSSES, lambda r, f: functional.softplus(f).mean() / 2),
    *(
        Mistake("the loss is computed from a rounded probability", PROBABILITY, LOSSES, both(loss))
        for loss in (from_probability, clamped)
    ),
)
GENERATOR_MISTAKES = (
    Mistake(
        "there is a sigmoid at the end of G, not tanh",
        "Between which numbers do the pixels of the data lie?",
        NETWORKS,
        lambda images: bool((images >= 0).all()) and bool((images <= 1).all()),
    ),
    Mistake(
        "there is no tanh at the end of G",
        "Between which numbers do the pixels of the data lie?",
        NETWORKS,
        lambda images: bool((images.abs() > 1).any()),
    ),
    Mistake(
        "all noise gives the same image",
        "Which rows of z does your network use?",
        NETWORKS,
        lambda images: torch.allclose(images, images[:1].expand_as(images)),
    ),
)
DISCRIMINATOR_MISTAKES = (
    Mistake(
        "there is a sigmoid at the end of D, and another in the loss",
        SIGMOIDS,
        NETWORKS,
        lambda logits: bool((logits >= 0).all()) and bool((logits <= 1).all()),
    ),
    Mistake(
        "all images get the same answer",
        "Does what D returns depend on its input?",
        NETWORKS,
        lambda logits: torch.allclose(logits, logits[:1].expand_as(logits)),
    ),
)


def wrong_gan_step(
    G: nn.Module,
    D: nn.Module,
    opt_G: Optimizer,
    opt_D: Optimizer,
    real: Tensor,
    z: Tensor,
    *,
    losses: tuple[Callable[..., Tensor], Callable[..., Tensor]] = (generator_loss, discriminator_loss),
    detach_for_D: bool = True,
    detach_for_G: bool = False,
    clear: str = "G D between",
    order: str = "simultaneous",
    update: str = "G D",
    noise: Modify = lambda z: z,
    is_training: bool = True,
) -> None:
    """Update both networks once, with a mistake."""
    G.train(is_training)
    for name, opt in (("G", opt_G), ("D", opt_D)):
        if name in clear.split():
            opt.zero_grad()
    fake = G(noise(z))

    def backward_G() -> None:
        losses[0](D(fake.detach() if detach_for_G else fake)).backward(retain_graph=True)

    def backward_D() -> None:
        losses[1](D(real), D(fake.detach() if detach_for_D else fake)).backward(retain_graph=True)

    def step(name: str, opt: Optimizer) -> None:
        if name in update.split():
            opt.step()

    if order == "D first":
        backward_D()
        step("D", opt_D)
        if "between" in clear:
            opt_G.zero_grad()
        backward_G()
        step("G", opt_G)
        return
    backward_G()
    if "between" in clear:
        opt_D.zero_grad()
    backward_D()
    step("G", opt_G)
    step("D", opt_D)


def wrong_step(name: str, hint: str, section: str = STEP, **changes: Any) -> Mistake:
    """Return a mistake of the step."""
    return Mistake(name, hint, section, partial(wrong_gan_step, **changes))


CLEAR = "Which calls add to the gradients of D, and which of them are meant for D?"
NO_DETACH = wrong_step(
    "detach is missing: the loss of D reaches G", "Which network may the loss of D change?", detach_for_D=False
)
TOO_EARLY = wrong_step(
    "an optimizer steps before the other gradient is there",
    "At which weights are both gradients taken?",
    order="D first",
)
GAN_STEP_MISTAKES = (
    NO_DETACH,
    wrong_step("the gradients are never cleared", CLEAR, clear=""),
    wrong_step("the gradients of D from the loss of G are not cleared", CLEAR, clear="G D"),
    wrong_step(
        "G learns from the new D, with one noise for both",
        "At which weights are both gradients taken? To alternate, algorithm 1 samples new noise.",
        order="D first",
    ),
    wrong_step("G is not updated", "Which network does each optimizer change?", update="D"),
    wrong_step("D is not updated", "Which network does each optimizer change?", update="G"),
    wrong_step("G gets no gradient from its loss", "Through what does the loss of G reach G?", detach_for_G=True),
    wrong_step("BatchNorm is in evaluation mode", "What does BatchNorm use in training?", TRAIN, is_training=False),
    wrong_step(
        "all images have one noise vector",
        "How many different images should the batch have?",
        noise=lambda z: z[:1].expand_as(z),
    ),
    wrong_step(
        "the step samples its own noise, not z", "What are the arguments of the step for?", noise=torch.randn_like
    ),
    *(
        wrong_step(
            f"{name} in the loss of {network}",
            hint,
            LOSSES,
            losses=(changed, discriminator_loss) if network == "G" else (generator_loss, changed),
        )
        for network, mistakes in (("G", GENERATOR_LOSS_MISTAKES), ("D", DISCRIMINATOR_LOSS_MISTAKES))
        for name, hint, _, changed in mistakes
    ),
    wrong_step(
        "there are two sigmoids",
        SIGMOIDS,
        NETWORKS,
        losses=tuple(partial(loss, change=torch.sigmoid) for loss in (generator_loss, discriminator_loss)),
    ),
    wrong_step(
        "the labels are exchanged",
        LABELS,
        LOSSES,
        losses=tuple(partial(loss, change=torch.neg) for loss in (generator_loss, discriminator_loss)),
    ),
)


def path(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Return the points [S, Z] of a straight path at t [S]."""
    return (1 - t)[:, None] * start + t[:, None] * end


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Return both ends and `steps` points between, [steps + 2, Z]."""
    return path(start, end, torch.linspace(0, 1, steps + 2))


ENDS = "How many rows should there be, and which are the first and the last?"
INTERPOLATION_MISTAKES = (
    Mistake("the ends are missing", ENDS, TRAIN, lambda a, b, steps: interpolate(a, b, steps)[1:-1]),
    Mistake("the last end is missing", ENDS, TRAIN, lambda a, b, steps: interpolate(a, b, steps)[:-1]),
    Mistake("steps counts the ends, too", ENDS, TRAIN, lambda a, b, steps: interpolate(a, b, steps - 2)),
    Mistake("the ends are exchanged", ENDS, TRAIN, lambda a, b, steps: interpolate(b, a, steps)),
    Mistake(
        "the path is spherical",
        "Which line does the text draw between two points?",
        TRAIN,
        lambda a, b, steps: interpolate_on(a, b, steps, "spherical"),
    ),
    Mistake(
        "the start keeps its whole weight",
        "What do the two weights add up to at each point?",
        TRAIN,
        lambda a, b, steps: a + torch.linspace(0, 1, steps + 2)[:, None] * b,
    ),
)
