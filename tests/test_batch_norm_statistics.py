"""Statistics of BatchNorm over many latent vectors: those of torch in one batch, and those that a run ends with."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reviver import load
from reviver.gan import batch_norm_statistics
from reviver.gan.batch_norm_statistics import recompute_batch_norm
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.train.gan.run import GANRun
from reviver.train.gan.training import train
from tests.test_gan_training import tiny  # noqa: F401


def statistics(generator: Generator) -> dict[str, torch.Tensor]:
    return {key: value for key, value in generator.state_dict().items() if "running" in key}


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("chunk", [2048, 13])
def test_they_are_those_of_one_batch(num_classes: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm_statistics, "CHUNK", chunk)
    torch.manual_seed(0)
    generator = Generator(6, (1, 4, 4), num_classes=num_classes).double()
    expected = copy.deepcopy(generator)
    for layer in expected.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 1.0
    z = expected.sample_latents(70, make_rng(3, "statistics")).double()
    monkeypatch.setattr(generator, "sample_latents", lambda *_: z)
    before = [parameter.clone() for parameter in generator.parameters()]
    images = expected(z)
    recompute_batch_norm(generator, 70, seed=3)
    torch.testing.assert_close(generate(generator, z), images.detach(), rtol=1e-10, atol=1e-12)
    for key, value in statistics(expected).items():
        scale = 69 / 70 if "var" in key else 1.0  # torch keeps the unbiased variance, and normalizes with the other
        torch.testing.assert_close(statistics(generator)[key], scale * value, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(old, new) for old, new in zip(before, generator.parameters(), strict=True))
    assert generator.training


def test_a_single_vector_leaves_the_variance() -> None:
    generator = Generator(6, (1, 4, 4)).eval()
    recompute_batch_norm(generator, 1, seed=0)
    assert not generator.training
    assert all(value.eq(1).all() for key, value in statistics(generator).items() if "var" in key)


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}])
def test_a_run_ends_with_them(tiny: GANConfig, tmp_path: Path, settings: dict[str, Any]) -> None:  # noqa: F811
    config = replace(tiny, epochs=2, batch_norm_samples=40, checkpoint_every=1, **settings)
    folder = train(config, tmp_path / "run", device="cpu")
    run = load(tmp_path / "run")
    assert isinstance(run, GANRun)
    recomputed = copy.deepcopy(run.generator)
    recompute_batch_norm(recomputed, 40, config.seed)
    torch.testing.assert_close(statistics(run.generator), statistics(recomputed), rtol=0, atol=0)

    plain = train(replace(config, batch_norm_samples=0), tmp_path / "plain", device="cpu")
    name = "average" if config.ema else "generator"
    networks = [Generator(config.latent_size, (1, 8, 8)) for _ in range(2)]
    for network, one in zip(networks, (folder, plain), strict=True):
        load_networks(find_checkpoint(one.checkpoints, "last"), {name: network})
    for with_samples, without in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(with_samples, without), "only the statistics change"
    means = [statistics(network)["layers.3.running_mean"] for network in networks]
    assert not torch.allclose(means[0], means[1])
