"""What the GAN can minimise, and what steadies it: right values, the same bits after a kill, images that are used."""

import copy
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from reviver import load
from reviver.config import override
from reviver.errors import ConfigError, DataError, Interrupted
from reviver.gan.config import LOSSES as LOSS_NAMES
from reviver.gan.config import GANConfig
from reviver.gan.losses import LOSSES, grad_norm_sq, slope_penalty, smoothed_discriminator
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.training import (
    average_decay,
    build_networks,
    build_optimizers,
    count_batches,
    learning_rates,
    train,
    update_average,
)
from reviver.gan.training import train_step as step
from tests.test_gan_training import at_step, fingerprint, send, tiny  # noqa: F401

RECIPES: dict[str, dict[str, Any]] = {
    **{name: {"loss": name} for name in LOSS_NAMES[1:4]},
    "wasserstein": {"loss": "wasserstein", "gradient_penalty": 10.0},
    "smoothed": {"label_smoothing": 0.1},
    "r1": {"r1": 1.0, "penalty_interval": 2},
    "r1 and r2": {"loss": "relativistic", "r1": 0.5, "r2": 0.5},
    "dropout": {"discriminator_dropout": 0.3},
    "spectral norm": {"spectral_norm": True, "loss": "hinge"},
    "packing": {"packing": 2},
    "average": {"ema": 0.9},
    "ramp": {"ema": 0.99, "ema_rampup": 0.3},
    "negative momentum": {"beta1": -0.3},
    "steps": {"discriminator_steps": 2, "r1": 0.3, "penalty_interval": 2, "ema": 0.9},
    "linear": {"lr_schedule": "linear", "discriminator_learning_rate": 1e-4},
    "normalised bf16": {"precision": "bf16", "spectral_norm": True, "loss": "hinge"},
    "bf16": {"precision": "bf16", "r1": 0.3, "lr_schedule": "cosine", "ema": 0.9},
    "negative bf16": {"precision": "bf16", "beta1": -0.3, "discriminator_steps": 2, "ema": 0.9, "ema_rampup": 0.3},
}


def random_logits(seed: int, size: int = 7) -> tuple[Tensor, Tensor]:
    real, fake = torch.randn(2, size, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 3
    return real, fake


def test_every_loss_has_a_name_in_the_settings() -> None:
    assert tuple(LOSSES) == LOSS_NAMES


@given(seed=st.integers(0, 1000))
def test_losses_are_those_of_their_papers(seed: int) -> None:
    real, fake = random_logits(seed)
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
        ours = losses.generator(real, fake), losses.discriminator(real, fake)
        torch.testing.assert_close(ours, expected[name])
    smoothed = (cross_entropy(real, 0.9 * ones) + cross_entropy(fake, zeros)) / 2
    torch.testing.assert_close(smoothed_discriminator(real, fake, 0.1), smoothed)


# Penalties


def test_slopes_are_those_of_a_network_whose_slope_is_known() -> None:
    weights = torch.randn(1, 12, dtype=torch.float64)
    images = torch.randn(5, 3, 2, 2, dtype=torch.float64)

    def logits(x: Tensor) -> Tensor:
        return (x.flatten(1) @ weights.T).square() / 2

    values = images.flatten(1) @ weights.T  # the slope of v²/2 in x is v w
    expected = (values * weights).square().sum(1)
    torch.testing.assert_close(grad_norm_sq(logits, images), expected)


def test_slope_penalty_is_0_where_the_slope_is_1() -> None:
    direction = nn.functional.normalize(torch.randn(1, 4, dtype=torch.float64))
    real, fake = torch.randn(2, 6, 1, 2, 2, dtype=torch.float64)
    share = torch.rand(6, 1, 1, 1, dtype=torch.float64)
    assert slope_penalty(lambda x: x.flatten(1) @ direction.T, real, fake, share) < 1e-20
    steeper = slope_penalty(lambda x: 3 * x.flatten(1) @ direction.T, real, fake, share)
    assert steeper == pytest.approx(4.0)


def test_penalties_have_the_gradients_of_finite_differences() -> None:
    discriminator = Discriminator((1, 4, 4)).double()
    images = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    weight = next(discriminator.parameters())

    def penalty(weight: Tensor) -> Tensor:
        return grad_norm_sq(
            lambda x: torch.func.functional_call(_Logits(discriminator), {"inner.layers.0.weight": weight}, x), images
        ).mean()

    direction = torch.randn_like(weight)
    (gradient,) = torch.autograd.grad(penalty(weight), weight)
    difference = (penalty(weight + 1e-5 * direction) - penalty(weight - 1e-5 * direction)) / 2e-5
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-4, atol=1e-8)


