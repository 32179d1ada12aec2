"""The two networks of the GAN: the report's layers, shapes, values, and refused inputs."""

from collections.abc import Callable, Sequence
from math import prod

import pytest
import torch
from torch import nn

from reviver.errors import ConfigError, DataError
from reviver.gan.networks import Discriminator, Generator
from reviver.settings.gan_presets import PRESETS
from reviver.train.gan.training import build_networks

IMAGE_SHAPES = [(1, 28, 28), (3, 28, 28), (1, 8, 8), (3, 16, 12)]


def described(network: Generator | Discriminator) -> list[tuple[object, ...]]:
    """Describe the layers of a network as tuples."""
    descriptions: list[tuple[object, ...]] = []
    for layer in network.layers:
        match layer:
            case nn.Linear():
                descriptions.append(("Linear", layer.in_features, layer.out_features, layer.bias is not None))
            case nn.BatchNorm1d():
                descriptions.append(
                    (
                        "BatchNorm",
                        layer.num_features,
                        layer.eps,
                        layer.momentum,
                        layer.affine,
                        layer.track_running_stats,
                    )
                )
            case nn.LeakyReLU():
                descriptions.append(("LeakyReLU", layer.negative_slope))
            case _:
                descriptions.append((type(layer).__name__,))
    return descriptions


def batch_norm(width: int, eps: float = 1e-5) -> tuple[object, ...]:
    return ("BatchNorm", width, eps, 0.1, True, True)


def generator_layers(latent_size: int, pixels: int, eps: float = 1e-5) -> list[tuple[object, ...]]:
    return [
        ("Linear", latent_size, 128, True),
        ("LeakyReLU", 0.2),
        ("Linear", 128, 256, True),
        batch_norm(256, eps),
        ("LeakyReLU", 0.2),
        ("Linear", 256, 512, True),
        batch_norm(512, eps),
        ("LeakyReLU", 0.2),
        ("Linear", 512, 1024, True),
        batch_norm(1024, eps),
        ("LeakyReLU", 0.2),
        ("Linear", 1024, pixels, True),
        ("Tanh",),
    ]


# Structure


def test_the_generator_is_the_reports() -> None:
    assert described(Generator()) == generator_layers(100, 784)


def test_the_discriminator_is_the_reports() -> None:
    assert described(Discriminator()) == [
        ("Linear", 784, 512, True),
        ("LeakyReLU", 0.2),
        ("Linear", 512, 256, True),
        ("LeakyReLU", 0.2),
        ("Linear", 256, 1, True),
    ]  # the sigmoid follows in forward, and is part of the loss in training


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_reports_layers_and_its_own_eps(name: str) -> None:
    eps = 0.8 if name == "public-script" else 1e-5
    generator, discriminator = build_networks(PRESETS[name], (1, 28, 28))
    assert described(generator) == generator_layers(100, 784, eps)
    assert described(discriminator) == described(Discriminator())


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
    assert described(generator) == generator_layers(latent_size, prod(image_shape))
    images = generator(torch.randn(5, latent_size))
    assert images.shape == (5, *image_shape)
    assert discriminator(images).shape == (5, 1)
    assert (generator.latent_size, generator.image_shape, discriminator.image_shape) == (
        latent_size,
        image_shape,
        image_shape,
    )


# Values


def test_images_stay_within_minus_1_and_1() -> None:
    generator = Generator()
    with torch.no_grad():
        assert generator(torch.randn(50, 100)).abs().max() <= 1
        generator.layers[-2].weight.mul_(1e6)
        images = generator.eval()(torch.randn(50, 100) * 100)
    assert (images.min(), images.max()) == (-1, 1)


def test_the_layers_are_applied_in_order_to_rows_of_pixels() -> None:
    """Pixel [c, h, w] of an image is number c·H·W + h·W + w of the last layer, and of the discriminator's first."""
    generator, discriminator = Generator(7, (3, 4, 5)).eval(), Discriminator((3, 4, 5))
    z = torch.randn(6, 7)
    flat = z
    for layer in generator.layers:
        flat = layer(flat)
    images = generator(z)
    torch.testing.assert_close(images, flat.reshape(6, 3, 4, 5), rtol=0, atol=0)
    logits = flat
    for layer in discriminator.layers:
        logits = layer(logits)
    torch.testing.assert_close(discriminator.logits(images), logits, rtol=0, atol=0)


@pytest.mark.parametrize("image_shape", IMAGE_SHAPES)
def test_the_output_of_the_discriminator_is_the_sigmoid_of_its_logits(image_shape: tuple[int, int, int]) -> None:
    discriminator = Discriminator(image_shape)
    images = torch.rand(20, *image_shape) * 2 - 1
    probabilities = discriminator(images)
    torch.testing.assert_close(probabilities, torch.sigmoid(discriminator.logits(images)), rtol=0, atol=0)
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_in_eval_mode_images_do_not_depend_on_the_batch() -> None:
    generator = Generator()
    z = torch.randn(8, 100)
    generator(z)  # so that the running statistics are not those of a new network
    generator.eval()
    one_by_one = torch.cat([generator(one) for one in z.split(1)])
    torch.testing.assert_close(generator(z), one_by_one)
    generator.train()
    assert not torch.allclose(generator(z), one_by_one, atol=1e-3)


# Refusals


@pytest.mark.parametrize("latent_size", [0, -1])
def test_a_latent_size_below_one_is_refused(latent_size: int) -> None:
    with pytest.raises(ConfigError, match=f"^latent_size must be at least 1, got {latent_size}$"):
        Generator(latent_size)


@pytest.mark.parametrize("image_shape", [(), (28, 28), (1, 28, 0), (0, 28, 28), (1, 1, 28, 28), (1, -28, -28)])
@pytest.mark.parametrize("network", [lambda shape: Generator(100, shape), Discriminator])
def test_an_invalid_image_shape_is_refused(network: Callable[[Sequence[int]], nn.Module], image_shape) -> None:
    with pytest.raises(ConfigError, match=r"^image_shape must (be at least 1|have at (least|most) 3 entries), got"):
        network(image_shape)


@pytest.mark.parametrize("shape", [[100], [2, 99], [2, 101], [2, 100, 1]])
def test_latents_of_a_wrong_shape_are_refused(shape: list[int]) -> None:
    with pytest.raises(DataError, match=r"^z must have shape \[N, 100\], got \[.*\]; sample it with sample_latents"):
        Generator()(torch.zeros(shape))


@pytest.mark.parametrize("shape", [[1, 28, 28], [2, 784], [2, 28, 28, 1], [2, 3, 28, 28], [2, 1, 14, 56]])
def test_images_of_a_wrong_shape_are_refused(shape: list[int]) -> None:
    with pytest.raises(DataError, match=r"^images must have shape \[N, 1, 28, 28\], got \[.*\]"):
        Discriminator()(torch.zeros(shape))
