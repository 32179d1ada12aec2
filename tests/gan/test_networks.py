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


def generator_layers(latent_size: int, pixels: int, eps: float = 1e-5) -> str:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs, eps), nn.LeakyReLU(0.2)]

    blocks = [*block(128, 256), *block(256, 512), *block(512, 1024)]
    first = [nn.Linear(latent_size, 128), nn.LeakyReLU(0.2)]
    return str(nn.Sequential(*first, *blocks, nn.Linear(1024, pixels), nn.Tanh()))


def discriminator_layers(inputs: int) -> str:
    hidden = [nn.Linear(inputs, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2)]
    return str(nn.Sequential(*hidden, nn.Linear(256, 1)))  # the sigmoid is in forward, and part of the loss


def test_every_preset_has_the_reports_layers_and_its_own_eps() -> None:
    for name, config in PRESETS.items():
        generator, discriminator = build_networks(config, (1, 28, 28))
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


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 28, 28), (1, 8, 8), (3, 16, 12)])
@pytest.mark.parametrize("latent_size", [1, 100])
def test_the_layers_of_any_size_are_applied_in_order_to_rows_of_pixels(
    image_shape: tuple[int, int, int], latent_size: int
) -> None:
    """Pixel [c, h, w] of an image is number c·H·W + h·W + w of the last layer, and of the discriminator's first."""
    generator, discriminator = Generator(latent_size, image_shape).eval(), Discriminator(image_shape)
    assert str(generator.layers) == generator_layers(latent_size, prod(image_shape))
    assert str(discriminator.layers) == discriminator_layers(prod(image_shape))
    assert (generator.latent_size, generator.image_shape) == (latent_size, image_shape)
    z = torch.randn(5, latent_size)
    images, flat = generator(z), generator.layers(z)
    assert torch.equal(images, flat.reshape(5, *image_shape))
    logits = discriminator.logits(images)
    assert torch.equal(logits, discriminator.layers(flat))
    assert torch.equal(discriminator(images), logits.sigmoid())


def test_an_input_is_the_images_of_a_pack_each_with_its_label() -> None:
    for packing, labels in ((1, torch.eye(3)[[0, 1, 2, 0, 1, 2]]), (3, torch.eye(2)[[0, 1, 1, 0, 1, 0]])):
        count = labels.shape[1]
        discriminator = Discriminator((1, 4, 4), packing=packing, num_classes=count)
        images = torch.randn(6, 1, 4, 4)
        inputs = torch.stack([torch.cat([*images[k].flatten(1), *labels[k : k + 1]]) for k in range(6)])
        expected = discriminator.layers(inputs.view(6 // packing, -1))
        torch.testing.assert_close(discriminator.logits(images, labels), expected)
        for wrong in (None, torch.zeros(6, 4)):
            with pytest.raises(DataError, match=rf"^labels must have shape \[N, {count}\], got (None|\[6, 4\])"):
                discriminator.logits(images, wrong)
    with pytest.raises(DataError, match=r"^images must have .* with N a multiple of 3, got"):
        discriminator.logits(images[:4], labels[:4])
    with pytest.raises(DataError, match=r"^labels must be None, got \[6, 2\]"):
        Discriminator((1, 4, 4)).logits(images, labels)


def test_dropout_drops_units_after_both_activations_with_its_probability_by_the_rng_only() -> None:
    discriminator = Discriminator((1, 1, 1), dropout=0.3)
    with torch.no_grad():
        for layer, inputs in zip(discriminator.linear_layers, (1, 512, 256), strict=True):
            layer.weight.fill_(1 / inputs)
            layer.bias.zero_()
    ones, state = torch.ones(4000, 1, 1, 1), torch.random.get_rng_state()
    logits, again, other = (discriminator.logits(ones, rng=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(logits, again)
    assert not torch.equal(logits, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert logits.mean().item() == pytest.approx(1, abs=5e-3)
    # Means of 512 and 256 units, each 0 or 1 / 0.7 times as large: variance 0.3 / 0.7 · (1/512 + 1/256), nearly.
    assert logits.var().item() == pytest.approx(0.3 / 0.7 * 3 / 512, rel=0.1)
    assert torch.equal(discriminator.eval().logits(ones), discriminator.layers(ones.flatten(1)))


SHAPES = [(), (28, 28), (1, 28, 0), (0, 28, 28), (1, 1, 28, 28), (1, -28, -28)]
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
        [[1, 28, 28], [2, 784], [2, 28, 28, 1], [2, 3, 28, 28], [2, 1, 14, 56]],
        DataError,
        r"^images must have shape \[N, 1, 28, 28\], got \[.*\]",
    ),
]


def test_wrong_sizes_and_shapes_are_refused() -> None:
    for call, values, kind, problem in WRONG:
        for value in values:
            with pytest.raises(kind, match=problem):
                call(value)
