"""The training step: equal to the usual loop, each network by its own gradient, and its options."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reviver.gan.losses import LOSSES, choose_losses
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.shifts import shift
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepOptions
from reviver.runs.distributed.rows import all_rows
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import build_networks, build_optimizers


def random_batch(count: int = 9, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Real images and latent vectors in float64."""
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 8, 8, generator=rng).double() * 2 - 1, torch.randn(count, 100, generator=rng).double()


def networks_and_optimizers(**settings: Any) -> tuple[Any, ...]:
    config = GANConfig(learning_rate=1e-3, **settings)
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


@pytest.mark.parametrize("settings", [{}, {"loss": "hinge", "r1": 0.3}], ids=str)
def test_each_network_descends_the_gradient_of_its_own_loss_at_the_weights_before(settings: dict[str, Any]) -> None:
    """With plain gradient descent and a learning rate of 1, weights change by that gradient."""
    G, D, *_ = networks_and_optimizers()
    config, (real, z) = GANConfig(**settings), random_batch()
    x = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(D.logits(x).sum(), x, create_graph=True)
    g_loss, d_loss = (loss(D.logits(real), D.logits(G(z))) for loss in LOSSES[config.loss])
    expected = []
    for loss, network in ((g_loss, G), (d_loss + config.r1 / 2 * gradient.square().sum() / len(z), D)):
        parameters = list(network.parameters())
        grads = torch.autograd.grad(loss, parameters, retain_graph=True)
        expected += [p.detach() - g for p, g in zip(parameters, grads, strict=True)]
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 100.0)  # what an earlier backward pass left behind
    optimizers = (torch.optim.SGD(network.parameters(), lr=1.0) for network in (G, D))
    gan_step(G, D, *optimizers, real, z, options=StepOptions.from_config(config, 0))
    found = [p.detach() for network in (G, D) for p in network.parameters()]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_an_update_of_the_discriminator_alone_is_the_same_for_it() -> None:
    real, z = random_batch()
    both, alone = networks_and_optimizers(), networks_and_optimizers()
    before = copy.deepcopy(list(alone[0].parameters()))
    results = [gan_step(*both, real, z), gan_step(*alone, real, z, options=StepOptions(update_generator=False))]
    assert results[0] == results[1]
    assert all(map(torch.equal, both[1].parameters(), alone[1].parameters()))
    assert all(map(torch.equal, alone[0].parameters(), before))
    assert not any(map(torch.equal, both[0].parameters(), before))


def test_the_discriminator_sees_shifted_real_and_generated_images(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = build_networks(GANConfig(), (1, 28, 28))
    real, z = torch.rand(9, 1, 28, 28), torch.randn(9, 100)
    seen, logits = [], networks[1].logits
    monkeypatch.setattr(networks[1], "logits", lambda x, *others: (seen.append(x.detach()), logits(x, *others))[1])
    rng = torch.Generator().manual_seed(0)
    expected = [shift(x, 0.7, rng, all_rows(9)) for x in (real, copy.deepcopy(networks[0])(z).detach())]
    options, optimizers = StepOptions(shift_probability=0.7), build_optimizers(GANConfig(), *networks)
    gan_step(*networks, *optimizers, real, z, options=options, rng=torch.Generator().manual_seed(0))
    assert not torch.equal(expected[0], real)
    torch.testing.assert_close(seen, [torch.cat(expected)])


def test_bf16_computes_nearly_the_same() -> None:
    results = []
    for precision in ("fp32", "bf16"):
        config = GANConfig(precision=precision)
        networks = build_networks(config, (1, 28, 28))
        rng = torch.Generator().manual_seed(0)
        real, z = torch.rand(64, 1, 28, 28, generator=rng), torch.randn(64, 100, generator=rng)
        options, optimizers = StepOptions.from_config(config, 0), build_optimizers(config, *networks)
        results.append(torch.stack(gan_step(*networks, *optimizers, real, z, options=options)))
        assert all(parameter.dtype == torch.float32 for network in networks for parameter in network.parameters())
    torch.testing.assert_close(results[0], results[1], rtol=1e-2, atol=1e-2)
    assert not torch.equal(results[0], results[1])


def test_options_are_those_of_the_settings_and_of_the_number_of_the_step() -> None:
    assert StepOptions.from_config(GANConfig(), 0) == StepOptions()
    assert StepOptions().loss == choose_losses("non-saturating") == LOSSES["non-saturating"]
    options = StepOptions.from_config(GANConfig(precision="bf16", shift_probability=0.3, loss="hinge"), 0)
    assert (options.precision, options.shift_probability, options.loss) == ("bf16", 0.3, LOSSES["hinge"])
    for steps, updates in ((1, "111111"), (2, "010101"), (3, "001001")):
        config = GANConfig(discriminator_steps=steps)
        found = [StepOptions.from_config(config, step).update_generator for step in range(6)]
        assert found == [letter == "1" for letter in updates]
    for penalty in ("r1", "gradient_penalty"):
        config = GANConfig(penalty_interval=3, **{penalty: 1.0})
        due = [StepOptions.from_config(config, step).penalty for step in range(7)]
        assert due == [config, None, None, config, None, None, config]