class _Logits(nn.Module):
    def __init__(self, inner: Discriminator) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner.logits(x)


@pytest.mark.parametrize("every", [1, 4])
def test_penalties_flatten_the_discriminator(every: int) -> None:
    torch.manual_seed(0)
    slopes = []
    for gamma in (0.0, 100.0):
        config = GANConfig(image_size=8, r1=gamma, penalty_interval=every, learning_rate=1e-3)
        networks = build_networks(config, (1, 8, 8))
        optimizers = build_optimizers(config, *networks)
        real = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
        noise = torch.Generator().manual_seed(1)
        for number in range(40):
            z = torch.randn(64, 100, generator=noise)
            step(*networks, *optimizers, real, z, config=config, has_penalty=gamma > 0 and number % every == 0)
        slopes.append(grad_norm_sq(networks[1].logits, real).mean().item())
    assert slopes[1] < slopes[0] / 3


# Networks


def test_packs_are_judged_together() -> None:
    discriminator = Discriminator((1, 4, 4), packing=3)
    images = torch.randn(6, 1, 4, 4)
    logits = discriminator.logits(images)
    assert logits.shape == (2, 1)
    torch.testing.assert_close(logits, discriminator.layers(images.reshape(2, 48)))
    with pytest.raises(DataError, match=r"^images: .* with N a multiple of 3"):
        discriminator.logits(images[:4])


def test_spectral_norm_makes_each_layer_at_most_1_steep() -> None:
    discriminator = Discriminator((1, 6, 6), spectral_norm=True)
    for _ in range(50):  # each pass refines the estimate
        discriminator.logits(torch.randn(4, 1, 6, 6))
    discriminator.eval()
    for layer in discriminator.layers:
        if isinstance(layer, nn.Linear):
            assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-2)


