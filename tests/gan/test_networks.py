"""The two networks of the GAN: the report's layers, shapes, values, options and refused inputs."""

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
from torch import nn

from reviver.errors import ConfigError, DataError
from reviver.gan.networks import Discriminator, Generator
from reviver.settings.gan_presets import PRESETS
from reviver.train.gan.training import build_networks

IMAGE_SHAPES = [(1, 28, 28), (3, 28, 28), (1, 8, 8), (3, 16, 12)]


def generator_layers(latent_size: int, pixels: int, eps: float = 1e-5) -> str:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs, eps), nn.LeakyReLU(0.2)]

    blocks = [*block(128, 256), *block(256, 512), *block(512, 1024)]
    first = [nn.Linear(latent_size, 128), nn.LeakyReLU(0.2)]
    return str(nn.Sequential(*first, *blocks, nn.Linear(1024, pixels), nn.Tanh()))


def discriminator_layers(inputs: int) -> str:
    hidden = [nn.Linear(inputs, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2)]
    return str(nn.Sequential(*hidden, nn.Linear(256, 1)))  # the sigmoid is in forward, and part of the loss


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_reports_layers_and_its_own_eps(name: str) -> None:
    generator, discriminator = build_networks(PRESETS[name], (1, 28, 28))
    assert str(generator.layers) == generator_layers(100, 784, 0.8 if name == "public-script" else 1e-5)
    assert str(discriminator.layers) == discriminator_layers(784)


def test_names_and_shapes_of_parameters_are_the_golden_ones(golden: Callable[..., None]) -> None:
    golden(
        "gan_parameters",
        {
            name: {key: list(value.shape) for key, value in network.state_dict().items()}
            for name, network in (("generator", Generator()), ("discriminator", Discriminator()))
        },
    )


@pytest.mark.parametrize("image_shape", IMAGE_SHAPES)
@pytest.mark.parametrize("latent_size", [1, 100])
def test_other_sizes_and_channels(image_shape: tuple[int, int, int], latent_size: int) -> None:
    generator, discriminator = Generator(latent_size, image_shape), Discriminator(image_shape)
    assert str(generator.layers) == generator_layers(latent_size, prod(image_shape))
    assert str(discriminator.layers) == discriminator_layers(prod(image_shape))
    images = generator(torch.randn(5, latent_size))
    assert images.shape == (5, *image_shape)
    assert (generator.latent_size, generator.image_shape) == (latent_size, image_shape)
    probabilities = discriminator(images)
    assert probabilities.shape == (5, 1)
    torch.testing.assert_close(probabilities, torch.sigmoid(discriminator.logits(images)), rtol=0, atol=0)


def test_images_stay_within_minus_1_and_1() -> None:
    generator = Generator()
    with torch.no_grad():
        generator.layers[-2].weight.mul_(1e6)
        images = generator.eval()(torch.randn(50, 100) * 100)
    assert (images.min(), images.max()) == (-1, 1)


def test_the_layers_are_applied_in_order_to_rows_of_pixels() -> None:
    """Pixel [c, h, w] of an image is number c·H·W + h·W + w of the last layer, and of the discriminator's first."""
    generator, discriminator = Generator(7, (3, 4, 5)).eval(), Discriminator((3, 4, 5))
    z = torch.randn(6, 7)
    flat = generator.layers(z)
    images = generator(z)
    assert torch.equal(images, flat.reshape(6, 3, 4, 5))
    assert torch.equal(discriminator.logits(images), discriminator.layers(flat))


def test_in_eval_mode_images_do_not_depend_on_the_batch() -> None:
    generator = Generator()
    z = torch.randn(8, 100)
    generator(z)  # so that the running statistics are not those of a new network
    generator.eval()
    one_by_one = torch.cat([generator(one) for one in z.split(1)])
    torch.testing.assert_close(generator(z), one_by_one)
    generator.train()
    assert not torch.allclose(generator(z), one_by_one, atol=1e-3)


