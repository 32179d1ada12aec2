"""Samples, and what they are sampled from: the EMA of the generator, and BatchNorm's statistics over many latents."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reviver.errors import ConfigError
from reviver.gan import ema
from reviver.gan.ema import recompute_batch_norm, update_ema
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate, generate_samples
from reviver.rng import make_rng


def test_samples_are_the_images_of_their_latents_in_eval_mode_which_the_seed_chooses() -> None:
    generator = Generator(5, (3, 8, 8))
    generator(torch.randn(64, 5))
    images, latents = generate_samples(generator, 5000, seed=1)
    assert (images.shape, latents.shape, images.requires_grad) == ((5000, 3, 8, 8), (5000, 5), False)
    with pytest.raises(RuntimeError, match="2x3 and 5x128"):
        generate(generator, torch.zeros(2, 3))
    assert all(layer.training for layer in generator.modules()), "the mode is restored"
    torch.testing.assert_close(generator.eval()(latents).detach(), images, rtol=1e-4, atol=1e-6)
    assert latents.mean().abs() < 0.03
    assert (latents.std() - 1).abs() < 0.03
    assert torch.equal(latents, generator.sample_latents(5000, make_rng(1, "samples"))), "a seed keeps its images"
    assert not torch.equal(latents, generate_samples(generator, 5000, seed=2)[1])


def test_latents_move_to_the_device_of_the_generator_and_images_back() -> None:
    class Elsewhere(Generator):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            assert z.is_meta
            return torch.zeros(len(z), *self.image_shape)

    assert generate_samples(Elsewhere(5, (1, 4, 4)).to("meta"), 3, 0)[0].shape == (3, 1, 4, 4)


def test_a_conditional_generator_generates_the_given_class_or_all() -> None:
    generator = Generator(5, (1, 4, 4), num_classes=3)
    latents = generate_samples(generator, 300, 0)[1]
    assert latents.shape == (300, 8)
    assert (latents[:, 5:].sum(0) > 60).all()
    assert (latents[:, 5:].sum(1) == 1).all()
    latents = generate_samples(generator, 50, 0, 2)[1]
    assert torch.equal(generator.class_labels(latents), torch.eye(3)[[2] * 50])
    assert Generator(5).class_labels(latents) is None


def test_impossible_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^num_samples must be at least 1, got 0$"):
        generate_samples(Generator(5), 0, 0)


# The EMA


def test_the_decay_of_a_ramp_computed_by_hand() -> None:
    for decay, rampup, updates, expected in (
        (0.9998, 0.1, 40, 0.5904),  # the decay is 1 - 1 / (0.1 · 40 + 1) = 0.8, 1 - 0.8⁴
        (0.7, 0.1, 40, 0.7599),  # 0.8 is capped by 0.7, 1 - 0.7⁴
        (0.9998, 0.1, 0, 1.0),  # it forgets the initial weights
    ):
        average, generator = Generator(4, (1, 4, 4)), Generator(4, (1, 4, 4))
        for network, value in ((average, 0.0), (generator, 1.0)):
            for parameter in network.parameters():
                nn.init.constant_(parameter, value)
        update_ema(average, generator, updates, decay=decay, rampup=rampup)
        for parameter in average.parameters():
            torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, expected))


def test_the_average_of_weights_and_statistics_is_that_of_torch() -> None:
    generator = Generator(10, (1, 4, 4))
    average = copy.deepcopy(generator)
    oracle = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    oracle.update_parameters(generator)  # the first update copies
    for updates in range(1, 13):
        generator(torch.randn(16, 10))  # changes BatchNorm's statistics
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        update_ema(average, generator, updates, decay=0.9**0.25)
        if updates % 4 == 0:
            oracle.update_parameters(generator)
    expected = dict(oracle.module.state_dict())
    floats = {name: value for name, value in average.state_dict().items() if value.is_floating_point()}
    torch.testing.assert_close(floats, {name: expected[name] for name in floats})


# BatchNorm's statistics


def statistics(generator: Generator) -> dict[str, torch.Tensor]:
    return {key: value for key, value in generator.state_dict().items() if "running" in key}


@pytest.mark.parametrize(("num_classes", "chunk"), [(0, 2048), (3, 13)])
def test_recomputed_statistics_are_those_of_one_batch(
    num_classes: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ema, "CHUNK", chunk)
    generator = Generator(6, (1, 4, 4), num_classes=num_classes).double()
    expected = copy.deepcopy(generator)
    for layer in expected.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 1.0
    z = expected.sample_latents(70, make_rng(3, "statistics")).double()
    images = expected(z)
    recompute_batch_norm(generator, 70, seed=3)
    torch.testing.assert_close(generate(generator, z), images.detach(), rtol=1e-10, atol=1e-12)
    for key, value in statistics(expected).items():
        scale = 69 / 70 if "var" in key else 1.0  # torch keeps the unbiased variance, and normalizes with the other
        torch.testing.assert_close(statistics(generator)[key], scale * value, rtol=1e-10, atol=1e-12)
    assert generator.training
