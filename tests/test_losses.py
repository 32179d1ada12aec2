"""Losses: values computed by hand, torch's cross-entropy as the oracle, and extreme logits."""

from collections.abc import Callable
from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from reviver.gan.losses import (
    LOSSES,
    choose_losses,
    cross_entropy_discriminator,
    non_saturating_generator,
    smoothed_discriminator,
)
from reviver.settings.gan import LOSSES as LOSS_NAMES


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_every_loss_has_a_name_in_the_settings() -> None:
    assert tuple(LOSSES) == LOSS_NAMES


# Values computed by hand. σ(0) = 1/2, σ(ln 3) = 3/4, σ(-ln 3) = 1/4.
BY_HAND = {
    # L_G = (-ln 1/2 - ln 1/4) / 2 = 3/2 ln 2
    # L_D = ((-ln 1/2 - ln 3/4) / 2 + (-ln 1/2 - ln 3/4) / 2) / 2 = ln(8/3) / 2
    "non-saturating": ((0.0, log(3)), (0.0, -log(3)), 1.0397207708399179, 0.4904146265058631),
    # L_G = (1² + 3²) / 2 / 2 = 5/2, L_D = (2² + 0²) / 2 / 2 + (0² + 2²) / 2 / 2 = 2
    "least-squares": ((3.0, 1.0), (0.0, -2.0), 2.5, 2.0),
    # L_G = -(0 - 2) / 2 = 1, L_D = (0 + 1/2) / 2 + (1 + 0) / 2 = 3/4
    "hinge": ((3.0, 0.5), (0.0, -2.0), 1.0, 0.75),
    # L_G = -ln σ(0 - ln 3) = ln 4, L_D = -ln σ(ln 3 - 0) = ln 4/3
    "relativistic": ((log(3), log(3)), (0.0, 0.0), 1.3862943611198906, 0.28768207245178085),
    # L_G = -(0 - 2) / 2 = 1, L_D = (0 - 2) / 2 - (3 + 1) / 2 = -3
    "wasserstein": ((3.0, 1.0), (0.0, -2.0), 1.0, -3.0),
}


def test_every_loss_is_computed_by_hand() -> None:
    assert tuple(BY_HAND) == LOSS_NAMES


@pytest.mark.parametrize("name", BY_HAND)
def test_losses_computed_by_hand(name: str) -> None:
    real, fake, generator, discriminator = BY_HAND[name]
    losses = choose_losses(name)
    assert losses.generator(column(*real), column(*fake)).item() == pytest.approx(generator, rel=1e-12)
    assert losses.discriminator(column(*real), column(*fake)).item() == pytest.approx(discriminator, rel=1e-12)


def test_label_smoothing_computed_by_hand() -> None:
    real, fake = column(0.0, log(3)), column(0.0, -log(3))
    losses = choose_losses("non-saturating", 0.1)
    # Real images have the target 0.9. At D = 1/2 the cross-entropy is ln 2 = 0.69314718 for every target; at D = 3/4 it
    # is -0.9 ln 3/4 - 0.1 ln 1/4 = 0.25891387 + 0.13862944 = 0.39754330. Generated images have the target 0: ln 2 and
    # -ln 3/4 = 0.28768207. L_D = ((0.69314718 + 0.39754330) / 2 + (0.69314718 + 0.28768207) / 2) / 2 = 0.51787993
    assert losses.discriminator(real, fake).item() == pytest.approx(0.51787993, abs=1e-8)
    assert losses.generator(real, fake).item() == pytest.approx(1.0397207708399179)  # as without smoothing


