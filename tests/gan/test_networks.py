"""The two networks of the GAN: the report's layers, values, options, refused inputs, and centered images."""

from collections.abc import Callable
from math import nextafter, prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reviver import load
from reviver.data.images.image_set import ImageSet, from_pixels, load_images
from reviver.errors import ConfigError, DataError
from reviver.gan.centering import CenteredDiscriminator, ImageMoments, centering_scale, fold, image_moments
from reviver.gan.networks import Discriminator, Generator, one_hot
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.settings.gan import GANConfig
from reviver.settings.presets import GAN_PRESETS
from reviver.train.gan.training import build_networks, train


def generator_layers(latent_size: int, pixels: int, eps: float = 1e-5) -> str:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs, eps), nn.LeakyReLU(0.2)]

    blocks = [*block(128, 256), *block(256, 512), *block(512, 1024)]
    first = [nn.Linear(latent_size, 128), nn.LeakyReLU(0.2)]
    return str(nn.Sequential(*first, *blocks, nn.Linear(1024, pixels), nn.Tanh()))


def discriminator_layers(inputs: int) -> str:
    hidden = [nn.Linear(inputs, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2)]
    return str(nn.Sequential(*hidden, nn.Linear(256, 1)))  # the sigmoid is in forward, and part of the loss


def test_every_preset_has_the_reports_layers_its_own_eps_and_the_golden_names(golden: Callable[..., None]) -> None:
    for name, config in GAN_PRESETS.items():
        generator, discriminator = build_networks(config, (1, 28, 28))
        assert str(generator.layers) == generator_layers(100, 784, 0.8 if name == "public-script" else 1e-5)
        assert str(discriminator.layers) == discriminator_layers(784)
    shapes = [{key: list(value.shape) for key, value in one.state_dict().items()} for one in (generator, discriminator)]
    golden("gan_parameters", {"generator": shapes[0], "discriminator": shapes[1]})


def test_the_layers_of_any_size_are_applied_in_order_to_rows_of_pixels() -> None:
    """Pixel [c, h, w] of an image is number c·H·W + h·W + w of the last layer, and of the discriminator's first."""
    generator, discriminator = Generator(1, (3, 16, 12)).eval(), Discriminator(torch.Size((3, 16, 12)))
    assert str(generator.layers) == generator_layers(1, 576)
    assert str(discriminator.layers) == discriminator_layers(576)
    z = torch.randn(5, 1)
    images, flat = generator(z), generator.layers(z)
    assert torch.equal(images, flat.reshape(5, 3, 16, 12))
    logits = discriminator.logits(images)
    assert torch.equal(logits, discriminator.layers(flat))
    assert torch.equal(discriminator(images), logits.sigmoid())
    assert generator.double()(generator.sample_latents(2, torch.Generator())).dtype == torch.float64


def test_dropout_drops_units_after_both_activations_with_its_probability_by_the_rng_only() -> None:
    discriminator = Discriminator((1, 1, 1), dropout=0.3)
    with torch.no_grad():
        for layer, inputs in zip(discriminator.layers[::2], (1, 512, 256), strict=True):
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


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Generator(0), ConfigError, "^latent_size must be at least 1, got 0$"),
    (lambda: Generator(100, (28, 28)), ConfigError, "^image_shape.2 is missing"),
    (lambda: Discriminator((1, 28, 0)), ConfigError, "^image_shape.2 must be at least 1"),
    (lambda: Discriminator(num_classes=-1), ConfigError, "^num_classes must be at least 0, got -1"),
    (lambda: Discriminator(dropout=1.0), ConfigError, "^dropout must be less than 1, got 1.0"),
    (lambda: Discriminator()(torch.zeros(2, 1, 14, 56)), DataError, r"^images must have shape \[N, 1, 28, 28\], got"),
]


def test_wrong_sizes_and_shapes_are_refused() -> None:
    for call, kind, problem in WRONG:
        with pytest.raises(kind, match=problem):
            call()


# Centered images


