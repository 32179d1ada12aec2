"""Penalties: values computed by hand, gradients by finite differences, and labels."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from reviver.gan.penalties import discriminator_penalty, grad_norm_sq, gradient_penalty, r1_penalty
from reviver.settings.gan import GANConfig


def images(*pixels: tuple[float, float]) -> Tensor:
    """Images [N, 1, 1, 2] of two pixels each."""
    return torch.tensor(pixels, dtype=torch.float64)[:, None, None]


def half_norm_sq(x: Tensor) -> Tensor:
    """Logits l(x) = ½ ‖x‖², whose gradient is x."""
    return x.flatten(1).square().sum(1, keepdim=True) / 2


class HalfNormSq:
    """A discriminator with the logits k/2 ‖x‖² of images of class k, whose gradient is k x; without labels, k is 1."""

    packing = 1

    def logits(self, x: Tensor, labels: Tensor | None = None, rng: Any = None, rows: Any = None) -> Tensor:
        return half_norm_sq(x) * (1 if labels is None else labels.argmax(1, keepdim=True))


REAL, FAKE = images((3.0, 4.0), (0.0, 1.0)), images((1.0, 2.0), (3.0, 0.0))
# ‖∂l/∂x‖² = ‖x‖²: 25 and 1 at the real images, mean 13.


def penalty(labels: Tensor | None = None, **settings: Any) -> float:
    rng, discriminator = torch.Generator().manual_seed(5), HalfNormSq()
    return discriminator_penalty(GANConfig(**settings), discriminator, REAL, FAKE, labels, rng).item()  # type: ignore[arg-type]


def test_penalties_computed_by_hand() -> None:
    assert grad_norm_sq(half_norm_sq, REAL).tolist() == [25.0, 1.0]
    assert r1_penalty(half_norm_sq, REAL, 0.2).item() == pytest.approx(1.3)  # 0.2 / 2 · 13
    real, fake = images((3.0, 4.0)), images((0.0, 0.0))
    alpha = torch.full((1, 1, 1, 1), 0.25, dtype=torch.float64)
    # x̂ = ¼ (3, 4) + ¾ (0, 0) = (0.75, 1), ‖x̂‖ = 1.25, (1.25 - 1)² = 0.0625
    assert gradient_penalty(half_norm_sq, real, fake, alpha).item() == pytest.approx(0.0625)
    # x̂ = ¼ (0, 0) + ¾ (3, 4) = (2.25, 3), ‖x̂‖ = 3.75, 2.75² = 7.5625
    assert gradient_penalty(half_norm_sq, fake, real, alpha).item() == pytest.approx(7.5625)
    # x̂ = ¼ (3, 4) + ¾ (1, 0) = (1.5, 1), ‖x̂‖² = 3.25
    assert gradient_penalty(half_norm_sq, real, images((1.0, 0.0)), alpha).item() == pytest.approx((3.25**0.5 - 1) ** 2)


def test_settings_weigh_the_penalties_alpha_is_uniform_for_each_image_and_labels_are_those_of_the_real_images() -> None:
    assert penalty() == discriminator_penalty(None, HalfNormSq(), REAL, FAKE).item() == 0.0  # type: ignore[arg-type]
    assert penalty(r1=0.2) == pytest.approx(1.3)
    assert penalty(r1=0.2, penalty_interval=8) == pytest.approx(10.4)  # every 8 updates, so 8 · 1.3
    alpha = torch.rand(2, 1, 1, 1, generator=torch.Generator().manual_seed(5))
    expected = gradient_penalty(half_norm_sq, REAL, FAKE, alpha).item()
    assert penalty(gradient_penalty=10.0) == pytest.approx(10 * expected)
    assert penalty(gradient_penalty=10.0, r1=0.2, penalty_interval=2) == pytest.approx(2 * (10 * expected + 1.3))
    labels = torch.eye(4, dtype=torch.float64)[[2, 2, 3, 3]]  # real images have class 2, generated ones class 3
    assert penalty(labels, r1=0.2) == pytest.approx(5.2)  # 0.2 / 2 · 2² · 13
    expected = gradient_penalty(lambda x: 2 * half_norm_sq(x), REAL, FAKE, alpha).item()
    assert penalty(labels, gradient_penalty=1.0) == pytest.approx(expected)


def test_penalties_have_the_gradients_of_finite_differences() -> None:
    """Both in the weights of a smooth network, l(x) = v · tanh(W x)."""
    weights = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    readout = torch.randn(5, 1, dtype=torch.float64, requires_grad=True)
    real, fake = torch.randn(2, 3, 1, 2, 2, dtype=torch.float64)
    alpha = torch.rand(3, 1, 1, 1, dtype=torch.float64)

    def penalties(weights: Tensor, readout: Tensor) -> tuple[Tensor, Tensor]:
        def logits(x: Tensor) -> Tensor:
            return (x.flatten(1) @ weights.T).tanh() @ readout

        return r1_penalty(logits, real, 0.7), gradient_penalty(logits, real, fake, alpha)

    assert gradcheck(penalties, (weights, readout))
