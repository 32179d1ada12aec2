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
from reviver.checker.compare import Quantities, compare, derivatives
from reviver.checker.pieces import Failure, Mistake, Namespace, Piece, describe
from reviver.data.images.named import read_mnist
from reviver.text import short_repr

LATENT_SIZE, IMAGE_SHAPE = 100, (1, 28, 28)
MAX_UPDATES, BATCH_SIZE = 400, 64
MAX_DISTANCE, MIN_SPREAD = 0.5, 0.3
"""Bounds of the samples, see `check_samples`."""


def rng(seed: int) -> torch.Generator:
    """Return a random number generator."""
    return torch.Generator().manual_seed(seed)


def find(mistakes: tuple[Mistake, ...], values: Tensor, text: str) -> None:
    """Raise Failure for the first mistake that the values of a network show."""
    for mistake in mistakes:
        if mistake.compute(values):
            raise Failure(text, mistake)


def call_network(network: nn.Module, inputs: Tensor, shapes: tuple[list[int], ...], what: str) -> Tensor:
    """Return what a network gives; raise Failure if it has none of the `shapes` or is not finite."""
    values = network(inputs)
    if not isinstance(values, Tensor) or list(values.shape) not in shapes:
        found = list(values.shape) if isinstance(values, Tensor) else short_repr(values)
        raise Failure(f"{what} must have shape {' or '.join(map(str, shapes))}, got {found}")
    if values.dtype != inputs.dtype or not bool(values.isfinite().all()):
        raise Failure(f"{what} must be finite and keep the dtype {inputs.dtype} of the input, got {values.dtype}")
    return values


def check_gradients(network: nn.Module, value: Tensor) -> None:
    """Raise Failure if a parameter has no part in a value."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    for name, grad in zip(names, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
        if grad is None:
            raise Failure(f"{name} has no part in the result")


def enlarge(network: nn.Module) -> None:
    """Make the weights larger, which shows between which numbers the last layer keeps its values."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(10)


def check_generator(names: Namespace) -> str:
    """Check shape, range and variety of the images, and that all layers take part."""
    G = names["Generator"](LATENT_SIZE, IMAGE_SHAPE)
    z = torch.randn(8, LATENT_SIZE, generator=rng(1))
    shapes = ([8, *IMAGE_SHAPE],)
    check_gradients(G, call_network(G, z, shapes, "images").square().sum())
    G.eval()
    with torch.no_grad():
        if not torch.allclose(G(z)[:4], G(z[:4])):
            raise Failure("in eval mode an image depends on the others of its batch")
        G.train()
        enlarge(G)
        images = call_network(G, z, shapes, "images")
    find(wrong.GENERATOR_MISTAKES, images, f"pixels lie between {images.min():.3g} and {images.max():.3g}")
    return f"images {['N', *IMAGE_SHAPE]} between -1 and 1".replace("'", "")


def check_discriminator(names: Namespace) -> str:
    """Check shape and range of the logits, and that all layers take part."""
    D = names["Discriminator"](IMAGE_SHAPE)
    x = torch.rand(8, *IMAGE_SHAPE, generator=rng(2)) * 2 - 1
    shapes = ([8, 1], [8])
    check_gradients(D, call_network(D, x, shapes, "logits").square().sum())
    with torch.no_grad():
        enlarge(D)
        logits = torch.cat([call_network(D, x * sign, shapes, "logits") for sign in (1, -1)])
    text = f"with large weights the answers lie between {logits.min():.3g} and {logits.max():.3g}"
    find(wrong.DISCRIMINATOR_MISTAKES, logits, text)
    return "one logit for each image"


