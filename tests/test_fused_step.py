"""The fused training step: equal to the textbook's for every loss and option, and its backward pass to autograd's."""

import copy
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from reviver.errors import DataError
from reviver.gan import networks, pointwise, shifts
from reviver.gan.centering import CenteredDiscriminator
from reviver.gan.config import LOSSES, GANConfig
from reviver.gan.fused_step import discriminator_forward, fused_gan_step
from reviver.gan.losses import choose_losses
from reviver.gan.networks import Discriminator, Generator, one_hot
from reviver.gan.optim import compute_network
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepOptions, StepResult
from reviver.gan.training import build_networks, build_optimizers, choose_step, join_labels

# The whole step against the textbook's

LOSS_SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"loss": name} for name in LOSSES},
    "smoothing": {"label_smoothing": 0.2},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "r1": {"r1": 0.3},
    "r2": {"r2": 0.3},
    "gradient penalty": {"gradient_penalty": 2.0},
    "penalty interval": {"r1": 0.3, "r2": 0.2, "gradient_penalty": 0.5, "penalty_interval": 2},
    "dropout": {"discriminator_dropout": 0.3},
    "dropout and penalties": {"discriminator_dropout": 0.3, "r1": 0.3, "gradient_penalty": 0.5},
    "spectral norm": {"spectral_norm": True, "r1": 0.1},
    "packing": {"packing": 3, "gradient_penalty": 0.5},
    "spectral norm and penalties": {"spectral_norm": True, "r1": 0.1, "r2": 0.2, "discriminator_dropout": 0.3},
    "centered": {"input_centering": "auto", "r1": 0.3, "r2": 0.2, "seed": 1},  # with 0, rounding to bf16 flips a unit
    "centered packs": {"input_centering": 1.7, "conditional": True, "packing": 2, "r1": 0.3, "gradient_penalty": 0.5},
    "shifts": {"shift_probability": 0.5},
    "shifts of packs": {"shift_probability": 1.0, "packing": 2, "r1": 0.3, "r2": 0.2, "gradient_penalty": 0.5},
    "conditional": {"conditional": True},
    "conditional penalties": {"conditional": True, "packing": 2, "r1": 0.3, "r2": 0.2, "gradient_penalty": 0.5},
    "discriminator steps": {"discriminator_steps": 2, "discriminator_learning_rate": 3e-3},
    "negative momentum": {"beta1": -0.3},
}
NUM_CLASSES, BATCH, STEPS = 4, 12, 3


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use small networks, for speed."""
    monkeypatch.setattr(networks, "GENERATOR_WIDTHS", (16, 24, 20, 28))
    monkeypatch.setattr(networks, "DISCRIMINATOR_WIDTHS", (24, 16))
    monkeypatch.setattr(shifts, "SIDE", 6)  # the size of the images, which are shifted like those of MNIST


class Trained(NamedTuple):
    """A few steps of one kind: results, gradients of each network in each step, networks, and rng at the end."""

    results: list[StepResult]
    gradients: list[list[Tensor]]
    networks: tuple[Generator, Discriminator]
    rng_state: Tensor


def take_steps(config: GANConfig, dtype: torch.dtype, steps: int, eps: float = 1e-8) -> Trained:
    """Train from the same weights on the same batches with the step that `config` chooses."""
    num_classes = NUM_CLASSES if config.conditional else 0
    generator, discriminator = (one.to(dtype) for one in build_networks(config, (1, 6, 6), num_classes))
    if isinstance(discriminator, CenteredDiscriminator):
        discriminator.set_centering(torch.linspace(-0.9, 0.3, 36, dtype=dtype).view(1, 6, 6), 1.7)
    optimizers = build_optimizers(config, generator, discriminator)
    for optimizer in optimizers:
        optimizer.param_groups[0]["eps"] = eps
    data_rng, rng = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    results, gradients = [], []
    for step in range(steps):
        real = (torch.rand(BATCH, 1, 6, 6, generator=data_rng) * 2 - 1).to(dtype)
        z = generator.sample_latents(BATCH, data_rng).to(dtype)
        labels = None
        if num_classes:
            classes = one_hot(torch.randint(num_classes, (BATCH,), generator=data_rng), num_classes).to(dtype)
            labels = join_labels(classes, generator, z)
        options = StepOptions.from_config(config, step)
        step_function = choose_step(config)
        loss = choose_losses(config.loss, config.label_smoothing)
        result = step_function(
            generator, discriminator, *optimizers, real, z, loss, options=options, labels=labels, rng=rng
        )
        results.append(result)
        pairs = zip((generator, discriminator), optimizers, strict=True)
        parameters = [one for network, optimizer in pairs for one in compute_network(network, optimizer).parameters()]
        gradients.append([torch.zeros_like(one) if one.grad is None else one.grad.clone() for one in parameters])
    return Trained(results, gradients, (generator, discriminator), rng.get_state())


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("settings", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("loss", LOSS_SETTINGS.values(), ids=LOSS_SETTINGS)
def test_the_fused_step_equals_the_textbooks(loss: dict[str, Any], settings: dict[str, Any]) -> None:
    settings = {"batch_size": BATCH, "latent_size": 5, "learning_rate": 1e-3, **loss, **settings}
    textbook, fused = (take_steps(GANConfig(**settings, fused=one), torch.float64, STEPS) for one in (False, True))
    torch.testing.assert_close(fused.results, textbook.results, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(fused.gradients, textbook.gradients, rtol=1e-7, atol=1e-10)
    for network, expected in zip(fused.networks, textbook.networks, strict=True):
        torch.testing.assert_close(dict(network.state_dict()), dict(expected.state_dict()), rtol=1e-6, atol=1e-7)
    assert torch.equal(fused.rng_state, textbook.rng_state), "both sample the same masks"


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("settings", OPTIONS.values(), ids=OPTIONS)
def test_in_float32_the_native_passes_make_the_textbooks_step(settings: dict[str, Any]) -> None:
    settings = {"batch_size": BATCH, "latent_size": 5, "learning_rate": 1e-3, **settings}
    textbook, fused = (take_steps(GANConfig(**settings, fused=one), torch.float32, 1, 1.0) for one in (False, True))
    torch.testing.assert_close(fused.results, textbook.results, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fused.gradients, textbook.gradients, rtol=1e-3, atol=1e-5)
    for network, expected in zip(fused.networks, textbook.networks, strict=True):
        torch.testing.assert_close(dict(network.state_dict()), dict(expected.state_dict()), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("settings", OPTIONS.values(), ids=OPTIONS)
def test_in_bf16_the_native_passes_are_as_exact_as_the_textbooks(settings: dict[str, Any]) -> None:
    """They round at other places, which may change the sign of an activation near 0: both are compared with float32."""
    settings = {"batch_size": BATCH, "latent_size": 5, "learning_rate": 1e-3, **settings}
    exact, textbook, fused = (
        take_steps(GANConfig(**settings, **more), torch.float32, 1, 1.0).gradients[0]
        for more in ({"fused": False}, {"fused": False, "precision": "bf16"}, {"precision": "bf16"})
    )
    errors = [
        sum(float((one.float() - wanted).norm()) for one, wanted in zip(gradients, exact, strict=True))
        for gradients in (textbook, fused)
    ]
    assert errors[1] <= 2 * errors[0] + 0.05 * sum(float(one.norm()) for one in exact)


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("settings", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("loss", LOSS_SETTINGS.values(), ids=LOSS_SETTINGS)
def test_in_bf16_the_fused_step_is_close_to_the_textbooks(
    loss: dict[str, Any], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointwise.PASSES, "_loaded", [None])  # the passes of torch round as the textbook's step does
    settings = {"batch_size": BATCH, "latent_size": 5, "learning_rate": 1e-3, **loss, **settings, "precision": "bf16"}
    before = build_networks(GANConfig(**settings), (1, 6, 6), NUM_CLASSES if settings.get("conditional") else 0)
    # With an eps of 1, Adam's update is nearly proportional to the gradient; else it has the sign of rounding errors.
    textbook, fused = (take_steps(GANConfig(**settings, fused=one), torch.float32, 1, 1.0) for one in (False, True))
    torch.testing.assert_close(fused.results, textbook.results, rtol=2e-2, atol=2e-2)
    assert_near(fused.gradients[0], textbook.gradients[0])
    updates = []
    for trained in (fused, textbook):
        initial, final = (
            [one for network in pair for one in network.parameters()] for pair in (before, trained.networks)
        )
        updates.append([(after - old).detach() for after, old in zip(final, initial, strict=True)])
    assert_near(*updates)
    assert torch.equal(fused.rng_state, textbook.rng_state)


def assert_near(tensors: list[Tensor], expected: list[Tensor]) -> None:
    """Check each tensor to a tenth of its norm; some, as of biases before BatchNorm, are rounding errors and no more."""
    whole = sum(float(one.float().norm()) for one in expected)
    for tensor, wanted in zip(tensors, expected, strict=True):
        assert (tensor.float() - wanted.float()).norm() <= 0.1 * wanted.float().norm() + 2e-3 * whole


def test_the_setting_fused_chooses_the_step() -> None:
    assert (choose_step(GANConfig()), choose_step(GANConfig(fused=False))) == (fused_gan_step, gan_step)


# The discriminator's pass against autograd

NETWORK_OPTIONS: dict[str, dict[str, Any]] = {
    "report": {},
    "dropout": {"dropout": 0.4},
    "spectral norm": {"spectral_norm": True},
    "packing": {"packing": 3},
    "classes": {"num_classes": 4},
    "all": {"dropout": 0.4, "spectral_norm": True, "packing": 2, "num_classes": 4},
}


def build_case(options: dict[str, Any]) -> tuple[Discriminator, Tensor, Tensor, Tensor | None]:
    """A discriminator of small images in float64, six real and six generated images, and the classes of all."""
    torch.manual_seed(0)
    discriminator = Discriminator((2, 4, 3), **options).double()
    real, fake = torch.randn(2, 6, 2, 4, 3, dtype=torch.float64)
    count = discriminator.num_classes
    labels = one_hot(torch.randint(count, (12,)), count).double() if count else None
    return discriminator, real, fake, labels


@pytest.mark.parametrize("options", NETWORK_OPTIONS.values(), ids=NETWORK_OPTIONS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_gradients_are_those_of_autograd(options: dict[str, Any], mode: str) -> None:
    discriminator, real, fake, labels = build_case(options)
    discriminator.train(mode == "train")
    other = copy.deepcopy(discriminator)

    forward = discriminator_forward(discriminator, real, fake, labels, rng=torch.Generator().manual_seed(1))
    images = torch.cat([real, fake]).requires_grad_()
    logits = other.logits(images, labels, rng=torch.Generator().manual_seed(1))
    torch.testing.assert_close(torch.cat([forward.real_logits, forward.fake_logits]), logits)

    grad_logits = torch.randn_like(logits)
    *expected, of_images = torch.autograd.grad(logits, [*other.parameters(), images], grad_logits)
    torch.testing.assert_close(forward.parameter_gradients(grad_logits), tuple(expected))
    torch.testing.assert_close(forward.fake_gradient(grad_logits[len(grad_logits) // 2 :]), of_images[6:])
    operands = [weight.detach() for weight in forward.weights]
    for k, factor in enumerate(forward.factors):
        expected_gradient = factor * (forward.logit_gradients[k + 1] @ operands[k + 1])
        torch.testing.assert_close(forward.logit_gradients[k], expected_gradient)


def test_one_pass_refines_the_estimate_of_spectral_normalization_once() -> None:
    discriminator, real, fake, _ = build_case(NETWORK_OPTIONS["spectral norm"])
    other = copy.deepcopy(discriminator)
    discriminator_forward(discriminator, real, fake)
    other.logits(real)
    torch.testing.assert_close(dict(discriminator.state_dict()), dict(other.state_dict()))


def test_in_bf16_the_gradients_are_close() -> None:
    discriminator, real, fake, _ = build_case({})
    discriminator.float()
    images = real.float(), fake.float()
    grad_logits = torch.rand(12, 1)  # of one sign, so that sums do not cancel
    exact = discriminator_forward(discriminator, *images)
    rounded = discriminator_forward(discriminator, *images, dtype=torch.bfloat16)
    for value, expected in zip(
        (*rounded.parameter_gradients(grad_logits), rounded.fake_gradient(grad_logits[6:]), rounded.real_logits),
        (*exact.parameter_gradients(grad_logits), exact.fake_gradient(grad_logits[6:]), exact.real_logits),
        strict=True,
    ):
        assert (value.float() - expected).norm() < 0.1 * expected.norm()


def test_images_of_another_size_are_refused() -> None:
    discriminator, real, _, _ = build_case({})
    with pytest.raises(DataError, match=r"^images must have shape \[N, 2, 4, 3\], got \[6, 2, 3, 3\]"):
        discriminator_forward(discriminator, real, real[..., :3, :])


def test_a_master_weight_optimizer_refuses_a_step_without_gradients_of_its_copy() -> None:
    config = GANConfig(precision="bf16")
    generator, discriminator = build_networks(config, (1, 6, 6))
    optimizers = build_optimizers(config, generator, discriminator)
    real, z = torch.zeros(2, 1, 6, 6), torch.zeros(2, 100)
    with pytest.raises(ValueError, match=r"^a parameter of compute_network must have a gradient, got none; use fused"):
        gan_step(generator, discriminator, *optimizers, real, z, options=StepOptions(precision="bf16"))
