"""Samples: equal to the generator's images of their latents, chosen by the seed, and saved."""

from pathlib import Path

import pytest
import torch

from reviver.errors import ConfigError
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_samples
from reviver.train.gan.grids import save_samples


def test_samples_are_the_images_of_their_latents() -> None:
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


def test_the_seed_chooses_the_samples() -> None:
    generator = Generator(5, (1, 8, 8)).eval()
    few, many, other = (
        generate_samples(generator, 20, 1),
        generate_samples(generator, 40, 1),
        generate_samples(generator, 20, 2),
    )
    assert torch.equal(few[1], generate_samples(generator, 20, 1)[1])
    assert not torch.equal(few[1], other[1])
    assert many[1].shape == (40, 5)


@pytest.mark.parametrize(
    ("num_samples", "seed", "problem"),
    [
        (0, 0, "^num_samples must be at least 1, got 0"),
        (-5, 0, "^num_samples must be at least 1, got -5"),
        (10**11, 0, r"^num_samples must be at most \d+, got 100000000000"),
        (1, -1, "^seed must be at least 0, got -1"),
        (1, 2**63, f"^seed must be at most {2**63 - 1}, got"),
    ],
)
def test_impossible_samples_are_refused(num_samples: int, seed: int, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        generate_samples(Generator().eval(), num_samples, seed)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("grid.jpg", "^out must be .png, .pdf, .svg or .npz, got '.jpg'"), ("grid", "^out must be .png, .* got ''")],
)
def test_samples_that_cannot_be_saved_are_refused(name: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        save_samples(torch.zeros(4, 1, 8, 8), torch.zeros(4, 5), tmp_path / name)
    with pytest.raises(ConfigError, match=r"^num_samples must be at most 2500 for a grid, got 2501; or give an .npz"):
        save_samples(torch.zeros(2501, 1, 8, 8), torch.zeros(2501, 5), tmp_path / "grid.png")
    assert not list(tmp_path.iterdir())
