"""Losses: torch's losses as oracles, the paper's formulas, gradients by finite differences, and extreme logits."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from reviver.gan.losses import LOSSES, choose_losses
from reviver.settings.gan import LOSSES as LOSS_NAMES


def expected_losses(name: str, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """The losses of G and D, by torch's functions of probabilities and distances, or as the papers write them."""
    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    match name:
        case "non-saturating":
            bce = functional.binary_cross_entropy
            d_loss = (bce(real.sigmoid(), ones - smoothing) + bce(fake.sigmoid(), zeros)) / 2
            return bce(fake.sigmoid(), ones), d_loss
        case "least-squares":
            mse = functional.mse_loss
            return mse(fake, ones) / 2, (mse(real, ones) + mse(fake, zeros)) / 2
        case "hinge":
            d_loss = torch.maximum(zeros, 1 - real).mean() + torch.maximum(zeros, 1 + fake).mean()
            return -fake.mean(), d_loss
        case "relativistic":
            return -functional.logsigmoid(fake - real).mean(), -functional.logsigmoid(real - fake).mean()
    return -fake.mean(), fake.mean() - real.mean()


LOGITS = st.lists(st.tuples(*[st.floats(-9, 9)] * 2), min_size=1, max_size=7)


@pytest.mark.parametrize("name", LOSS_NAMES)
@given(logits=LOGITS)
def test_losses_and_their_gradients_are_those_of_other_implementations(name: str, logits: list) -> None:
    real, fake = torch.tensor(logits, dtype=torch.float64).T[:, :, None].clone().requires_grad_()
    losses = [loss(real, fake) for loss in LOSSES[name]]
    expected = expected_losses(name, real, fake)
    for found, wanted in zip(losses, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
        grads = (
            torch.autograd.grad(one, (real, fake), allow_unused=True, retain_graph=True) for one in (found, wanted)
        )
        for gradient, wanted_gradient in zip(*grads, strict=True):
            if wanted_gradient is not None and name != "hinge":  # which has no gradient at its kink
                torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-6, atol=1e-9)


@given(logits=LOGITS, smoothing=st.floats(0.01, 0.9))
def test_label_smoothing_is_the_cross_entropy_to_smoothed_labels(logits: list, smoothing: float) -> None:
    real, fake = torch.tensor(logits, dtype=torch.float64).T[:, :, None]
    losses = choose_losses("non-saturating", smoothing)
    assert losses.generator is LOSSES["non-saturating"].generator
    expected = expected_losses("non-saturating", real, fake, smoothing)[1]
    torch.testing.assert_close(losses.discriminator(real, fake), expected, rtol=1e-9, atol=1e-9)


def test_values_computed_by_hand_and_of_extreme_logits() -> None:
    """σ(0) = 1/2, σ(ln 3) = 3/4, σ(-ln 3) = 1/4."""
    real, fake = (torch.tensor(values).double()[:, None] for values in ((0.0, log(3)), (0.0, -log(3))))
    g_loss, d_loss = LOSSES["non-saturating"]
    assert g_loss(real, fake).item() == pytest.approx(1.5 * log(2))  # (-ln 1/2 - ln 1/4) / 2
    # ((-ln 1/2 - ln 3/4) / 2 + (-ln 1/2 - ln 3/4) / 2) / 2
    assert d_loss(real, fake).item() == pytest.approx(log(8 / 3) / 2)
    # A probability rounds to 0 there; its logarithm would be infinite (torch's BCELoss clamps it at 100).
    extreme = torch.tensor([[-1000.0]], requires_grad=True)
    assert g_loss(extreme, extreme) == d_loss(extreme, -extreme) == 1000
    assert torch.autograd.grad(g_loss(extreme, extreme), extreme)[0] == -1
    assert choose_losses("hinge") == LOSSES["hinge"]
    assert tuple(LOSSES) == LOSS_NAMES
