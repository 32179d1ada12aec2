"""The training step: losses and penalties by other means, updates equal to the usual loop, options, shifted images."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor, nn
from torch.nn import functional

from reviver.gan import step
from reviver.gan.losses import LOSSES, choose_losses
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.penalties import Penalties, discriminator_penalty, gradient_penalty
from reviver.gan.step import StepOptions, gan_step, shift
from reviver.rng import BatchRows, RowsRng
from reviver.settings.gan import LOSSES as LOSS_NAMES
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import build_models, build_networks, build_optimizers, build_options

# Losses


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


@pytest.mark.parametrize("name", LOSS_NAMES)
@given(logits=st.lists(st.tuples(*[st.floats(-9, 9)] * 2), min_size=1, max_size=7), smoothing=st.floats(0, 0.9))
def test_losses_and_their_gradients_are_those_of_other_implementations(
    name: str, logits: list, smoothing: float
) -> None:
    smoothing = smoothing if name == "non-saturating" else 0.0
    real, fake = torch.tensor(logits, dtype=torch.float64).T[:, :, None].clone().requires_grad_()
    losses = [loss(real, fake) for loss in choose_losses(name, smoothing)[:2]]
    for found, wanted in zip(losses, expected_losses(name, real, fake, smoothing), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
        grads = (
            torch.autograd.grad(one, (real, fake), allow_unused=True, retain_graph=True) for one in (found, wanted)
        )
        for gradient, wanted_gradient in zip(*grads, strict=True):
            if wanted_gradient is not None and name != "hinge":  # which has no gradient at its kink
                torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-6, atol=1e-9)


def test_the_losses_of_extreme_logits_are_finite() -> None:
    """A probability rounds to 0 there; its logarithm would be infinite (torch's BCELoss clamps it at 100)."""
    g_loss, d_loss, *_ = LOSSES["non-saturating"]
    extreme = torch.tensor([[-1000.0]], requires_grad=True)
    assert g_loss(extreme, extreme) == d_loss(extreme, -extreme) == 1000
    assert torch.autograd.grad(g_loss(extreme, extreme), extreme)[0] == -1


# Penalties


def images(*pixels: tuple[float, float]) -> Tensor:
    """Images [N, 1, 1, 2] of two pixels each."""
    return torch.tensor(pixels, dtype=torch.float64)[:, None, None]


def half_norm_sq(x: Tensor) -> Tensor:
    """Logits l(x) = ½ ‖x‖², whose gradient is x."""
    return x.flatten(1).square().sum(1, keepdim=True) / 2


class HalfNormSq:
    """A discriminator with the logits k/2 ‖x‖² of images of class k, whose gradient is k x; without labels, k is 1."""

    def logits(self, x: Tensor, labels: Tensor | None = None, rng: Any = None, rows: Any = None) -> Tensor:
        return half_norm_sq(x) * (1 if labels is None else labels.argmax(1, keepdim=True))


REAL, FAKE = images((3.0, 4.0), (0.0, 1.0), (2.0, 3.0)), images((1.0, 2.0), (3.0, 0.0), (1.0, 1.0))
# ‖∂l/∂x‖² = ‖x‖²: 25, 1 and 13 at the real images, mean 13.


def penalty(labels: Tensor | None = None, **settings: Any) -> float:
    rng, discriminator = torch.Generator().manual_seed(5), HalfNormSq()
    return discriminator_penalty(Penalties(**settings), discriminator, REAL, FAKE, labels, rng).item()  # type: ignore[arg-type]


def test_a_gradient_penalty_computed_by_hand() -> None:
    real, fake = images((3.0, 4.0)), images((1.0, 0.0))
    alpha = torch.full((1, 1, 1, 1), 0.25, dtype=torch.float64)
    # x̂ = ¼ (3, 4) + ¾ (1, 0) = (1.5, 1), ‖x̂‖² = 3.25
    assert gradient_penalty(half_norm_sq, real, fake, alpha).item() == pytest.approx((3.25**0.5 - 1) ** 2)
    scale = torch.zeros((), requires_grad=True)  # as dropout can do
    assert torch.autograd.grad(gradient_penalty(lambda x: scale * half_norm_sq(x), real, fake, alpha), scale)[0] == 0


def test_settings_weigh_the_penalties_alpha_is_uniform_for_each_image_and_labels_are_those_of_the_real_images() -> None:
    assert penalty() == discriminator_penalty(None, HalfNormSq(), REAL, FAKE).item() == 0.0  # type: ignore[arg-type]
    assert penalty(r1=0.2) == pytest.approx(1.3)  # 0.2 / 2 · 13
    assert penalty(r1=0.2, interval=8) == pytest.approx(10.4)  # every 8 updates, so 8 · 1.3
    alpha = torch.rand(3, 1, 1, 1, generator=torch.Generator().manual_seed(5))
    expected = gradient_penalty(half_norm_sq, REAL, FAKE, alpha).item()
    assert penalty(gradient_penalty=10.0, r1=0.2, interval=2) == pytest.approx(2 * (10 * expected + 1.3))
    labels = torch.eye(4, dtype=torch.float64)[[2, 2, 2, 3, 3, 3]]  # real images have class 2, generated ones class 3
    assert penalty(labels, r1=0.2) == pytest.approx(5.2)  # 0.2 / 2 · 2² · 13
    expected = gradient_penalty(lambda x: 2 * half_norm_sq(x), REAL, FAKE, alpha).item()
    assert penalty(labels, gradient_penalty=1.0) == pytest.approx(expected)


# The step


def random_batch(count: int = 9, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Real images and latent vectors in float64."""
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 8, 8, generator=rng).double() * 2 - 1, torch.randn(count, 100, generator=rng).double()


def networks_and_optimizers() -> tuple[Any, ...]:
    config = GANConfig(learning_rate=1e-3)
    generator, discriminator = (network.double() for network in build_networks(config, (1, 8, 8)))
    return generator, discriminator, *build_optimizers(config, generator, discriminator)


def usual_step(G: Generator, D: Discriminator, opt_G: Any, opt_D: Any, real: Tensor, z: Tensor) -> list[Tensor]:
    """The step of the public script: it updates G, and then D on the images from before that update."""
    loss = nn.BCELoss()
    valid, fake = torch.ones(len(z), 1, dtype=real.dtype), torch.zeros(len(z), 1, dtype=real.dtype)
    opt_G.zero_grad()
    images = G(z)
    g_loss = loss(D(images), valid)
    g_loss.backward()
    opt_G.step()
    opt_D.zero_grad()
    d_loss = (loss(D(real), valid) + loss(D(images.detach()), fake)) / 2
    d_loss.backward()
    opt_D.step()
    return [g_loss.detach(), d_loss.detach()]


def test_updates_equal_those_of_the_usual_loop() -> None:
    models, usual = networks_and_optimizers(), networks_and_optimizers()
    plain = [torch.optim.Adam(one.parameters(), lr=1e-3, betas=(0.5, 0.999)) for one in usual[:2]]
    for seed, count in enumerate((16, 16, 7, 16, 2, 16)):
        real, z = random_batch(count, seed)
        probabilities = usual[1](real).mean(), usual[1](copy.deepcopy(usual[0])(z)).mean()
        result = gan_step(*models, real, z)
        expected = (*usual_step(*usual[:2], *plain, real, z), *probabilities)
        torch.testing.assert_close(tuple(result), expected)
        assert not any(value.requires_grad or value.dim() for value in result)
    for network, usual_network in zip(models[:2], usual[:2], strict=True):
        # A bias before BatchNorm has no gradient but rounding errors, which Adam blows up to some 1e-8.
        torch.testing.assert_close(dict(network.state_dict()), dict(usual_network.state_dict()), rtol=1e-7, atol=1e-7)


def test_each_network_descends_the_gradient_of_its_own_loss_at_the_weights_before() -> None:
    """With plain gradient descent and a learning rate of 1, weights change by that gradient."""
    G, D, *_ = networks_and_optimizers()
    config, (real, z) = GANConfig(loss="hinge", r1=0.3), random_batch()
    x = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(D.logits(x).sum(), x, create_graph=True)
    g_loss, d_loss = (loss(D.logits(real), D.logits(G(z))) for loss in LOSSES[config.loss][:2])
    expected = []
    for loss, network in ((g_loss, G), (d_loss + config.r1 / 2 * gradient.square().sum() / len(z), D)):
        parameters = list(network.parameters())
        grads = torch.autograd.grad(loss, parameters, retain_graph=True)
        expected += [p.detach() - g for p, g in zip(parameters, grads, strict=True)]
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 100.0)  # what an earlier backward pass left behind
    optimizers = (torch.optim.SGD(network.parameters(), lr=1.0) for network in (G, D))
    gan_step(G, D, *optimizers, real, z, options=build_options(config, LOSSES[config.loss]))
    found = [p.detach() for network in (G, D) for p in network.parameters()]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_parts_of_a_step_stay_on_the_device_of_their_arguments() -> None:
    config = GANConfig(r1=0.1, gradient_penalty=1.0, discriminator_dropout=0.3, ema=0.9)
    G, D, *_, average = build_models(config, (1, 8, 8), 3, torch.device("meta"))
    with torch.device("meta"):
        real, z, labels = torch.zeros(4, 1, 8, 8), torch.zeros(4, 103), torch.zeros(8, 3)
    fake = shift(G(z), 0.5, None)
    penalty = discriminator_penalty(Penalties(0.1, 1.0), D, real, fake.detach(), labels)
    found = [penalty, fake, *D.paired_logits(real, fake, labels), *average.parameters()]
    assert all(value.is_meta for value in found)


def test_bf16_computes_nearly_the_same() -> None:
    results = []
    for precision in ("fp32", "bf16"):
        networks, (real, z) = build_networks(GANConfig(), (1, 8, 8)), random_batch(64)
        options, optimizers = StepOptions(precision=precision), build_optimizers(GANConfig(), *networks)
        results.append(torch.stack(gan_step(*networks, *optimizers, real.float(), z.float(), options=options)))
        assert all(parameter.dtype == torch.float32 for network in networks for parameter in network.parameters())
    torch.testing.assert_close(results[0], results[1], rtol=1e-2, atol=1e-2)
    assert not torch.equal(results[0], results[1])


# Shifts


def shifted(batch: Tensor, probability: float = 1.0) -> Tensor:
    return shift(batch, probability, torch.Generator().manual_seed(0))


def test_the_discriminator_sees_shifted_real_and_generated_images(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = build_networks(GANConfig(), (1, 28, 28))
    real, z = torch.rand(9, 1, 28, 28), torch.randn(9, 100)
    seen, logits = [], networks[1].logits
    monkeypatch.setattr(networks[1], "logits", lambda x, *others: (seen.append(x.detach()), logits(x, *others))[1])
    rng = torch.Generator().manual_seed(0)
    expected = [shift(x, 0.7, rng) for x in (real, copy.deepcopy(networks[0])(z).detach())]
    options, optimizers = StepOptions(shift_probability=0.7), build_optimizers(GANConfig(), *networks)
    gan_step(*networks, *optimizers, real, z, options=options, rng=torch.Generator().manual_seed(0))
    assert not torch.equal(expected[0], real)
    torch.testing.assert_close(seen, [torch.cat(expected)])


@pytest.mark.parametrize(("side", "reach"), [(27, 0), (28, 1), (55, 1), (56, 2)])
def test_the_shifts_are_those_of_an_image_padded_with_its_edge_and_reach_further_in_large_ones(
    side: int, reach: int
) -> None:
    image = torch.rand(5, side, dtype=torch.float64)
    padded = np.pad(image.numpy(), reach, mode="edge")
    steps = range(-reach, reach + 1)
    expected = {padded[reach - dy :, reach - dx :][:5, :side].tobytes() for dy in steps for dx in steps}
    batch = image.expand(1000, 1, 5, side)
    assert {one.numpy().tobytes() for one in shifted(batch)} == expected
    assert shifted(batch, 0.0) is batch
    shifted(torch.zeros(1, 1, 1024, 1024))  # a table of all 73² shifts would not fit into memory


def test_each_shift_is_as_frequent_as_the_probability_says_the_same_for_all_channels_and_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step, "SIDE", 3)
    batch = torch.arange(9.0).view(1, 1, 3, 3).expand(20_000, 3, 3, 3)
    for probability in (0.3, 1.0):
        result = shifted(batch, probability)
        assert result.equal(result[:, :1].expand_as(result))
        center = result[:, 0, 1, 1].long()  # the pixel that came to the center
        expected = np.full(9, probability / 9)
        expected[4] += 1 - probability
        assert chisquare(center.bincount(minlength=9).numpy(), 20_000 * expected).pvalue > 1e-3
        rng = RowsRng(torch.Generator().manual_seed(0), BatchRows(300, 20_000, 20_000))
        last = shift(batch[300:], probability, rng)
        assert last.equal(result[300:])
