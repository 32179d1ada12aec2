"""Recipes for GAN training: every option trains, and resumes bit for bit; options of the discriminator have right values."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reviver import load
from reviver.errors import ConfigError, DataError, Interrupted
from reviver.gan.networks import Discriminator
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepOptions
from reviver.settings.fields import override
from reviver.settings.gan import LOSSES as LOSS_NAMES
from reviver.settings.gan import GANConfig, count_batches
from reviver.train.gan.training import build_networks, build_optimizers, train
from tests.test_gan_training import at_step, fingerprint, send, tiny  # noqa: F401

RECIPES: dict[str, dict[str, Any]] = {
    **{name: {"loss": name} for name in LOSS_NAMES[1:4]},
    "wasserstein": {"loss": "wasserstein", "gradient_penalty": 10.0},
    "smoothed": {"label_smoothing": 0.1},
    "r1": {"r1": 1.0, "penalty_interval": 2},
    "relativistic r1": {"loss": "relativistic", "r1": 0.5},
    "dropout": {"discriminator_dropout": 0.3},
    "packing": {"packing": 2},
    "average": {"ema": 0.9},
    "ramp": {"ema": 0.99, "ema_rampup": 0.3},
    "no momentum": {"beta1": 0.0},
    "steps": {"discriminator_steps": 2, "r1": 0.3, "penalty_interval": 2, "ema": 0.9},
    "linear": {"lr_schedule": "linear"},
    "bf16 hinge": {"precision": "bf16", "loss": "hinge"},
    "bf16": {"precision": "bf16", "r1": 0.3, "lr_schedule": "cosine", "ema": 0.9},
    "dropout and average": {"discriminator_dropout": 0.3, "ema": 0.9},
    "bf16 and lazy": {"precision": "bf16", "r1": 0.3, "penalty_interval": 2},
    "centered": {"input_centering": "auto", "r1": 0.3},
    "centered bf16": {"input_centering": 1.5, "precision": "bf16", "r1": 0.3, "batch_norm_samples": 50},
    "centered packs": {"input_centering": "auto", "r1": 0.3, "packing": 2},
    "recomputed": {"ema": 0.9, "batch_norm_samples": 30},
    "bf16 and steps": {"precision": "bf16", "beta1": 0.0, "discriminator_steps": 2, "ema": 0.9, "ema_rampup": 0.3},
}


# Networks


def test_images_of_a_pack_are_one_input() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator((1, 4, 4), packing=3)
    images = torch.randn(6, 1, 4, 4)
    logits = discriminator.logits(images)
    assert logits.shape == (2, 1)
    torch.testing.assert_close(logits, discriminator.layers(images.reshape(2, 48)))
    with pytest.raises(DataError, match=r"^images must have .* with N a multiple of 3, got"):
        discriminator.logits(images[:4])


def test_dropout_masks_depend_on_the_rng_only() -> None:
    torch.manual_seed(0)
    discriminator, images = Discriminator((1, 4, 4), dropout=0.5), torch.randn(8, 1, 4, 4)
    state = torch.random.get_rng_state()
    first, again, other = (discriminator.logits(images, rng=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    discriminator.eval()
    assert torch.equal(discriminator.logits(images), discriminator.logits(images))


def test_dropout_keeps_the_mean() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator((1, 2, 2), dropout=0.3)
    with torch.no_grad():
        discriminator.layers[2] = nn.Identity()  # the rest is linear, so it keeps means
        discriminator.layers[3] = nn.Identity()
        discriminator.layers[4] = nn.Linear(512, 1)
    image = torch.randn(1, 1, 2, 2)
    many = discriminator.logits(image.expand(40_000, -1, -1, -1), rng=torch.Generator().manual_seed(0)).mean()
    torch.testing.assert_close(many, discriminator.eval().logits(image)[0, 0], rtol=0.02, atol=0.005)


# Batches


@pytest.mark.parametrize(("images", "packing", "batches"), [(64, 1, 2), (65, 1, 2), (66, 1, 3), (66, 4, 2), (68, 4, 3)])
def test_a_last_batch_holds_a_pack(images: int, packing: int, batches: int) -> None:
    assert count_batches(images, 32, packing) == batches


# Runs


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_resumes_to_the_same_bits(
    name: str,
    tiny: GANConfig,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = override(tiny, RECIPES[name])
    whole = fingerprint(train(config, tmp_path / "whole"))
    with monkeypatch.context() as patched:
        at_step(patched, 3, send(signal.SIGINT))
        with pytest.raises(Interrupted):
            train(config, tmp_path / "run")
    assert fingerprint(train(config, tmp_path / "run", resume=True)) == whole
    records = load(tmp_path / "run").metrics
    assert all(torch.tensor(list(record.values())).isfinite().all() for record in records)
    assert fingerprint(train(tiny, tmp_path / "plain")) != whole, "the setting does something"


def test_bf16_computes_nearly_the_same() -> None:
    results = []
    for precision in ("fp32", "bf16"):
        config = GANConfig(precision=precision)
        networks = build_networks(config, (1, 28, 28))
        optimizers = build_optimizers(config, *networks)
        rng = torch.Generator().manual_seed(0)
        real, z = torch.rand(64, 1, 28, 28, generator=rng), torch.randn(64, 100, generator=rng)
        options = StepOptions.from_config(config, 0)
        results.append(torch.stack(gan_step(*networks, *optimizers, real, z, options=options)))
        assert all(parameter.dtype == torch.float32 for network in networks for parameter in network.parameters())
    torch.testing.assert_close(results[0], results[1], rtol=1e-2, atol=1e-2)
    assert not torch.equal(results[0], results[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packing": 3}, "^packing must divide the batch_size 64, got 3"),
        ({"ema_rampup": 0.1}, "^ema_rampup must be 0 without an average, got 0.1; give ema as well"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "^label_smoothing must be 0 for the loss hinge, .* got 0.1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GANConfig(**changes)
