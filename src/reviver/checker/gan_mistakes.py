"""Well-known mistakes in a GAN: each is the piece with one mistake in it, or says whether what a network gives shows it.

Shapes: N images, C channels, H height, W width, Z latent size, S points on a path.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from reviver.checker.pieces import Hint, table
from reviver.gan.interpolation import interpolate as interpolate_on
from reviver.gan.losses import cross_entropy_discriminator, non_saturating_generator

NETWORKS, LOSSES, STEP, TRAIN = "The networks", "The losses", "One training step", "Train it"
FLAT = Hint("Algorithm 1", "Where is this loss flat, and where is G at first?")
LABELS = Hint(
    LOSSES, "Which answer does G want for its images, and which ones does D want for real and generated ones?"
)
SIGMOIDS = Hint(NETWORKS, "How often do your network and your loss together apply a sigmoid?")
ROUNDED = Hint(NETWORKS, "What is the logarithm of a probability that was rounded to 0?")
MEAN = Hint(LOSSES, "Compare your loss with its equation: over what is each mean taken, and of what?")
SIGN = Hint(LOSSES, "Which sign has the loss that an optimizer minimizes?")
RANGE = Hint(NETWORKS, "Between which numbers do the pixels of the data lie?")
INPUT = Hint(NETWORKS, "Does the result depend on all rows of the input?")
REACH = Hint(STEP, "Which network may the loss of D change, and which one the loss of G?")
CLEAR = Hint(STEP, "Which calls add to the gradients of D, and which of them are meant for D?")
SAME = Hint(STEP, "At which weights are both gradients taken? To alternate, algorithm 1 samples new noise.")
UPDATE = Hint(STEP, "Which network does each optimizer change?")
SHAPES = Hint(
    LOSSES, "Which shapes have the labels and the answers, and what does broadcasting make of [N] and [N, 1]?"
)
SOFT = Hint(LOSSES, "Which logit has the smallest loss if the label is 1.2?")
RETURNS = Hint(STEP, "Does the call change the tensor, or return another one?")
NORM = Hint(TRAIN, "What does BatchNorm use in training, and what in evaluation?")
NOISE = Hint(STEP, "What are the arguments of the step for, and how many images should they give?")
ENDS = Hint(TRAIN, "How many rows should the path have, and which are the first and the last?")
LINE = Hint(TRAIN, "Which line joins the two points, and what do the two weights add up to at each point?")
Modify = Callable[[Tensor], Tensor]
Pair = Callable[[Tensor, Tensor], Tensor]


def generator_loss(fake_logits: Tensor, *, change: Modify = lambda logits: logits) -> Tensor:
    """Return L_G of changed logits."""
    return non_saturating_generator(fake_logits, change(fake_logits))


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, *, change: Modify = lambda logits: logits) -> Tensor:
    """Return L_D of changed logits."""
    return cross_entropy_discriminator(change(real_logits), change(fake_logits))


def log_of_probability(logits: Tensor, target: float = 1.0) -> Tensor:
    """Return the cross-entropy by the logarithm of a rounded probability, which may be log 0."""
    p = torch.sigmoid(logits)
    return -(torch.log(p) if target else torch.log(1 - p)).mean()


def clamped_log(logits: Tensor, target: float = 1.0) -> Tensor:
    """Return torch's cross-entropy of a rounded probability, which takes a logarithm for at least -100."""
    return functional.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))


def both(loss: Callable[[Tensor, float], Tensor]) -> Pair:
    """Return L_D from a cross-entropy for the targets 1 and 0."""
    return lambda real, fake: (loss(real, 1.0) + loss(fake, 0.0)) / 2


