"""Options of a step: which networks are updated when, and when penalties are added."""

import pytest
import torch

from reviver.gan.losses import LOSSES, choose_losses
from reviver.gan.step_options import StepOptions
from reviver.settings.gan import GANConfig


def test_the_defaults_are_the_reports() -> None:
    options = StepOptions.from_config(GANConfig(), 0)
    assert options == StepOptions()
    assert choose_losses("non-saturating", 0.0) == LOSSES["non-saturating"]
    assert options.penalty is None


@pytest.mark.parametrize(
    ("steps", "updates"), [(1, [True] * 6), (2, [False, True] * 3), (3, [False, False, True, False, False, True])]
)
def test_the_generator_is_updated_in_every_kth_step(steps: int, updates: list[bool]) -> None:
    config = GANConfig(discriminator_steps=steps)
    assert [StepOptions.from_config(config, step).update_generator for step in range(6)] == updates


@pytest.mark.parametrize("penalty", ["r1", "gradient_penalty"])
def test_penalties_are_added_in_the_first_step_and_then_at_the_interval(penalty: str) -> None:
    config = GANConfig(penalty_interval=3, **{penalty: 1.0})
    options = [StepOptions.from_config(config, step) for step in range(7)]
    assert [one.penalty is not None for one in options] == [True, False, False, True, False, False, True]


def test_label_smoothing_changes_the_loss_of_the_discriminator_only() -> None:
    plain, smoothed = (choose_losses("non-saturating", smoothing) for smoothing in (0.0, 0.1))
    assert plain.generator is smoothed.generator
    ones = torch.ones(1, 1)
    # 0.1 more times half the logit of the real images
    assert (smoothed.discriminator(ones, ones) - plain.discriminator(ones, ones)).item() == pytest.approx(0.05)


def test_the_precision_is_that_of_the_run() -> None:
    assert StepOptions.from_config(GANConfig(precision="bf16"), 0).precision == "bf16"