def check_losses(names: Namespace) -> str:
    """Check both losses and their gradients, also of logits so large that a probability would round to 0 or 1."""
    logits = [torch.randn(6, 1, generator=rng(seed)) * 2 for seed in (3, 4)]
    large = [torch.tensor([[-900.0], [3.0], [800.0]]), torch.tensor([[700.0], [-950.0], [1.0]])]
    for name, ours, mistakes in (
        ("generator_loss", wrong.generator_loss, wrong.GENERATOR_LOSS_MISTAKES),
        ("discriminator_loss", wrong.discriminator_loss, wrong.DISCRIMINATOR_LOSS_MISTAKES),
    ):
        if name not in names:
            raise Failure(f"{name} is not defined")
        num = 1 if name == "generator_loss" else 2

        def values(loss: Callable[..., Any], is_square: bool, name: str = name, num: int = num) -> Quantities:
            return {name: loss(*logits[-num:]), f"{name} of large logits": loss(*large[-num:])}

        def gradients(
            loss: Callable[..., Any], is_square: bool, ours: Callable[..., Any] = ours, num: int = num
        ) -> Quantities:
            inputs = dict(zip(("real_logits", "fake_logits")[-num:], logits[-num:], strict=True))
            return derivatives(lambda **given: loss(*given.values()), inputs, by_numbers=loss is ours)

        loss = compare(values, [names[name]], ours, mistakes)
        compare(gradients, [loss], ours, ())
    return "values and gradients agree, also for large logits"


class CountingSGD(torch.optim.SGD):
    """SGD that counts its steps."""

    num_steps = 0

    def step(self, closure: Any = None) -> Any:
        """Update the parameters."""
        self.num_steps += 1
        return super().step(closure)


class Flat(nn.Module):
    """A discriminator that returns logits [N] instead of [N, 1]."""

    def __init__(self, D: nn.Module) -> None:
        super().__init__()
        self.D = D

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N]."""
        logits: Tensor = self.D(x)
        return logits.squeeze(1)


def observe_step(step: Callable[..., Any], is_square: bool) -> Quantities:
    """Return the weights of two small networks after two steps by SGD, and the number of updates."""
    torch.manual_seed(5)
    G = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 12), nn.Tanh())
    D = nn.Sequential(nn.Linear(12, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1))
    optimizers = {"G": CountingSGD(G.parameters(), lr=0.5), "D": CountingSGD(D.parameters(), lr=0.5)}
    result: dict[str, Tensor] = {}
    for index in (1, 2):
        real, z = torch.rand(7, 12, generator=rng(index)) * 2 - 1, torch.randn(7, 4, generator=rng(index + 2))
        try:
            step(G, D, optimizers["G"], optimizers["D"], real, z)
        except RuntimeError as error:
            for words, mistake in (("a second time", wrong.NO_DETACH), ("inplace operation", wrong.TOO_EARLY)):
                if words in str(error):
                    raise Failure(describe(error), mistake) from error
            raise
        for name, network in (("G", G), ("D", D)):
            result[f"the number of updates of {name}"] = torch.tensor(float(optimizers[name].num_steps))
            for part, value in network.named_parameters():
                result[f"{part} of {name} after step {index}"] = value.detach().clone()
    return result


def check_gan_step(names: Namespace) -> str:
    """Check the weights of both networks after two steps."""
    theirs = names["gan_step"]
    flat = lambda G, D, *rest: theirs(G, Flat(D), *rest)  # noqa: E731
    compare(observe_step, [theirs, flat], wrong.wrong_gan_step, wrong.GAN_STEP_MISTAKES)
    return "both networks are updated once, each by its own loss"


def check_interpolation(names: Namespace) -> str:
    """Check the points of a path."""
    start, end = torch.randn(2, 5, generator=rng(6))

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
    distance, spread = measure_samples(G, z, images)
    for update in range(1, MAX_UPDATES + 1):
        real = images[torch.randint(len(images), (BATCH_SIZE,))]
        step(G, D, opt_G, opt_D, real, torch.randn(BATCH_SIZE, LATENT_SIZE))
        if update % 25 == 0:
            now, spread = measure_samples(G, z, images)
            if now < MAX_DISTANCE * distance and spread > MIN_SPREAD:
                return f"after {update} updates the mean image is {now / distance:.0%} as far from the data as at first"
    raise Failure(
        f"after {MAX_UPDATES} updates the mean image is {now / distance:.0%} as far from that of the data as at first, should "
        f"be below {MAX_DISTANCE:.0%}; or pixels vary {spread:.0%} as much as in the data, should be above {MIN_SPREAD:.0%}"
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
