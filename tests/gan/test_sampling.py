"""Samples: equal to the generator's images of their latents, chosen by the seed, in eval mode."""

import pytest
import torch

from reviver.errors import ConfigError, DataError
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate, generate_samples
from reviver.runs.rng import make_rng


def test_samples_are_the_images_of_their_latents_which_the_seed_chooses() -> None:
    generator = Generator(5, (3, 8, 8))
    generator(torch.randn(64, 5))
    generator.eval()
    images, latents = generate_samples(generator, 5000, seed=1)
    assert (images.shape, latents.shape) == ((5000, 3, 8, 8), (5000, 5))
    assert (images.dtype, latents.dtype) == (torch.float32, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(generator(latents), images, rtol=1e-4, atol=1e-6)
    assert latents.mean().abs() < 0.03
    assert (latents.std() - 1).abs() < 0.03
    assert torch.equal(latents, generator.sample_latents(5000, make_rng(1, "samples"))), "a seed keeps its images"
    assert not torch.equal(latents, generate_samples(generator, 5000, seed=2)[1])


@pytest.mark.parametrize("is_training", [True, False])
def test_generate_uses_eval_mode_and_restores_the_mode(is_training: bool) -> None:
    generator = Generator(16, (1, 8, 8))
    generator(torch.randn(32, 16))
    generator.train(is_training)
    statistics = {name: value.clone() for name, value in generator.named_buffers()}
    z = torch.randn(6, 16)
    images = generate(generator, z)
    with pytest.raises(DataError):
        generate(generator, torch.zeros(2, 3))
    assert all(layer.training == is_training for layer in generator.modules())
    assert not images.requires_grad
    torch.testing.assert_close(images, generator.eval()(z), rtol=0, atol=0)
    torch.testing.assert_close(dict(generator.named_buffers()), statistics, rtol=0, atol=0)


def test_a_conditional_generator_generates_the_given_class_or_all() -> None:
    generator = Generator(5, (1, 4, 4), num_classes=3)
    latents = generate_samples(generator, 300, 0)[1]
    assert latents.shape == (300, 8)
    assert (latents[:, 5:].sum(0) > 60).all()
    assert (latents[:, 5:].sum(1) == 1).all()
    latents = generate_samples(generator, 50, 0, 2)[1]
    assert torch.equal(generator.class_labels(latents), torch.eye(3)[[2] * 50])
    assert Generator(5).class_labels(latents) is None


WRONG = {
    "^num_samples must be at least 1, got 0": (0, 0, 1),
    "^num_samples must be at least 1, got -5": (-5, 0, None),
    r"^num_samples must be at most \d+, got 100000000000": (10**11, 0, None),
    "^seed must be at least 0, got -1": (1, -1, None),
    f"^seed must be at most {2**63 - 1}, got": (1, 2**63, None),
    "^class must be at most 2, got 3": (3, 0, 3),
    "^class must be at least 0, got -1": (3, 0, -1),
}


def test_impossible_samples_are_refused() -> None:
    for problem, arguments in WRONG.items():
        with pytest.raises(ConfigError, match=problem):
            generate_samples(Generator(5, (1, 4, 4), num_classes=3), *arguments)
    with pytest.raises(ConfigError, match=r"^class must be left out, since this run has no classes, got 1"):
        generate_samples(Generator(), 1, 0, 1)