def test_dropout_is_drawn_from_its_own_generator() -> None:
    discriminator, images = Discriminator((1, 4, 4), dropout=0.5), torch.randn(8, 1, 4, 4)
    state = torch.random.get_rng_state()
    first, again, other = (
        discriminator.logits(images, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    discriminator.eval()
    assert torch.equal(discriminator.logits(images), discriminator.logits(images))


def test_dropout_keeps_the_mean() -> None:
    discriminator = Discriminator((1, 2, 2), dropout=0.3)
    with torch.no_grad():
        discriminator.layers[2] = nn.Identity()  # what follows is linear, so that means pass through
        discriminator.layers[3] = nn.Identity()
        discriminator.layers[4] = nn.Linear(512, 1)
    image = torch.randn(1, 1, 2, 2)
    many = discriminator.logits(image.expand(40_000, -1, -1, -1), generator=torch.Generator().manual_seed(0)).mean()
    torch.testing.assert_close(many, discriminator.eval().logits(image)[0, 0], rtol=0.02, atol=0.005)


# The average


def test_the_average_follows_weights_and_statistics() -> None:
    torch.manual_seed(0)
    generator = Generator(10, (1, 4, 4))
    average = copy.deepcopy(generator)
    expected = {name: value.clone() for name, value in average.state_dict().items()}
    for _ in range(3):
        generator(torch.randn(16, 10))  # moves BatchNorm's statistics
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        update_average(average, generator, 0.9)
        for name, value in generator.state_dict().items():
            moved = 0.9 * expected[name] + 0.1 * value if value.is_floating_point() else value
            expected[name] = moved.clone()
    torch.testing.assert_close(dict(average.state_dict()), expected)


def test_the_average_looks_back_over_a_part_of_the_run_and_no_further() -> None:
    plain = GANConfig(ema=0.99)
    assert {average_decay(plain, updates) for updates in (1, 10, 10**6)} == {0.99}
    ramp = override(plain, {"ema_rampup": 0.1})
    decays = [average_decay(ramp, updates) for updates in range(0, 2000, 10)]
    assert decays == sorted(decays)
    assert (decays[0], decays[-1]) == (0.0, 0.99)
    assert average_decay(ramp, 500) == pytest.approx(1 - 1 / 51)
    assert [1 / (1 - decay) - 1 for decay in decays[:99]] == pytest.approx(list(range(99)))


def test_an_average_with_a_ramp_forgets_the_first_weights() -> None:
    torch.manual_seed(0)
    average, generator = Generator(10, (1, 4, 4)), Generator(10, (1, 4, 4))
    update_average(average, generator, average_decay(GANConfig(ema=0.9998, ema_rampup=0.1), 0))
    assert all(
        torch.equal(mine, theirs) for mine, theirs in zip(average.parameters(), generator.parameters(), strict=True)
    )


def test_samples_are_drawn_from_the_average(tiny: GANConfig, tmp_path: Path) -> None:  # noqa: F811
    config = override(tiny, {"ema": 0.9})
    folder = train(config, tmp_path / "run")
    run = load(folder.path)
    plain = load(train(tiny, tmp_path / "plain").path)
    z = torch.randn(4, config.latent_size)
    assert not torch.equal(run.generator(z), plain.generator(z))
    weights = torch.nn.utils.parameters_to_vector
    assert not torch.equal(weights(run.generator.parameters()), weights(plain.generator.parameters()))
    assert torch.equal(weights(run.discriminator.parameters()), weights(plain.discriminator.parameters()))


# Rates, batches


def test_step_sizes_fall_as_they_are_told() -> None:
    config = GANConfig(learning_rate=1e-3, discriminator_learning_rate=4e-3)
    assert learning_rates(config, 0.7) == (1e-3, 4e-3)
    linear = override(config, {"lr_schedule": "linear"})
    assert learning_rates(linear, 0.75) == pytest.approx((0.25e-3, 1e-3))
    half = override(linear, {"final_lr_ratio": 0.5})
    assert learning_rates(half, 0.75) == pytest.approx((0.625e-3, 2.5e-3))
    cosine = override(config, {"lr_schedule": "cosine"})
    assert learning_rates(cosine, 0.5) == pytest.approx((0.5e-3, 2e-3))
    assert learning_rates(cosine, 1.0) == pytest.approx((0.0, 0.0), abs=1e-12)


@pytest.mark.parametrize(("images", "packing", "batches"), [(64, 1, 2), (65, 1, 2), (66, 1, 3), (66, 4, 2), (68, 4, 3)])
def test_a_last_batch_holds_a_pack(images: int, packing: int, batches: int) -> None:
    assert count_batches(images, 32, packing) == batches


# Runs


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_resumes_to_the_same_bits(
    name: str,
    tiny: GANConfig,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = override(tiny, RECIPES[name])
    whole = fingerprint(train(config, tmp_path / "whole"))
    with monkeypatch.context() as patched:
        at_step(patched, 3, send(signal.SIGINT))
        with pytest.raises(Interrupted):
            train(config, tmp_path / "run")
    assert fingerprint(train(config, tmp_path / "run", resume=True)) == whole
    points = load(tmp_path / "run").metrics
    assert all(torch.tensor(list(point.values())).isfinite().all() for point in points)
    assert fingerprint(train(tiny, tmp_path / "plain")) != whole, "the setting does something"


def test_bf16_computes_nearly_the_same() -> None:
    results = []
    for precision in ("fp32", "bf16"):
        config = GANConfig(precision=precision)  # type: ignore[arg-type]
        networks = build_networks(config, (1, 28, 28))
        optimizers = build_optimizers(config, *networks)
        generator = torch.Generator().manual_seed(0)
        real, z = torch.rand(64, 1, 28, 28, generator=generator), torch.randn(64, 100, generator=generator)
        results.append(torch.stack(step(*networks, *optimizers, real, z, config=config)))
        assert all(parameter.dtype == torch.float32 for network in networks for parameter in network.parameters())
    torch.testing.assert_close(results[0], results[1], rtol=1e-2, atol=1e-2)
    assert not torch.equal(results[0], results[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packing": 3}, "^packing must divide the batch_size 64, got 3"),
        ({"ema_rampup": 0.1}, "^ema_rampup must be 0 without an average, got 0.1; give ema as well"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "^label_smoothing must be 0 for the loss hinge, .* got 0.1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GANConfig(**changes)
