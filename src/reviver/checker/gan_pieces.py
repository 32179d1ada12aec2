"""The pieces of a GAN that an assignment asks for, and how each is checked.

A file defines `Generator(latent_size, image_shape)`, `Discriminator(image_shape)`, `generator_loss(fake_logits)`,
`discriminator_loss(real_logits, fake_logits)`, `gan_step(G, D, opt_G, opt_D, real, z)` and `interpolate(start, end, steps)`.

Shapes: N images, C channels, H height, W width, Z latent size.
"""

import copy
import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import isqrt, prod
from typing import Any

import torch
from torch import Tensor, nn

from reviver.checker import gan_mistakes as wrong
from reviver.checker.compare import Program, Quantities, compare, derivatives, sample
from reviver.checker.conventions import GENERATOR_KEYS, build_module
from reviver.checker.lstm_errors import check_calls, furthest, mistake_of
from reviver.checker.pieces import Failure, Mistake, Namespace, Piece, Unclear, describe, unparsed
from reviver.checker.standins import MISFIT, Images
from reviver.checker.updates import are_probabilities, check_gan_loop
from reviver.checker.watch import Seen, Watch
from reviver.data.images.named import read_mnist

ROLES = ("Generator", "Discriminator")
LATENT_SIZE, IMAGE_SHAPE = 100, (1, 28, 28)
MAX_UPDATES, BATCH_SIZE = 400, 64
MAX_DISTANCE, MIN_SPREAD = 0.5, 0.3
"""Bounds of the samples, see `check_samples`."""
EPS = "BatchNorm gets {:.2g} as eps, which stands second, before momentum; with eps = 0.8 all runs of the recipes collapsed"


def is_own(names: Namespace) -> bool:
    """Return whether a submission has the names and arguments of the file to fill in."""
    found = names.get("Generator") or names.get("Discriminator")
    return callable(found) and "image_shape" in inspect.signature(found).parameters


