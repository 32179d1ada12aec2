"""The pieces of a GAN that an assignment asks for, and how each is checked.

A file defines `Generator(latent_size, image_shape)`, `Discriminator(image_shape)`, `generator_loss(fake_logits)`,
`discriminator_loss(real_logits, fake_logits)`, `gan_step(G, D, opt_G, opt_D, real, z)` and `interpolate(start, end, steps)`.

Shapes: N images, C channels, H height, W width, Z latent size.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from reviver.checker import gan_mistakes as wrong
from reviver.checker.compare import Quantities, compare, derivatives, sample
from reviver.checker.pieces import Failure, Mistake, Namespace, Piece, describe
from reviver.data.images.named import read_mnist
from reviver.text import short_repr

LATENT_SIZE, IMAGE_SHAPE = 100, (1, 28, 28)
MAX_UPDATES, BATCH_SIZE = 400, 64
MAX_DISTANCE, MIN_SPREAD = 0.5, 0.3
"""Bounds of the samples, see `check_samples`."""


def check_network(
    network: nn.Module, inputs: Tensor, shapes: tuple[list[int], ...], mistakes: tuple[Mistake, ...]
) -> str:
    """Check shape and type of what a network gives, that all its parameters take part, and between which numbers it lies."""
    values = network(inputs)
    if not isinstance(values, Tensor) or list(values.shape) not in shapes:
        found = list(values.shape) if isinstance(values, Tensor) else short_repr(values)
        raise Failure(f"the result must have shape {' or '.join(map(str, shapes))}, got {found}")
    if values.dtype != inputs.dtype or not bool(values.isfinite().all()):
        raise Failure(f"the result must be finite and have the dtype {inputs.dtype} of the input, got {values.dtype}")
    names, parameters = zip(*network.named_parameters(), strict=True)
    for name, grad in zip(
        names, torch.autograd.grad(values.square().sum(), parameters, allow_unused=True), strict=True
    ):
        if grad is None:
            raise Failure(f"{name} has no part in the result")
    with torch.no_grad():
        for parameter in parameters:  # large weights show between which numbers the last layer keeps its values
            parameter.mul_(10)
        values = network(inputs)
    text = f"with large weights the values lie between {values.min():.3g} and {values.max():.3g}"
    for mistake in mistakes:
        if mistake.compute(values):
            raise Failure(text, mistake)
    return text


def check_generator(names: Namespace) -> str:
    """Check shape, range and variety of the images, in eval mode one by one."""
    G, z = names["Generator"](LATENT_SIZE, IMAGE_SHAPE), sample(1, 8, LATENT_SIZE)
    check_network(G, z, ([8, *IMAGE_SHAPE],), wrong.GENERATOR_MISTAKES)
    with torch.no_grad():
        if not torch.allclose(G.eval()(z)[:4], G(z[:4])):
            raise Failure("in eval mode an image depends on the others of its batch")
    return "images [N, 1, 28, 28] between -1 and 1"


def check_discriminator(names: Namespace) -> str:
    """Check shape and range of the logits."""
    x = sample(2, 8, *IMAGE_SHAPE).tanh()
    check_network(names["Discriminator"](IMAGE_SHAPE), x, ([8, 1], [8]), wrong.DISCRIMINATOR_MISTAKES)
    return "one logit for each image"


def check_losses(names: Namespace) -> str:
    """Check both losses and their gradients."""
    check_loss(names, "generator_loss", wrong.generator_loss, wrong.GENERATOR_LOSS_MISTAKES, ("fake_logits",))
    inputs = ("real_logits", "fake_logits")
    check_loss(names, "discriminator_loss", wrong.discriminator_loss, wrong.DISCRIMINATOR_LOSS_MISTAKES, inputs)
    return "values and gradients agree, also for large logits"


def check_loss(
    names: Namespace, name: str, ours: Callable[..., Tensor], mistakes: tuple[Mistake, ...], inputs: tuple[str, ...]
) -> None:
    """Check a loss, also of logits so large that a probability would round to 0 or 1."""
    if name not in names:
        raise Failure(f"{name} is not defined")
    logits = {each: 2 * sample(seed, 6, 1) for seed, each in enumerate(inputs)}

    def value(loss: Callable[..., Any], is_square: bool) -> Quantities:
        return {name: loss(*logits.values())}

    def value_of_large(loss: Callable[..., Any], is_square: bool) -> Quantities:
        return {f"{name} of large logits": loss(*(400 * each for each in logits.values()))}

    def gradients(loss: Callable[..., Any], is_square: bool) -> Quantities:
        return derivatives(lambda **given: loss(*given.values()), logits, by_numbers=loss is ours)

    compare(value, [names[name]], ours, mistakes)
    compare(value_of_large, [names[name]], ours, mistakes)
    compare(gradients, [names[name]], ours, ())


class CountingSGD(torch.optim.SGD):
    """SGD that counts its steps."""

    num_steps = 0

    def step(self, closure: Any = None) -> Any:
        """Update the parameters."""
        self.num_steps += 1
        return super().step(closure)


def observe_step(step: Callable[..., Any], is_square: bool) -> Quantities:
    """Return the weights of two small networks after two steps by SGD, and the number of updates."""
    torch.manual_seed(5)
    G = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 12), nn.Tanh())
    D = nn.Sequential(nn.Linear(12, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1))
    optimizers = [CountingSGD(network.parameters(), lr=0.5) for network in (G, D)]
    result: dict[str, Tensor] = {}
    for index in (1, 2):
        try:
            step(G, D, *optimizers, sample(index, 7, 12).tanh(), sample(index + 2, 7, 4))
        except RuntimeError as error:
            for words, mistake in (("a second time", wrong.NO_DETACH), ("inplace operation", wrong.TOO_EARLY)):
                if words in str(error):
                    raise Failure(describe(error), mistake) from error
            raise
        for name, network, optimizer in zip("GD", (G, D), optimizers, strict=True):
            result[f"the number of updates of {name}"] = torch.tensor(float(optimizer.num_steps))
            weights = network.named_parameters()
            result |= {f"{part} of {name} after step {index}": value.detach().clone() for part, value in weights}
    return result


def check_gan_step(names: Namespace) -> str:
    """Check the weights of both networks after two steps, with logits [N, 1] or, if the step wants them so, [N]."""

    def with_flat_logits(G: nn.Module, D: nn.Module, *rest: Any) -> None:
        names["gan_step"](G, nn.Sequential(D, nn.Flatten(0)), *rest)

    compare(observe_step, [names["gan_step"], with_flat_logits], wrong.wrong_gan_step, wrong.GAN_STEP_MISTAKES)
    return "both networks are updated once, each by its own loss"


def check_interpolation(names: Namespace) -> str:
    """Check the points of a path."""
    start, end = sample(6, 2, 5)

    def points(interpolate: Callable[..., Any], is_square: bool) -> Quantities:
        return {"the path": interpolate(start, end, 7), "the path without points between": interpolate(start, end, 0)}

    compare(points, [names["interpolate"]], wrong.interpolate, wrong.INTERPOLATION_MISTAKES)
    return "both ends and the points between"


def check_samples(names: Namespace) -> str:
    """Train until the mean image comes near that of the data while the images differ, for at most MAX_UPDATES."""
    if "Discriminator" not in names:
        raise Failure("Discriminator is not defined")
    torch.set_default_dtype(torch.float32)
    step = names.get("gan_step", wrong.wrong_gan_step)
    images = read_mnist().images[:4096].unsqueeze(1).float() / 127.5 - 1  # [N, C, H, W]
    G, D = names["Generator"](LATENT_SIZE, IMAGE_SHAPE), names["Discriminator"](IMAGE_SHAPE)
    opt_G = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.999))
    opt_D = torch.optim.Adam(D.parameters(), lr=4e-4, betas=(0.5, 0.999))
    z = torch.randn(128, LATENT_SIZE)
    first, _ = measure_samples(G, z, images)
    for update in range(1, MAX_UPDATES + 1):
        real = images[torch.randint(len(images), (BATCH_SIZE,))]
        step(G, D, opt_G, opt_D, real, torch.randn(BATCH_SIZE, LATENT_SIZE))
        if update % 25 == 0:
            distance, spread = measure_samples(G, z, images)
            text = f"after {update} updates the mean image is {distance / first:.0%} as far from the data as at first"
            if distance < MAX_DISTANCE * first and spread > MIN_SPREAD:
                return text
    raise Failure(
        f"{text}, should be below {MAX_DISTANCE:.0%}; or pixels vary {spread:.0%} as much as in the data, should be above "
        f"{MIN_SPREAD:.0%}"
    )


@torch.no_grad()
def measure_samples(G: nn.Module, z: Tensor, images: Tensor) -> tuple[float, float]:
    """Return the distance of the mean image from that of the data, and how much pixels vary, relative to the data."""
    fake = G(z)  # in training mode, since running statistics lag behind
    return float((fake.mean(0) - images.mean(0)).norm()), float(fake.std(0).mean() / images.std(0).mean())


GAN_PIECES = (
    Piece("generator", "gan", ("Generator",), (), wrong.NETWORKS, check_generator),
    Piece("discriminator", "gan", ("Discriminator",), (), wrong.NETWORKS, check_discriminator),
    Piece("losses", "gan", ("generator_loss", "discriminator_loss"), (), wrong.LOSSES, check_losses),
    Piece("gan_step", "gan", ("gan_step",), ("losses",), wrong.STEP, check_gan_step),
    Piece("interpolation", "gan", ("interpolate",), (), wrong.TRAIN, check_interpolation),
    Piece("samples", "gan", ("Generator",), ("gan_step", "generator", "discriminator"), wrong.TRAIN, check_samples),
)
