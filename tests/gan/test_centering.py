"""Centered inputs of the discriminator: the moments of the images, the rule for the scale, and folding back."""

import copy
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reviver import load
from reviver.data.images.image_set import ImageSet, from_pixels, load_images, load_mnist
from reviver.errors import ConfigError
from reviver.gan.centering import CenteredDiscriminator, ImageMoments, centering_scale, fold, image_moments
from reviver.gan.networks import Discriminator, one_hot
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train


def random_pixels(count: int = 50, shape: tuple[int, int, int] = (3, 5, 4), high: int = 256) -> Tensor:
    return torch.randint(high, (count, *shape), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("chunk_pixels", [1 << 22, 7 * 60])
def test_moments_and_scale_are_those_of_numpy(chunk_pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.gan.centering.CHUNK_PIXELS", chunk_pixels)
    pixels = random_pixels(high=90)
    moments = image_moments(ImageSet(pixels, None, "random"))
    x = from_pixels(pixels).double().flatten(1).numpy()
    np.testing.assert_allclose(moments.mean.flatten(), x.mean(0), rtol=0, atol=1e-7)  # from_pixels is float32
    assert moments.variance == pytest.approx(x.var(0).sum(), rel=1e-6)
    assert moments.mean_norm_sq == pytest.approx(float(x.mean(0) @ x.mean(0)), rel=1e-6)
    assert centering_scale(moments) == pytest.approx(((x**2).sum(1).mean() / x.var(0).sum()) ** 0.5, rel=1e-6)
    again = image_moments(ImageSet(pixels.flip(0), None, "random"))
    assert again.mean.equal(moments.mean)
    assert again.variance == moments.variance, "in any order"


def test_the_scale_of_mnist_is_that_in_the_docs_and_of_equal_images_is_refused() -> None:
    moments = image_moments(load_mnist())
    assert (moments.mean_norm_sq, moments.variance) == pytest.approx((515, 211), abs=0.5)
    assert centering_scale(moments) == pytest.approx(1.855, abs=1e-3)
    assert centering_scale(ImageMoments(torch.zeros(1, 2, 2), 3.0)) == 1.0
    moments = image_moments(ImageSet(torch.full((5, 1, 4, 4), 7, dtype=torch.uint8), None, "equal"))
    with pytest.raises(ConfigError, match=r"^input_centering must be none if all images are equal, got auto$"):
        centering_scale(moments)


CASES = st.fixed_dictionaries(
    {"packing": st.integers(1, 3), "num_classes": st.sampled_from([0, 2, 5]), "dropout": st.sampled_from([0.0, 0.4])}
)
SHAPES = st.tuples(st.sampled_from([1, 3]), st.integers(2, 5), st.integers(2, 5))


def build_centered(shape: tuple[int, int, int], options: dict[str, Any]) -> tuple[CenteredDiscriminator, Tensor, Any]:
    """A centered discriminator in float64 with arbitrary m and s, images and labels."""
    torch.manual_seed(0)
    discriminator = CenteredDiscriminator(shape, **options).double()
    mean = torch.rand(shape, dtype=torch.float64) * 2 - 1
    discriminator.set_centering(mean, 1.7)
    images = torch.rand(6, *shape, dtype=torch.float64) * 2 - 1
    count = discriminator.num_classes
    return discriminator, images, one_hot(torch.arange(6) % count, count).double() if count else None


@settings(deadline=None, max_examples=25)
@given(shape=SHAPES, options=CASES)
def test_the_discriminator_sees_centered_images_also_when_folded(
    shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    centered, images, labels = build_centered(shape, options)
    folded = fold(centered)
    assert type(folded) is Discriminator
    assert (folded.dropout, folded.packing, folded.training) == (centered.dropout, centered.packing, True)
    plain = Discriminator(shape, **options).double()
    plain.load_state_dict({key: value for key, value in centered.state_dict().items() if key.startswith("layers")})
    mean, results = centered.input_mean[: prod(shape)].view(shape), []
    for network, factor, offset in ((plain, 1.7, mean), (centered, 1, 0), (folded, 1, 0)):
        leaf = images.clone().requires_grad_()
        logits = network.eval().logits(factor * (leaf - offset), labels)
        results.append((logits, *torch.autograd.grad(logits.square().sum(), leaf)))
    torch.testing.assert_close(results[1], results[0], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(results[2], results[0], rtol=1e-11, atol=1e-12)


def test_what_is_saved_is_a_discriminator_and_folding_changes_nothing_else(tmp_path: Path) -> None:
    centered, images, _ = build_centered((1, 4, 4), {})
    before, rng_state = copy.deepcopy(centered.float().state_dict()), torch.random.get_rng_state()
    centered.save_pretrained(tmp_path / "saved")
    torch.testing.assert_close(dict(centered.state_dict()), dict(before), rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), rng_state)
    loaded = Discriminator.from_pretrained(tmp_path / "saved")
    assert {key.split(".")[0] for key in loaded.state_dict()} == {"layers"}
    torch.testing.assert_close(loaded.logits(images.float()), centered.eval().logits(images.float()))
    with pytest.raises(TypeError, match=r"use Discriminator\.from_pretrained"):
        CenteredDiscriminator.from_pretrained(tmp_path / "saved")
    assert fold(loaded) is loaded


def test_a_loaded_run_has_the_folded_discriminator(tmp_path: Path) -> None:
    pixels = random_pixels(count=40, shape=(1, 4, 4), high=60)
    np.save(tmp_path / "images.npy", pixels[:, 0].numpy())
    config = GANConfig(data=str(tmp_path / "images.npy"), image_size=4, epochs=1, batch_size=10, input_centering="auto")
    folder = train(config, tmp_path / "run", device="cpu")
    record, moments = folder.record["centering"], image_moments(load_images(config.data, 4))
    assert record["scale"] == centering_scale(moments) > 1.5
    assert (record["mean_norm_sq"], record["variance"]) == (moments.mean_norm_sq, moments.variance)
    centered, folded, images = CenteredDiscriminator((1, 4, 4)), load(folder.path).discriminator, from_pixels(pixels)
    load_networks(find_checkpoint(folder.checkpoints, "last"), {"discriminator": centered})
    assert centered.input_mean.equal(moments.mean.flatten().float())
    assert type(folded) is Discriminator
    torch.testing.assert_close(folded.logits(images), centered.eval().logits(images))
