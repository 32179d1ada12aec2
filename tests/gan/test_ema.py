"""The EMA of the generator: torch's AveragedModel as the oracle, and values computed by hand."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reviver.gan.ema import EMA_INTERVAL, ema_decay, update_ema
from reviver.gan.networks import Generator


def test_average_computed_by_hand() -> None:
    assert EMA_INTERVAL == 4
    for decay, rampup, updates, expected in (
        (0.9, 0.0, 1, 0.0),  # an EMA update every 4 generator updates
        (0.9, 0.0, 3, 0.0),
        (0.9, 0.0, 4, 0.3439),  # 1 - 0.9⁴, as of four updates with 0.9
        (0.9, 0.0, 5, 0.0),
        (0.9, 0.0, 8, 0.3439),
        (0.9998, 0.1, 40, 0.5904),  # the decay is 1 - 1 / (0.1 · 40 + 1) = 0.8, 1 - 0.8⁴
        (0.7, 0.1, 40, 0.7599),  # 0.8 is capped by 0.7, 1 - 0.7⁴
        (0.9998, 0.1, 0, 1.0),  # it forgets the initial weights
    ):
        average, generator = Generator(4, (1, 4, 4)), Generator(4, (1, 4, 4))
        for network, value in ((average, 0.0), (generator, 1.0)):
            for parameter in network.parameters():
                torch.nn.init.constant_(parameter, value)
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


@given(maximum=st.floats(0.5, 0.9999), rampup=st.floats(0.01, 1), updates=st.integers(0, 10**7))
def test_the_horizon_is_a_fraction_of_the_updates_with_a_maximum(maximum: float, rampup: float, updates: int) -> None:
    assert ema_decay(maximum, 0.0, updates) == maximum
    horizon = 1 / (1 - ema_decay(maximum, rampup, updates)) - 1
    assert horizon == pytest.approx(min(rampup * updates, 1 / (1 - maximum) - 1), rel=1e-6, abs=1e-9)
