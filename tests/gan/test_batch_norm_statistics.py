"""Statistics of BatchNorm over many latent vectors: those of torch in one batch."""

import copy

import pytest
import torch
from torch import nn

from reviver.gan import batch_norm_statistics
from reviver.gan.batch_norm_statistics import recompute_batch_norm
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate
from reviver.runs.rng import make_rng


def statistics(generator: Generator) -> dict[str, torch.Tensor]:
    return {key: value for key, value in generator.state_dict().items() if "running" in key}


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("chunk", [2048, 13])
def test_they_are_those_of_one_batch(num_classes: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm_statistics, "CHUNK", chunk)
    generator = Generator(6, (1, 4, 4), num_classes=num_classes).double()
    expected = copy.deepcopy(generator)
    for layer in expected.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 1.0
    z = expected.sample_latents(70, make_rng(3, "statistics")).double()
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