def build_network(names: Namespace, role: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """Build a network; return it with noise, or images, for 8 results, as it takes them. Raises Unclear."""
    is_G, problems = role == "Generator", list[Exception]()
    advice = "Discriminator(), called with images [N, 784] or [N, 1, 28, 28]"
    if is_G:
        advice = "Generator(latent_dim), called with noise [N, latent_dim]"
    if "*seen" in names and (found := copy_seen(names, role)):
        return found
    keys, sizes = GENERATOR_KEYS if is_G else GENERATOR_KEYS[1:], {"image": IMAGE_SHAPE, "Z": LATENT_SIZE}
    for values in (sizes, sizes | {"pixels": 3, "channels": 3}):  # what is called a dimension may be that of the colors
        try:
            module = build_module(names[role], keys, values).train()
            return module, find_input(module, is_G)
        except Exception as problem:
            problems.append(problem)
    error = problems[0]
    mistake = error.mistake if isinstance(error, Failure) else mistake_of(names, error)
    if isinstance(error, AttributeError) and "module 'torch" in str(error):
        mistake = wrong.NO_SUCH_NAME
    if mistake:
        hint = mistake.hint._replace(section=wrong.NETWORKS)
        raise Failure(describe(error), mistake._replace(hint=hint)) from error
    if isinstance(error, NotImplementedError | Unclear):
        raise error
    raise Unclear(f"no way of calling {role} works: {describe(error)}", f"write {advice}") from error


def find_input(module: nn.Module, is_G: bool) -> tuple[Any, ...]:
    """Return noise, or images, that a network takes, with labels if it needs them. Raises what says most of why there is none."""
    out, *rest = next((each.shape for each in module.parameters() if each.ndim > 1), (0, LATENT_SIZE))
    sides = [(1, 28), (1, 32), (1, 64), (3, 32), (3, 64), (3, 128)]
    inputs, problems = [sample(2, 8, channels, side, side).tanh() for channels, side in sides], list[Exception]()
    if len(rest) == 1:
        inputs.append(sample(2, 8, rest[0], 1, 1).tanh())
    if is_G:
        inputs = [sample(1, 8, size, 1, 1) for size in (LATENT_SIZE, rest[0] if len(rest) == 1 else out)]
    needed = [each for each in inspect.signature(module.forward).parameters.values() if each.default is each.empty]
    labels = (torch.arange(8) % 2,) * (len(needed) == 2)
    for example in ((each, *labels) for images in inputs for each in (images, images.flatten(1))):
        try:
            shape = list(module(*example).shape)
            if is_G or prod(shape) in (8, 1):
                return example
            problems.insert(0, Unclear(f"it returns {shape} for 8 images", "return one number for each image"))
        except Exception as error:
            problems.append(error)
    raise furthest(problems)


def copy_seen(names: Namespace, role: str) -> tuple[nn.Module, tuple[Any, ...]] | None:
    """Return a network as the submission built it, with inputs as it got them; None if it was not seen to run."""
    cls, watch = names[role], names["*seen"]
    found = cls if isinstance(cls, Seen) else watch.first(cls) if cls in watch.built else None
    inputs = found.inputs if found else ()
    total = len(inputs[0]) if inputs and inputs[0].ndim > 1 else 0
    for number in (8, total) if total else ():  # some know only the size of their batches
        with suppress(Exception):
            module = copy.deepcopy(found.network) if found is cls else watch.built[cls].call(cls)
            module.to(torch.get_default_dtype()).train()
            example = tuple(resampled(each, total, number) for each in inputs)
            result = module(*example)
            if (result.numel() == 1 and role == "Discriminator") or len(result) == number:  # one may return the mean
                return module, example
    return None


def resampled(value: Any, total: int, number: int) -> Any:
    """Return an input of a batch of `total` as one for a number of examples: other noise, but the same classes."""
    if not isinstance(value, Tensor) or not value.ndim or len(value) != total:
        return value
    is_noise = value.is_floating_point() and len(value.unique()) > total
    return sample(1, number, *value.shape[1:]) if is_noise else value[torch.arange(number) % total]


def examine(network: nn.Module, example: Sequence[Any], same: Mistake, is_own: bool) -> tuple[Tensor, list[str]]:
    """Check what a network returns and that all its parameters take part; return what it gives with large weights, and remarks."""
    values, (first, *_) = network(*example), example
    if values.dtype != first.dtype or not bool(values.isfinite().all()):
        raise Failure(f"the result must be finite and have the dtype {first.dtype} of the input, got {values.dtype}")
    if values.numel() > 1 and torch.allclose(values, values[:1].expand_as(values)):
        raise Failure(f"all results are the same for {len(first)} different inputs", same)
    remarks = [EPS.format(each.eps) for each in nn.Module.modules(network) if getattr(each, "eps", 0) > 0.1]
    values.square().sum().backward()
    unused = [f"{name} has no part in the result" for name, each in network.named_parameters() if each.grad is None]
    if unused and is_own:
        raise Failure(unused[0])
    with torch.no_grad():
        for parameter in network.parameters():  # large ones show between which numbers the last layer keeps its values
            parameter.mul_(10)
        return network(*example), remarks + unused


def check_generator(names: Namespace) -> str:
    """Check shape, range and variety of the images, in eval mode one by one."""
    own, (G, z) = is_own(names), build_network(names, "Generator")
    shape = list(G(*z).shape)
    if own and shape != [8, *IMAGE_SHAPE]:
        raise Failure(f"the result must have shape {[8, *IMAGE_SHAPE]}, got {shape}")
    values, remarks = examine(G, z, wrong.SAME_IMAGE, own)
    text = f"with large weights the values lie between {values.min():.1f} and {values.max():.1f}"
    course = names.get("*course", {}).get("image_range") or ("-1 to 1" if own else "")
    low, high = tuple(map(float, course.split(" to "))) if course else data_range(names)
    if low < 0 and are_probabilities(values):
        raise Failure(text, wrong.NO_SIGMOID)
    if own and course == "-1 to 1" and bool((values.abs() > 1).any()):
        raise Failure(text, wrong.NO_TANH)
    if values.abs().max() <= 1 and (low < -1.05 or high > 1.05):
        raise Failure(f"{text}, those of the data between {low:.1f} and {high:.1f}", wrong.OUT_OF_RANGE)
    with torch.no_grad(), suppress(RuntimeError):  # some know only the size of their batches
        fewer = (each[:4] if isinstance(each, Tensor) else each for each in z)
        values = G.eval()(*z)
        if torch.allclose(values, G(*z)) and not torch.allclose(
            values[:4], G(*fewer)
        ):  # it may sample noise of its own
            raise Failure("in eval mode an image depends on the others of its batch")
    return "\n".join([f"images [{', '.join(map(str, ('N', *shape[1:])))}]; {text}", *remarks])


def data_range(names: Namespace) -> tuple[float, float]:
    """Return between which numbers the pixels of the data lie at least, as they were loaded or the source says; else 0 and 0."""
    if made := [each.image(0) for each in Images.made if each.transform]:
        return max(float(each.min()) for each in made), min(float(each.max()) for each in made)
    text = unparsed(names)
    return (-1.0 if re.search(r"Normalize\(\(?\[?0?\.5", text) or "preprocess_img" in text else 0.0), 0.0


def check_discriminator(names: Namespace) -> str:
    """Check shape and range of the logits."""
    own, (D, x) = is_own(names), build_network(names, "Discriminator")
    answers = D(*x)
    if own and answers.shape not in ((8, 1), (8,)):
        raise Failure(f"the result must have shape [8, 1] or [8], got {list(answers.shape)}")
    values, remarks = examine(D, x, wrong.SAME_ANSWER, own)
    if own and are_probabilities(values):
        raise Failure("all answers lie between 0 and 1, also with large weights", wrong.TWO_SIGMOIDS)
    of = "for each image" if answers.numel() > 1 else "for the batch, the mean"
    return "\n".join([f"one {'probability' if are_probabilities(answers) else 'logit'} {of}", *remarks])


def check_losses(names: Namespace) -> str:
    """Check both losses and their gradients, also of logits so large that a probability would round to 0 or 1."""
    remarks = [each for ours, mistakes in wrong.LOSS_MISTAKES.items() for each in check_loss(names, ours, mistakes)]
    return "\n".join(["values agree" if remarks else "values and gradients agree, also for large logits", *remarks])


def check_loss(names: Namespace, ours: Program, mistakes: Sequence[Mistake]) -> Iterator[str]:
    """Check a loss; yield remarks. Those of other courses may want float32."""
    name, is_foreign = ours.function.__name__, "gan" in names.get("*foreign", ())
    if name not in names:
        raise Failure(f"{name} is not defined")
    theirs, tolerance = [names[name]], 1e-4 if is_foreign else 1e-7
    if ours is wrong.discriminator_loss and names.get("*course", {}).get("half", not is_foreign) is not True:
        theirs.append(lambda *logits: names[name](*logits) / 2)  # of the plain sum
    torch.set_default_dtype(torch.float32 if is_foreign else torch.float64)
    logits = {each: 2 * sample(seed, 6, 1) for seed, each in enumerate(inspect.signature(ours.function).parameters)}

    def near(loss: Callable[..., Any], is_square: bool) -> Quantities:
        if (value := loss(*logits.values())) is None:
            raise NotImplementedError
        return {name: value} | derivatives(lambda **given: loss(*given.values()), logits)

    def far(loss: Callable[..., Any], is_square: bool) -> Quantities:
        return {f"{name} of large logits": loss(*(400 * each for each in logits.values()))}

    theirs = [compare(near, theirs, ours, mistakes, tolerance=tolerance)]
    try:
        compare(far, theirs, ours, mistakes, tolerance=tolerance)
    except Failure as failure:
        if not is_foreign:
            raise
        cause = f": {failure.mistake.name}" if failure.mistake else ""
        yield f"{name} of logits of ±800 is not exact{cause}"


def observe_step(step: Callable[..., Any], is_square: bool) -> Quantities:
    """Return the weights of two small networks after two steps by SGD, and the number of updates."""
    torch.manual_seed(5)
    G = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 12), nn.Tanh())
    D = nn.Sequential(nn.Linear(12, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1))
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.5) for network in (G, D)]
    result, steps = dict[str, Tensor](), list[Any]()
    for optimizer in optimizers:
        optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: steps.append(optimizer))
    for index in (1, 2):
        try:
            step(G, D, *optimizers, sample(index, 7, 12).tanh(), sample(index + 2, 7, 4))
        except RuntimeError as error:
            for words, mistake in (("a second time", wrong.NO_DETACH), ("inplace operation", wrong.TOO_EARLY)):
                if words in str(error):
                    raise Failure(describe(error), mistake) from error
            raise
        for name, network, optimizer in zip("GD", (G, D), optimizers, strict=True):
            result[f"the number of updates of {name}"] = torch.tensor(float(steps.count(optimizer)))
            weights = network.named_parameters()
            result |= {f"{part} of {name} after step {index}": value.detach().clone() for part, value in weights}
    return result


