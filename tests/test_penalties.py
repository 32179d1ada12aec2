"""Penalties: values computed by hand, gradients by finite differences, and their effect."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.gan.networks import Discriminator
from reviver.gan.penalties import discriminator_penalty, grad_norm_sq, gradient_penalty, r1_penalty
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepOptions
from reviver.runs.distributed.rows import BatchRows
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import build_networks, build_optimizers


def images(*pixels: tuple[float, float]) -> Tensor:
    """Images [N, 1, 1, 2] of two pixels each."""
    return torch.tensor(pixels, dtype=torch.float64)[:, None, None]


def half_norm_sq(x: Tensor) -> Tensor:
    """Logits l(x) = ½ ‖x‖², whose gradient is x."""
    return x.flatten(1).square().sum(1, keepdim=True) / 2


class HalfNormSq:
    """A discriminator with the logits ½ ‖x‖²."""

    def logits(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        rng: torch.Generator | None = None,
        rows: BatchRows | None = None,
    ) -> Tensor:
        return half_norm_sq(x)


REAL, FAKE = images((3.0, 4.0), (0.0, 1.0)), images((1.0, 2.0), (3.0, 0.0))
# ‖∂l/∂x‖² = ‖x‖²: 25 and 1 at the real images, mean 13.


def penalty(seed: int = 0, **settings: Any) -> float:
    config, rng = GANConfig(**settings), torch.Generator().manual_seed(seed)
    return discriminator_penalty(config, HalfNormSq(), REAL, FAKE, rng=rng).item()  # type: ignore[arg-type]


def test_squared_gradient_norms_computed_by_hand() -> None:
    assert grad_norm_sq(half_norm_sq, REAL).tolist() == [25.0, 1.0]
    assert r1_penalty(half_norm_sq, REAL, 0.2).item() == pytest.approx(1.3)  # 0.2 / 2 · 13


def test_penalties_computed_by_hand() -> None:
    assert penalty() == 0.0
    assert penalty(r1=0.2) == pytest.approx(1.3)  # 0.2 / 2 · 13
    assert penalty(r1=0.2, penalty_interval=8) == pytest.approx(10.4)  # every 8 updates, so 8 · 1.3


class LabelledHalfNormSq:
    """A conditional discriminator with the logits k/2 ‖x‖² of images of class k, whose gradient is k x."""

    def logits(
        self, x: Tensor, labels: Tensor, rng: torch.Generator | None = None, rows: BatchRows | None = None
    ) -> Tensor:
        return labels.argmax(1, keepdim=True) * half_norm_sq(x)


def test_penalties_use_the_labels_of_their_images() -> None:
    labels = torch.eye(4, dtype=torch.float64)[[2, 2, 3, 3]]  # real images have class 2, generated ones class 3

    def penalty(**settings: Any) -> float:
        rng = torch.Generator().manual_seed(5)
        discriminator: Any = LabelledHalfNormSq()
        return discriminator_penalty(GANConfig(**settings), discriminator, REAL, FAKE, labels, rng).item()

    assert penalty(r1=0.2) == pytest.approx(5.2)  # 0.2 / 2 · 2² · 13
    alpha = torch.rand(2, 1, 1, 1, generator=torch.Generator().manual_seed(5))
    expected = gradient_penalty(lambda x: 2 * half_norm_sq(x), REAL, FAKE, alpha).item()  # between them: the real class
    assert penalty(gradient_penalty=1.0) == pytest.approx(expected)


def test_gradient_penalty_computed_by_hand() -> None:
    real, fake = images((3.0, 4.0)), images((0.0, 0.0))
    alpha = torch.full((1, 1, 1, 1), 0.25, dtype=torch.float64)
    # x̂ = ¼ (3, 4) + ¾ (0, 0) = (0.75, 1), ‖x̂‖ = 1.25, (1.25 - 1)² = 0.0625
    assert gradient_penalty(half_norm_sq, real, fake, alpha).item() == pytest.approx(0.0625)
    # x̂ = ¼ (0, 0) + ¾ (3, 4) = (2.25, 3), ‖x̂‖ = 3.75, 2.75² = 7.5625
    assert gradient_penalty(half_norm_sq, fake, real, alpha).item() == pytest.approx(7.5625)
    # x̂ = ½ (3, 4) + ½ (1, 2) = (2, 3) and ½ (0, 1) + ½ (3, 0) = (1.5, 0.5): (√13 - 1)² and (√2.5 - 1)²
    alpha = torch.full((2, 1, 1, 1), 0.5, dtype=torch.float64)
    expected = (6.788897449072021 + 0.33772233983162067) / 2
    assert gradient_penalty(half_norm_sq, REAL, FAKE, alpha).item() == pytest.approx(expected)


def test_the_weight_of_the_gradient_penalty_and_alpha() -> None:
    alpha = torch.rand(2, 1, 1, 1, generator=torch.Generator().manual_seed(5))  # uniform, one number per image
    expected = gradient_penalty(half_norm_sq, REAL, FAKE, alpha).item()
    assert penalty(5, gradient_penalty=10.0) == pytest.approx(10 * expected)
    assert penalty(5, gradient_penalty=10.0, r1=0.2, penalty_interval=2) == pytest.approx(2 * (10 * expected + 1.3))


def test_gradient_norms_are_those_of_a_function_whose_gradient_is_known() -> None:
    rng = torch.Generator().manual_seed(0)
    weights = torch.randn(1, 12, dtype=torch.float64, generator=rng)
    x = torch.randn(5, 3, 2, 2, dtype=torch.float64, generator=rng)
    values = x.flatten(1) @ weights.T  # the gradient of v²/2 with respect to x is v w
    expected = (values * weights).square().sum(1)
    torch.testing.assert_close(grad_norm_sq(lambda x: (x.flatten(1) @ weights.T).square() / 2, x), expected)


def test_gradient_penalty_is_0_where_the_gradient_has_norm_1() -> None:
    rng = torch.Generator().manual_seed(0)
    direction = functional.normalize(torch.randn(1, 4, dtype=torch.float64, generator=rng))
    real, fake = torch.randn(2, 6, 1, 2, 2, dtype=torch.float64, generator=rng)
    alpha = torch.rand(6, 1, 1, 1, dtype=torch.float64, generator=rng)
    assert gradient_penalty(lambda x: x.flatten(1) @ direction.T, real, fake, alpha) < 1e-20
    steeper = gradient_penalty(lambda x: 3 * x.flatten(1) @ direction.T, real, fake, alpha)
    assert steeper == pytest.approx(4.0)


class Logits(nn.Module):
    """The logits of a discriminator as a module."""

    def __init__(self, inner: Discriminator) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner.logits(x)


def activation_signs(discriminator: Discriminator, weight: Tensor, x: Tensor) -> Tensor:
    """The signs of the inputs of both LeakyReLUs, with `weight` in the first layer."""
    first, relu, second = discriminator.layers[:3]
    a = functional.linear(x.flatten(1), weight, first.bias)
    return torch.cat([a, second(relu(a))], dim=1).sign()


def test_penalties_have_the_gradients_of_finite_differences() -> None:
    torch.manual_seed(1)
    discriminator = Discriminator((1, 4, 4)).double()
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    weight = discriminator.layers[0].weight
    direction = torch.randn_like(weight)
    step = 1e-6 * direction
    for moved in (weight + step, weight - step):  # else a kink lies between, where there is no gradient
        assert torch.equal(activation_signs(discriminator, moved, x), activation_signs(discriminator, weight, x))

    def value(weight: Tensor) -> Tensor:
        network = Logits(discriminator)
        return grad_norm_sq(
            lambda x: torch.func.functional_call(network, {"inner.layers.0.weight": weight}, x), x
        ).mean()

    (gradient,) = torch.autograd.grad(value(weight), weight)
    difference = (value(weight + step) - value(weight - step)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("interval", [1, 4])
def test_penalties_flatten_the_discriminator(interval: int) -> None:
    torch.manual_seed(0)
    norms = []
    for gamma in (0.0, 100.0):
        config = GANConfig(image_size=8, r1=gamma, penalty_interval=interval, learning_rate=1e-3)
        networks = build_networks(config, (1, 8, 8))
        optimizers = build_optimizers(config, *networks)
        real = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
        rng = torch.Generator().manual_seed(1)
        for number in range(40):
            z = torch.randn(64, 100, generator=rng)
            gan_step(*networks, *optimizers, real, z, options=StepOptions.from_config(config, number))
        norms.append(grad_norm_sq(networks[1].logits, real).mean().item())
    assert norms[1] < norms[0] / 3