softplus = functional.softplus
on_fake, on_both = partial(partial, generator_loss), partial(partial, discriminator_loss)
GENERATOR_LOSS_MISTAKES = table(
    ("the loss is the saturating one, log(1 - D(G(z)))", FLAT, lambda fake: -softplus(fake).mean()),
    ("the labels are exchanged", LABELS, on_fake(change=torch.neg)),
    ("there are two sigmoids", SIGMOIDS, on_fake(change=torch.sigmoid)),
    ("the loss has the wrong sign", SIGN, lambda fake: -generator_loss(fake)),
    ("the loss is a sum over the batch", MEAN, lambda fake: generator_loss(fake) * len(fake)),
    ("the logarithm is missing", MEAN, lambda fake: -fake.mean()),
    ("the loss is computed from a rounded probability", ROUNDED, log_of_probability),
    ("the loss is computed from a rounded probability", ROUNDED, clamped_log),
)
DISCRIMINATOR_LOSS_MISTAKES = table(
    ("the labels are exchanged", LABELS, on_both(change=torch.neg)),
    ("there are two sigmoids", SIGMOIDS, on_both(change=torch.sigmoid)),
    ("the loss has the wrong sign", SIGN, lambda real, fake: -discriminator_loss(real, fake)),
    ("the factor ½ is missing", MEAN, lambda real, fake: 2 * discriminator_loss(real, fake)),
    ("the loss is a sum over the batch", MEAN, lambda real, fake: len(real) * discriminator_loss(real, fake)),
    ("the generated images are missing", LABELS, lambda real, fake: softplus(-real).mean() / 2),
    ("the real images are missing", LABELS, lambda real, fake: softplus(fake).mean() / 2),
    ("the loss is computed from a rounded probability", ROUNDED, both(log_of_probability)),
    ("the loss is computed from a rounded probability", ROUNDED, both(clamped_log)),
)


def are_equal(values: Tensor) -> bool:
    """Return whether all rows are the same."""
    return torch.allclose(values, values[:1].expand_as(values))


def are_probabilities(values: Tensor) -> bool:
    """Return whether all values lie between 0 and 1."""
    return bool(((values >= 0) & (values <= 1)).all())


GENERATOR_MISTAKES = table(
    ("there is a sigmoid at the end of G, not tanh", RANGE, are_probabilities),
    ("there is no tanh at the end of G", RANGE, lambda images: bool((images.abs() > 1).any())),
    ("all noise gives the same image", INPUT, are_equal),
)
DISCRIMINATOR_MISTAKES = table(
    ("there is a sigmoid at the end of D, and another in the loss", SIGMOIDS, are_probabilities),
    ("all images get the same answer", INPUT, are_equal),
)


def wrong_gan_step(
    G: nn.Module,
    D: nn.Module,
    opt_G: Optimizer,
    opt_D: Optimizer,
    real: Tensor,
    z: Tensor,
    *,
    losses: tuple[Modify, Pair] = (generator_loss, discriminator_loss),
    attached: str = "G",
    order: str = "zero_G zero_D back_G zero_D back_D step_G step_D",
    noise: Modify = lambda z: z,
    is_training: bool = True,
) -> None:
    """Update both networks once, with the parts of the step in an `order`; the losses of `attached` networks reach G."""
    fake = G.train(is_training)(noise(z))
    fake_of = {name: fake if name in attached else fake.detach() for name in "GD"}
    parts: dict[str, Callable[[], object]] = {
        "zero_G": opt_G.zero_grad,
        "zero_D": opt_D.zero_grad,
        "back_G": lambda: losses[0](D(fake_of["G"])).backward(retain_graph=True),
        "back_D": lambda: losses[1](D(real), D(fake_of["D"])).backward(retain_graph=True),
        "step_G": opt_G.step,
        "step_D": opt_D.step,
    }
    for part in order.split():
        parts[part]()


def in_losses(change: Modify) -> Callable[..., None]:
    """Return a step whose losses both change the logits."""
    return step(losses=(on_fake(change=change), on_both(change=change)))