def random_pixels(count: int, shape: tuple[int, int, int], high: int) -> Tensor:
    return torch.randint(high, (count, *shape), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("chunk_pixels", [1 << 22, 7 * 60])
def test_moments_and_scale_are_those_of_numpy(chunk_pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.gan.centering.CHUNK_PIXELS", chunk_pixels)
    pixels = random_pixels(50, (3, 5, 4), high=90)
    moments = image_moments(ImageSet(pixels, None, "random"))
    x = from_pixels(pixels).double().flatten(1).numpy()
    np.testing.assert_allclose(moments.mean.flatten(), x.mean(0), rtol=0, atol=1e-7)  # from_pixels is float32
    assert moments.variance == pytest.approx(x.var(0).sum(), rel=1e-6)
    assert moments.mean_norm_sq == pytest.approx(float(x.mean(0) @ x.mean(0)), rel=1e-6)
    assert centering_scale(moments) == pytest.approx(((x**2).sum(1).mean() / x.var(0).sum()) ** 0.5, rel=1e-6)
    assert centering_scale(ImageMoments(torch.zeros(1, 2, 2), 3.0)) == 1.0, "a mean of zero keeps the scale"


@pytest.mark.parametrize("options", [{}, {"dropout": 0.4}, {"num_classes": 5}])
def test_the_discriminator_sees_centered_images_also_when_folded(options: dict[str, Any]) -> None:
    shape = (3, 2, 5)
    centered = CenteredDiscriminator(shape, **options).double()
    mean = torch.rand(shape, dtype=torch.float64) * 2 - 1
    centered.set_centering(mean, 1.7)
    images = torch.rand(6, *shape, dtype=torch.float64) * 2 - 1
    count = centered.num_classes
    labels = one_hot(torch.arange(6) % count, count).double() if count else None
    rng_state = torch.random.get_rng_state()
    folded = fold(centered)
    assert torch.equal(torch.random.get_rng_state(), rng_state)
    assert type(folded) is Discriminator
    assert (folded.dropout, folded.training) == (centered.dropout, True)
    plain = Discriminator(shape, **options).double()
    plain.load_state_dict({key: value for key, value in centered.state_dict().items() if key.startswith("layers")})
    assert torch.equal(centered.input_mean[: prod(shape)].view(shape), mean)
    results = []
    for network, factor, offset in ((plain, 1.7, mean), (centered, 1, 0), (folded, 1, 0)):
        leaf = images.clone().requires_grad_()
        logits = network.eval().logits(factor * (leaf - offset), labels)
        results.append((logits, *torch.autograd.grad(logits.square().sum(), leaf)))
    torch.testing.assert_close(results[1], results[0], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(results[2], results[0], rtol=1e-11, atol=1e-12)
    assert fold(folded) is folded


def test_a_loaded_run_and_what_is_saved_have_the_folded_discriminator(tmp_path: Path) -> None:
    pixels = random_pixels(40, (1, 4, 4), high=60)
    np.save(tmp_path / "images.npy", pixels[:, 0].numpy())
    config = GANConfig(data=str(tmp_path / "images.npy"), image_size=4, epochs=1, batch_size=10, input_centering="auto")
    folder = train(config, tmp_path / "run", device="cpu")
    record, moments = folder.record["centering"], image_moments(load_images(config.data, 4))
    assert record["scale"] == centering_scale(moments) > 1.5
    assert (record["mean_norm_sq"], record["variance"]) == (moments.mean_norm_sq, moments.variance)
    folder.save_record(centering=record | {"scale": nextafter(record["scale"], 2)})  # by other threads
    train(config, folder.path, device="cpu", resume=True)
    centered, images = CenteredDiscriminator((1, 4, 4)), from_pixels(pixels)
    load_networks(find_checkpoint(folder.checkpoints, "last"), {"discriminator": centered})
    assert centered.input_mean.equal(moments.mean.flatten().float())
    centered.save_pretrained(tmp_path / "saved")
    for folded in (load(folder.path).discriminator, Discriminator.from_pretrained(tmp_path / "saved")):
        assert type(folded) is Discriminator
        torch.testing.assert_close(folded.logits(images), centered.eval().logits(images))
