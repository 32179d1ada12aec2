"""The prototype of benchmarks/gan_search: without ideas it is the package's step, and its gradients are autograd's."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.gan_search.prototype import SHIFTS, Forward, Ideas, InputMap, Prototype, shift
from benchmarks.gan_search.run import VARIANTS, WHOLE_EPOCHS, Variant, make_cell, make_config
from reviver.config import Precision
from reviver.gan import generator_pass, pointwise
from reviver.gan.config import GANConfig, LossName
from reviver.gan.data.image_set import ImageSet, from_pixels
from reviver.gan.fused_step import fused_gan_step
from reviver.gan.presets import PRESETS
from reviver.gan.step_options import StepOptions
from reviver.gan.training import build_models

COUNT = 24
CONFIG = replace(PRESETS["best"], batch_size=COUNT, r1=0.0, shift_probability=0.0, precision="fp32", epochs=1)


def make_images() -> ImageSet:
    pixels = torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(pixels, None, "random")


def latents(seed: int) -> Tensor:
    return torch.randn(COUNT, 100, generator=torch.Generator().manual_seed(seed))


def gradients_of(config: GANConfig, ideas: Ideas) -> tuple[Prototype, list[Tensor], list[Tensor]]:
    """Return a prototype before its first step, and the gradients of that step: of G, of D."""
    stepped = Prototype(config, ideas, make_images(), ())
    stepped.step(stepped.images[:COUNT], latents(1), 0.0)
    of_g, of_d = (
        [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        for network in stepped.models[:2]
    )
    return Prototype(config, ideas, make_images(), ()), of_g, of_d


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("loss", ["non-saturating", "relativistic"])
def test_without_ideas_it_is_the_fused_step(
    precision: Precision, loss: LossName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointwise.PASSES, "_loaded", [None])  # the prototype computes with torch alone
    monkeypatch.setattr(generator_pass, "can_pass", lambda *_: False)
    config = replace(CONFIG, precision=precision, loss=loss, discriminator_steps=2)
    prototype = Prototype(config, Ideas(scale=0), make_images(), ())
    generator, discriminator, opt_g, opt_d, _ = build_models(config, (1, 28, 28), 0, torch.device("cpu"))
    for step in range(4):
        real, z = from_pixels(prototype.data.images[step : step + COUNT]), latents(step)
        prototype.step(real.flatten(1), z, 0.0)
        options = StepOptions.from_config(config, step)
        fused_gan_step(generator, discriminator, opt_g, opt_d, real, z, prototype.loss, options=options)
    for ours, theirs in ((prototype.models.generator, generator), (prototype.models.discriminator, discriminator)):
        for name, weight in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], weight), name


@pytest.mark.parametrize(
    "ideas",
    [Ideas(), Ideas(whitening=0.3), Ideas(pixel_scaling=0.5), Ideas(scale=0)],
    ids=["centred", "whitened", "scaled", "plain"],
)
def test_penalty_gradients_are_those_of_autograd(ideas: Ideas) -> None:
    prototype = Prototype(CONFIG, ideas, make_images(), ())
    discriminator = prototype.models.discriminator
    images = prototype.images[:COUNT].clone().requires_grad_()
    logits = discriminator.layers(prototype.map.apply(images))
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    penalty = 0.35 * gradient.square().sum(1).mean()
    expected = torch.autograd.grad(penalty, list(discriminator.parameters()), materialize_grads=True)
    found = [torch.zeros_like(parameter) for parameter in discriminator.parameters()]
    forward = Forward(discriminator.linear_layers, prototype.map.apply(prototype.images[:COUNT]))
    forward.add_penalty_gradients(found, slice(COUNT), 0.7, prototype.map)
    torch.testing.assert_close(found, list(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ideas", [Ideas(), Ideas(whitening=0.3), Ideas(feature_matching=3.0)])
def test_generator_gradients_are_those_of_autograd(ideas: Ideas) -> None:
    prototype, found, _ = gradients_of(CONFIG, ideas)
    generator, discriminator, *_ = prototype.models
    body = discriminator.layers[:-1]
    hidden = body(prototype.map.apply(generator(latents(1)).flatten(1)))
    loss = functional.softplus(-discriminator.layers[-1](hidden)).mean()
    real = body(prototype.map.apply(prototype.images[:COUNT]))
    loss = loss + ideas.feature_matching * (real.mean(0) - hidden.mean(0)).square().sum()
    expected = torch.autograd.grad(loss, list(generator.parameters()))
    torch.testing.assert_close(found, list(expected), rtol=1e-3, atol=1e-6)


def test_moved_images_give_the_generator_the_gradient_moved_back() -> None:
    prototype, found, _ = gradients_of(CONFIG, Ideas(shifts=1.0))
    generator, discriminator, *_ = prototype.models
    torch.rand(2 * COUNT, generator=prototype.idea_rng)
    moves = torch.randint(len(SHIFTS), (2 * COUNT,), generator=prototype.idea_rng)[COUNT:]
    seen = shift(generator(latents(1)).flatten(1), moves)
    loss = functional.softplus(-discriminator.layers(prototype.map.apply(seen))).mean()
    expected = torch.autograd.grad(loss, list(generator.parameters()))
    torch.testing.assert_close(found, list(expected), rtol=1e-3, atol=1e-6)


def test_discriminator_gradients_with_consistency_are_those_of_autograd() -> None:
    prototype, _, found = gradients_of(CONFIG, Ideas(consistency=2.0))
    generator, discriminator, *_ = prototype.models
    moves = torch.randint(len(SHIFTS), (2 * COUNT,), generator=prototype.idea_rng)
    images = torch.cat([prototype.images[:COUNT], generator(latents(1)).detach().flatten(1)])
    logits, moved = (discriminator.layers(prototype.map.apply(x)) for x in (images, shift(images, moves)))
    cross_entropy = (functional.softplus(-logits[:COUNT]).mean() + functional.softplus(logits[COUNT:]).mean()) / 2
    loss = cross_entropy + 2.0 * (logits - moved).square().sum() / COUNT
    expected = torch.autograd.grad(loss, list(discriminator.parameters()))
    torch.testing.assert_close(found, list(expected), rtol=1e-3, atol=1e-6)


def test_replayed_images_enter_the_loss_of_the_discriminator() -> None:
    prototype, _, found = gradients_of(CONFIG, Ideas(replay=0.25))
    generator, discriminator, *_ = prototype.models
    inputs = prototype.map.apply(generator(latents(1)).detach().flatten(1))
    chosen = (
        torch.randint(8192, (COUNT // 4,), generator=prototype.idea_rng) % COUNT
    )  # the memory repeats the first batch
    real = discriminator.layers(prototype.map.apply(prototype.images[:COUNT]))
    loss_of = partial(prototype.loss.discriminator, real)
    loss = 0.75 * loss_of(discriminator.layers(inputs)) + 0.25 * loss_of(discriminator.layers(inputs[chosen]))
    expected = torch.autograd.grad(loss, list(discriminator.parameters()))
    torch.testing.assert_close(found, list(expected), rtol=1e-3, atol=1e-6)


def test_opposite_moves_cancel() -> None:
    images = nn.functional.pad(torch.rand(len(SHIFTS), 1, 24, 24), (2, 2, 2, 2)).flatten(1)
    moves = torch.arange(len(SHIFTS))
    moved = shift(images, moves, 0.0)
    torch.testing.assert_close(shift(moved, moves.flip(0), 0.0), images)
    assert [bool(same) for same in (moved == images).all(1)] == [False] * 4 + [True] + [False] * 4


def test_flattened_inputs_keep_their_variance() -> None:
    images = torch.randn(500, 784) * torch.linspace(0.1, 2, 784)
    plain, *others = (InputMap(images, ideas) for ideas in (Ideas(), Ideas(whitening=0.5), Ideas(pixel_scaling=1.0)))
    for other in others:
        inputs = other.apply(images)
        torch.testing.assert_close(
            inputs.square().sum(1).mean(), plain.apply(images).square().sum(1).mean(), rtol=0.01, atol=0
        )


def test_a_run_goes_on_from_its_state_bit_for_bit() -> None:
    config, data = replace(CONFIG, r1=0.2, epochs=2), make_images()
    whole, begun, resumed = (Prototype(config, Ideas(), data, (0.1,)) for _ in range(3))
    whole.train()
    begun.train(last=1)
    resumed.load_state(begun.state())
    resumed.train(1)
    expected, found = whole.averages[0.1].state_dict(), resumed.averages[0.1].state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert resumed.updates == whole.updates


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_every_variant_has_valid_settings_and_ideas(variant: Variant) -> None:
    arguments = dict(make_cell(variant, 0).arguments)
    assert json.loads(json.dumps(arguments)) == arguments
    make_config(0, arguments["settings"], WHOLE_EPOCHS)
    Ideas(**arguments["ideas"])