step = partial(partial, wrong_gan_step)
ALTERNATING = "zero_D back_D step_D zero_G back_G step_G"
GAN_STEP_MISTAKES = table(
    ("detach is missing: the loss of D reaches G", REACH, step(attached="GD")),
    ("the gradients are never cleared", CLEAR, step(order="back_G back_D step_G step_D")),
    (
        "the gradients of D from the loss of G are not cleared",
        CLEAR,
        step(order="zero_G zero_D back_G back_D step_G step_D"),
    ),
    ("G learns from the new D, with one noise for both", SAME, step(order=ALTERNATING)),
    ("G is not updated", UPDATE, step(order="zero_G back_G zero_D back_D step_D")),
    ("D is not updated", UPDATE, step(order="zero_G back_G step_G")),
    ("G gets no gradient from its loss", REACH, step(attached="")),
    ("BatchNorm is in evaluation mode", NORM, step(is_training=False)),
    ("all images have one noise vector", NOISE, step(noise=lambda z: z[:1].expand_as(z))),
    ("the step samples its own noise, not z", NOISE, step(noise=torch.randn_like)),
    ("there are two sigmoids", SIGMOIDS, in_losses(torch.sigmoid)),
    ("the labels are exchanged", LABELS, in_losses(torch.neg)),
    *((f"loss of G: {m.name}", LABELS, step(losses=(m.compute, discriminator_loss))) for m in GENERATOR_LOSS_MISTAKES),
    *((f"loss of D: {m.name}", LABELS, step(losses=(generator_loss, m.compute))) for m in DISCRIMINATOR_LOSS_MISTAKES),
)
BY_NAME = {mistake.name: mistake for mistake in GAN_STEP_MISTAKES}
NO_DETACH = GAN_STEP_MISTAKES[0]
NEVER_CLEARED = BY_NAME["the gradients are never cleared"]
KEPT = BY_NAME["the gradients of D from the loss of G are not cleared"]
NO_GRADIENT = BY_NAME["G gets no gradient from its loss"]
EXCHANGED = BY_NAME["the labels are exchanged"]
SATURATING = GENERATOR_LOSS_MISTAKES[0]
(WRONG_SIGN,) = (each for each in DISCRIMINATOR_LOSS_MISTAKES if each.name == "the loss has the wrong sign")
(TOO_EARLY, REUSED, TARGET_SHAPE, LABELS_ABOVE_ONE, TWO_SIGMOIDS, DROPPED) = table(
    ("an optimizer steps before the other gradient is there", SAME, step(order=ALTERNATING)),
    ("the fake images are used again after the step of G, without detach", REACH, step(order=ALTERNATING)),
    ("the labels have the shape [N], the answers of D [N, 1]", SHAPES, step(order=ALTERNATING)),
    ("a label is above 1", SOFT, step(order=ALTERNATING)),
    ("there is a sigmoid at the end of D, and another in the loss", SIGMOIDS, step(order=ALTERNATING)),
    ("the result of a call that changes nothing by itself is dropped", RETURNS, step(order=ALTERNATING)),
)
EPS = "BatchNorm gets {:.2g} as eps, which stands second, before momentum; with eps = 0.8 all runs of the recipes collapsed"


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Return both ends and `steps` points between, [steps + 2, Z]."""
    return interpolate_on(start, end, steps)


INTERPOLATION_MISTAKES = table(
    ("the ends are missing", ENDS, lambda start, end, steps: interpolate(start, end, steps)[1:-1]),
    ("the last end is missing", ENDS, lambda start, end, steps: interpolate(start, end, steps)[:-1]),
    ("steps counts the ends, too", ENDS, lambda start, end, steps: interpolate(start, end, steps - 2)),
    ("the ends are exchanged", ENDS, lambda start, end, steps: interpolate(end, start, steps)),
    ("the path is spherical", LINE, partial(interpolate_on, path="spherical")),
    ("the start keeps its whole weight", LINE, lambda a, b, steps: a + torch.linspace(0, 1, steps + 2)[:, None] * b),
)
