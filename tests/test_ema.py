"""The EMA of the generator: values computed by hand, and which samples come from it."""

import copy
from pathlib import Path

import pytest
import torch

from reviver import load
from reviver.gan.ema import EMA_INTERVAL, ema_decay, update_ema
from reviver.gan.networks import Generator
from reviver.settings.fields import override
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train
from tests.test_gan_training import tiny  # noqa: F401


def zeros_and_ones() -> tuple[Generator, Generator]:
    """Generators whose parameters are 0 and 1."""
    generators = Generator(4, (1, 4, 4)), Generator(4, (1, 4, 4))
    for generator, value in zip(generators, (0.0, 1.0), strict=True):
        for parameter in generator.parameters():
            torch.nn.init.constant_(parameter, value)
    return generators


@pytest.mark.parametrize(
    ("decay", "rampup", "updates", "expected"),
    [
        (0.9, 0.0, 1, 0.0),  # an EMA update every 4 generator updates
        (0.9, 0.0, 3, 0.0),
        (0.9, 0.0, 4, 0.3439),  # 1 - 0.9⁴, as of four updates with 0.9
        (0.9, 0.0, 5, 0.0),
        (0.9, 0.0, 8, 0.3439),
        (0.9998, 0.1, 40, 0.5904),  # the decay is 1 - 1 / (0.1 · 40 + 1) = 0.8, 1 - 0.8⁴
        (0.7, 0.1, 40, 0.7599),  # 0.8 is capped by 0.7, 1 - 0.7⁴
    ],
)
def test_average_computed_by_hand(decay: float, rampup: float, updates: int, expected: float) -> None:
    average, generator = zeros_and_ones()
    update_ema(average, generator, updates, decay=decay, rampup=rampup)
    assert EMA_INTERVAL == 4
    for parameter in average.parameters():
        torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, expected))


def test_the_average_follows_weights_and_statistics() -> None:
    torch.manual_seed(0)
    generator = Generator(10, (1, 4, 4))
    average = copy.deepcopy(generator)
    expected = {name: value.clone() for name, value in average.state_dict().items()}
    for _ in range(3):
        generator(torch.randn(16, 10))  # changes BatchNorm's statistics
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        update_ema(average, generator, EMA_INTERVAL, decay=0.9 ** (1 / EMA_INTERVAL))
        for name, value in generator.state_dict().items():
            if value.is_floating_point():  # and not BatchNorm's count of batches, which nothing uses
                expected[name] = 0.9 * expected[name] + 0.1 * value
    torch.testing.assert_close(dict(average.state_dict()), expected)


def test_the_horizon_is_a_fraction_of_the_updates_with_a_maximum() -> None:
    assert {ema_decay(0.99, 0.0, updates) for updates in (1, 10, 10**6)} == {0.99}
    decays = [ema_decay(0.99, 0.1, updates) for updates in range(0, 2000, 10)]
    assert decays == sorted(decays)
    assert (decays[0], decays[-1]) == (0.0, 0.99)
    assert ema_decay(0.99, 0.1, 500) == pytest.approx(1 - 1 / 51)
    assert [1 / (1 - decay) - 1 for decay in decays[:99]] == pytest.approx(list(range(99)))


def test_an_average_with_rampup_forgets_the_initial_weights() -> None:
    average, generator = zeros_and_ones()
    update_ema(average, generator, 0, decay=0.9998, rampup=0.1)
    assert all(map(torch.equal, average.parameters(), generator.parameters()))


def test_samples_come_from_the_average(tiny: GANConfig, tmp_path: Path) -> None:  # noqa: F811
    config = override(tiny, {"ema": 0.9})
    run = load(train(config, tmp_path / "run").path)
    plain = load(train(tiny, tmp_path / "plain").path)
    z = torch.randn(4, config.latent_size, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(run.generator(z), plain.generator(z))
    weights = torch.nn.utils.parameters_to_vector
    assert not torch.equal(weights(run.generator.parameters()), weights(plain.generator.parameters()))
    assert torch.equal(weights(run.discriminator.parameters()), weights(plain.discriminator.parameters()))