def test_a_conditional_discriminator_gets_an_image_and_its_label() -> None:
    discriminator = Discriminator((1, 2, 2), num_classes=3)
    images, labels = torch.randn(4, 1, 2, 2), torch.eye(3)[[0, 1, 2, 0]]
    expected = discriminator.layers(torch.cat([images.flatten(1), labels], 1))
    torch.testing.assert_close(discriminator.logits(images, labels), expected)
    for wrong in (None, torch.zeros(4, 2)):
        with pytest.raises(DataError, match=r"^labels must have shape \[N, 3\], got (None|\[4, 2\])"):
            discriminator.logits(images, wrong)
    with pytest.raises(DataError, match=r"^labels must be None, got \[4, 3\]"):
        Discriminator((1, 2, 2)).logits(images, labels)


def test_images_of_a_pack_are_one_input() -> None:
    discriminator = Discriminator((1, 4, 4), packing=3, num_classes=2)
    images, labels = torch.randn(6, 1, 4, 4), torch.eye(2)[[0, 1, 1, 0, 1, 0]]
    logits = discriminator.logits(images, labels)
    inputs = torch.stack([torch.cat([*images[k].flatten(1), *labels[k : k + 1]]) for k in range(6)])
    torch.testing.assert_close(logits, discriminator.layers(inputs.view(2, 3 * 18)))
    with pytest.raises(DataError, match=r"^images must have .* with N a multiple of 3, got"):
        discriminator.logits(images[:4], labels[:4])


def test_dropout_masks_depend_on_the_rng_only() -> None:
    discriminator, images = Discriminator((1, 4, 4), dropout=0.5), torch.randn(8, 1, 4, 4)
    state = torch.random.get_rng_state()
    first, again, other = (discriminator.logits(images, rng=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    discriminator.eval()
    assert torch.equal(discriminator.logits(images), discriminator.layers(images.flatten(1)))


def test_dropout_drops_units_after_both_activations_with_its_probability_and_keeps_the_mean() -> None:
    discriminator = Discriminator((1, 1, 1), dropout=0.3)
    with torch.no_grad():
        for layer, inputs in zip(discriminator.linear_layers, (1, 512, 256), strict=True):
            layer.weight.fill_(1 / inputs)
            layer.bias.zero_()
    one = torch.ones(4000, 1, 1, 1)
    logits = discriminator.logits(one, rng=torch.Generator().manual_seed(0))
    assert discriminator.eval().logits(one[:1]).item() == pytest.approx(1)
    assert logits.mean().item() == pytest.approx(1, abs=5e-3)
    # Means of 512 and 256 units, each 0 or 1 / 0.7 times as large: variance 0.3 / 0.7 · (1/512 + 1/256), nearly.
    assert logits.var().item() == pytest.approx(0.3 / 0.7 * 3 / 512, rel=0.1)


SHAPES = [(), (28, 28), (1, 28, 0), (0, 28, 28), (1, 1, 28, 28), (1, -28, -28)]
IMAGES = [[1, 28, 28], [2, 784], [2, 28, 28, 1], [2, 3, 28, 28], [2, 1, 14, 56]]
WRONG: list[tuple[Callable[[Any], object], list[Any], type[Exception], str]] = [
    (Generator, [0, -1], ConfigError, "^latent_size must be at least 1, got (0|-1)$"),
    (lambda shape: Generator(100, shape), SHAPES, ConfigError, "^image_shape must (be|have) at (least|most) [13]"),
    (Discriminator, SHAPES, ConfigError, "^image_shape must (be|have) at (least|most) [13]"),
    (lambda count: Discriminator(packing=count), [0], ConfigError, "^packing must be at least 1, got 0"),
    (
        lambda shape: Generator()(torch.zeros(shape)),
        [[100], [2, 99], [2, 101], [2, 100, 1]],
        DataError,
        r"^z must have shape \[N, 100\], got \[.*\]; sample it with sample_latents",
    ),
    (
        lambda shape: Discriminator()(torch.zeros(shape)),
        IMAGES,
        DataError,
        r"^images must have shape \[N, 1, 28, 28\], got \[.*\]",
    ),
]


@pytest.mark.parametrize(("call", "values", "kind", "problem"), WRONG)
def test_wrong_sizes_and_shapes_are_refused(
    call: Callable[[Any], object], values: list[Any], kind: type[Exception], problem: str
) -> None:
    for value in values:
        with pytest.raises(kind, match=problem):
            call(value)