def check_gan_step(names: Namespace) -> str:
    """Check the weights of both networks after two steps, or else the loop of a submission by running it."""

    def with_flat_logits(G: nn.Module, D: nn.Module, *rest: Any) -> None:  # some steps want them as [N], not [N, 1]
        names["gan_step"](G, nn.Sequential(D, nn.Flatten(0)), *rest)

    if "gan_step" in names:
        compare(observe_step, [names["gan_step"], with_flat_logits], wrong.gan_step, wrong.GAN_STEP_MISTAKES)
        return "both networks are updated once, each by its own loss"
    if not names["GAN loop"].before:  # it was not seen to be trained
        check_calls(names, Watch.errors)
        for error in Watch.errors:
            if fails_on_noise(names["Generator"], error):
                raise Failure(describe(error), wrong.MISFIT)
    torch.set_default_dtype(torch.float32)
    (G, z), (D, example) = build_network(names, "Generator"), build_network(names, "Discriminator")
    shape = tuple(example[0].shape[1:])
    if len(shape) == 1:
        shape = (1, isqrt(shape[0]), isqrt(shape[0]))
    images = torch.rand(6 * BATCH_SIZE, *shape) * 2 - 1
    return check_gan_loop(names, G, D, images, example, z[0].shape[1])


def fails_on_noise(cls: Any, error: Exception) -> bool:
    """Return whether a class of G, as its file built it, raised an error of shapes for the noise that the file gave it."""
    frames = [
        frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "forward"
    ]
    own = next((each for each in frames if isinstance(cls, type) and isinstance(each.get("self"), cls)), {})
    inputs = [
        each for name, each in own.items() if name in inspect.signature(cls.forward).parameters and name != "self"
    ]
    is_plain = len(inputs) == 1 and isinstance(inputs[0], Tensor)
    return is_plain and isinstance(error, RuntimeError | ValueError) and bool(re.search(MISFIT, str(error)))


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
    step: Callable[..., Any] | Program = names.get("gan_step", wrong.gan_step)
    images = read_mnist().images[:4096].unsqueeze(1).float() / 127.5 - 1  # [N, C, H, W]
    G, D = (build_network(names, role)[0] for role in ROLES)
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
    Piece("gan_step", "gan", ("gan_step", "GAN loop"), ("losses",), wrong.STEP, check_gan_step),
    Piece("interpolation", "gan", ("interpolate",), (), wrong.TRAIN, check_interpolation),
    Piece("samples", "gan", ("Generator",), ("gan_step", "generator", "discriminator"), wrong.TRAIN, check_samples),
)
