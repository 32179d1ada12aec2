"""User-defined networks in the place of those of the original.

The file has two classes, modules of torch: `Generator(latent_size, image_shape)` maps z [N, Z] to images [N, C, H, W] in
[-1, 1], `Discriminator(image_shape)` images to logits [N]. Convolutions, BatchNorm and dropout are allowed. In a conditional
run both constructors get the number of classes K as well, `Generator(latent_size, image_shape, num_classes)`, and both modules
the one-hot classes [N, K], `generator(z, labels)`.

Shapes: N images, Z latent size, K classes, C channels, H height, W width.
"""

import copy
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from reviver.gan.networks import Discriminator, Generator
from reviver.rng import Rng
from reviver.settings.parts import CustomClass, explaining
from reviver.settings.validation import refuse

PROBE_IMAGES = 3


class CustomGenerator(Generator):
    """A user-defined generator, as a `Generator`."""

    def __init__(
        self, part: CustomClass, latent_size: int, image_shape: tuple[int, int, int], num_classes: int = 0
    ) -> None:
        nn.Module.__init__(self)
        self.image_shape, self.noise_size, self.num_classes = image_shape, latent_size, num_classes
        self.latent_size = latent_size + num_classes
        self.network = _build(part, num_classes, latent_size=latent_size, image_shape=image_shape)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images [N, C, H, W] of latent vectors z, [N, Z] or with their classes [N, Z + K]."""
        images: Tensor = self.network(*z.split([self.noise_size, self.num_classes], 1)[: 1 + (self.num_classes > 0)])
        return images


class CustomDiscriminator(Discriminator):
    """A user-defined discriminator, as a `Discriminator`: it sees s (x - m), as `centering.CenteredDiscriminator` does."""

    input_mean: Tensor
    """m, [C, H, W]; 0 without centering."""
    input_scale: Tensor
    """s, a scalar; 1 without centering."""

    def __init__(self, part: CustomClass, image_shape: tuple[int, int, int], num_classes: int = 0) -> None:
        nn.Module.__init__(self)
        self.image_shape, self.num_classes, self.dropout = image_shape, num_classes, 0.0
        self.register_buffer("input_mean", torch.zeros(image_shape))
        self.register_buffer("input_scale", torch.ones(()))
        self.network = _build(part, num_classes, image_shape=image_shape)

    @torch.no_grad()
    def set_centering(self, mean: Tensor, scale: float) -> None:
        """Set m [C, H, W] and s."""
        self.input_mean.copy_(mean)
        self.input_scale.fill_(scale)

    def logits(self, images: Tensor, labels: Tensor | None = None, rng: Rng = None) -> Tensor:
        """Return the log-odds, [N, 1], that images [N, C, H, W] in [-1, 1], of the classes `labels` [N, K], are real."""
        x = (images - self.input_mean) * self.input_scale
        logits: Tensor = self.network(x) if labels is None else self.network(x, labels)
        return logits.reshape(-1, 1)

    def paired_logits(
        self, real: Tensor, fake: Tensor, labels: Tensor | None = None, rng: Rng = None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of real and of generated images, [N, 1] each, in two passes: BatchNorm must not mix them."""
        real_labels, fake_labels = (None, None) if labels is None else labels.chunk(2)
        return self.logits(real, real_labels), self.logits(fake, fake_labels)


def build_custom(
    parts: tuple[CustomClass, CustomClass], latent_size: int, image_shape: tuple[int, int, int], num_classes: int = 0
) -> tuple[CustomGenerator, CustomDiscriminator]:
    """Return the networks of a run, whose classes are `parts`; one that breaks the contract is a ConfigError."""
    networks = (
        CustomGenerator(parts[0], latent_size, image_shape, num_classes),
        CustomDiscriminator(parts[1], image_shape, num_classes),
    )
    if not any(parameter.is_meta for network in networks for parameter in network.parameters()):
        _probe(parts, *networks)
    return networks


def _build(part: CustomClass, num_classes: int, **sizes: Any) -> nn.Module:
    name = part.name
    if num_classes:
        sizes["num_classes"] = num_classes
    with explaining("networks", part, f"{name}({', '.join(sizes)})"):
        network = part.build(*sizes.values())
    if not isinstance(network, nn.Module) or not any(True for _ in network.parameters()):
        _refuse(name, f"must be a torch.nn.Module with parameters, got {part.cls.__mro__[1].__name__}")
    return network


def _probe(
    parts: tuple[CustomClass, CustomClass], generator: CustomGenerator, discriminator: CustomDiscriminator
) -> None:
    """Check that copies of the networks map random numbers as the contract says, in training mode and without."""
    rng = torch.Generator().manual_seed(0)
    shape = [PROBE_IMAGES, *generator.image_shape]
    for training in (True, False):
        G, D = (copy.deepcopy(network).train(training) for network in (generator, discriminator))
        z = torch.randn(PROBE_IMAGES, generator.noise_size, generator=rng)
        labels = [torch.eye(PROBE_IMAGES, generator.num_classes)] if generator.num_classes else []
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            with explaining("networks", parts[0], f"G(z) of z {[*z.shape]}"):
                images = G.network(z, *labels)
            if not isinstance(images, Tensor) or [*images.shape] != shape:
                _refuse("Generator", f"G(z) must have the shape {shape} for z {[*z.shape]}, got {_shape(images)}")
            if not images.isfinite().all() or images.abs().max() > 1:
                _refuse("Generator", f"G(z) must be in [-1, 1], got up to {images.abs().max():.3g}; end with Tanh")
            with explaining("networks", parts[1], f"D(x) of x {shape}"):
                logits = D.network(images, *labels)
            if not isinstance(logits, Tensor) or [*logits.shape] not in ([PROBE_IMAGES], [PROBE_IMAGES, 1]):
                _refuse(
                    "Discriminator", f"D(x) must have the shape [{PROBE_IMAGES}] for x {shape}, got {_shape(logits)}"
                )
            for name, output in (("Generator", images), ("Discriminator", logits)):
                if not output.requires_grad:
                    _refuse(name, "must return a result with a gradient, got one that is detached; use torch alone")


def _shape(value: object) -> str:
    return str([*value.shape]) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _refuse(name: str, problem: str) -> NoReturn:
    refuse("networks", f"{name}: {problem}")