@given(seed=st.integers(0, 1000))
def test_losses_are_those_of_their_papers(seed: int) -> None:
    real, fake = torch.randn(2, 7, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 3
    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    cross_entropy, mse = functional.binary_cross_entropy_with_logits, functional.mse_loss
    expected = {
        "non-saturating": (cross_entropy(fake, ones), (cross_entropy(real, ones) + cross_entropy(fake, zeros)) / 2),
        "least-squares": (mse(fake, ones) / 2, (mse(real, ones) + mse(fake, zeros)) / 2),
        "hinge": (-fake.mean(), (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()),
        "relativistic": (cross_entropy(fake - real, ones), cross_entropy(real - fake, ones)),
        "wasserstein": (-fake.mean(), fake.mean() - real.mean()),
    }
    for name, losses in LOSSES.items():
        values = losses.generator(real, fake), losses.discriminator(real, fake)
        torch.testing.assert_close(values, expected[name])
    smoothed = (cross_entropy(real, 0.9 * ones) + cross_entropy(fake, zeros)) / 2
    torch.testing.assert_close(smoothed_discriminator(real, fake, 0.1), smoothed)


# The report's losses


def logit_pairs() -> list[tuple[Tensor, Tensor]]:
    rng = torch.Generator().manual_seed(5)
    return [
        tuple(torch.randn(64, 1, dtype=torch.float64, generator=rng) * scale for _ in range(2))
        for scale in (0.0, 0.1, 1.0, 5.0)
    ]


def reference_losses(
    cross_entropy: Callable[[Tensor, Tensor], Tensor], real: Tensor, fake: Tensor
) -> tuple[Tensor, Tensor]:
    """The generator's and the discriminator's loss as the public script writes them."""
    valid, counterfeit = torch.ones_like(real), torch.zeros_like(fake)
    return cross_entropy(fake, valid), (cross_entropy(real, valid) + cross_entropy(fake, counterfeit)) / 2


def report_losses(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    return non_saturating_generator(real, fake), cross_entropy_discriminator(real, fake)


@pytest.mark.parametrize(("real", "fake"), logit_pairs())
def test_losses_equal_torchs_cross_entropy_of_probabilities(real: Tensor, fake: Tensor) -> None:
    expected = reference_losses(nn.BCELoss(), real.sigmoid(), fake.sigmoid())
    torch.testing.assert_close(report_losses(real, fake), expected)


@pytest.mark.parametrize(("real", "fake"), logit_pairs())
def test_losses_and_gradients_equal_torchs_cross_entropy_of_logits(real: Tensor, fake: Tensor) -> None:
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    expected = reference_losses(functional.binary_cross_entropy_with_logits, real, fake)
    losses = report_losses(real, fake)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(
        torch.autograd.grad(losses[0], fake) + torch.autograd.grad(losses[1], (real, fake)),
        torch.autograd.grad(expected[0], fake) + torch.autograd.grad(expected[1], (real, fake)),
    )


def test_both_losses_are_log_2_where_the_discriminator_is_undecided() -> None:
    zeros = torch.zeros(3, 1, dtype=torch.float64)
    log_2 = torch.tensor(2.0, dtype=torch.float64).log()
    torch.testing.assert_close(report_losses(zeros, zeros), (log_2, log_2))


def test_losses_of_extreme_logits_are_finite_and_have_a_gradient() -> None:
    """A probability rounds to 0 there; its logarithm would be infinite (torch's BCELoss clamps it at 100)."""
    extreme = torch.tensor([[-1000.0]], requires_grad=True)
    loss = non_saturating_generator(extreme, extreme)
    assert loss == 1000
    assert torch.autograd.grad(loss, extreme)[0] == -1
    assert cross_entropy_discriminator(extreme, -extreme) == 1000


def test_each_loss_falls_when_its_network_does_better() -> None:
    low, high = torch.full((4, 1), -1.0), torch.full((4, 1), 1.0)
    assert non_saturating_generator(low, high) < non_saturating_generator(low, low)
    assert cross_entropy_discriminator(high, low) < cross_entropy_discriminator(low, low)
    assert cross_entropy_discriminator(high, low) < cross_entropy_discriminator(high, high)
