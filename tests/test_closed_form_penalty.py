"""R1 and R2 in closed form: equal to autograd's gradients of gradients, for every kind of discriminator."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reviver.distributed.rows import BatchRows, all_rows
from reviver.gan.centering import CenteredDiscriminator
from reviver.gan.closed_form_penalty import linear_pieces, penalty_gradients
from reviver.gan.config import GANConfig
from reviver.gan.fused_step import discriminator_forward
from reviver.gan.networks import Discriminator, one_hot
from reviver.gan.penalties import discriminator_penalty, grad_norm_sq

IMAGES = 12

OPTIONS = st.fixed_dictionaries(
    {
        "packing": st.integers(1, 3),
        "num_classes": st.sampled_from([0, 3]),
        "dropout": st.sampled_from([0.0, 0.4]),
        "spectral_norm": st.booleans(),
    }
)
SHAPES = st.tuples(st.sampled_from([1, 3]), st.integers(2, 5), st.integers(2, 5))


def build_case(
    shape: tuple[int, int, int], options: dict[str, Any], is_centered: bool
) -> tuple[Discriminator, Tensor, Tensor, Tensor | None]:
    """A discriminator in float64, real and generated images, and the classes of all."""
    torch.manual_seed(0)
    discriminator = (CenteredDiscriminator if is_centered else Discriminator)(shape, **options).double()
    if isinstance(discriminator, CenteredDiscriminator):
        discriminator.set_centering(torch.rand(shape, dtype=torch.float64) - 1, 1.7)
    real, fake = torch.rand(2, IMAGES, *shape, dtype=torch.float64) * 2 - 1
    count = discriminator.num_classes
    labels = one_hot(torch.randint(count, (2 * IMAGES,)), count).double() if count else None
    return discriminator, real, fake, labels


def total(parts: list[tuple[Tensor, ...]]) -> list[Tensor]:
    return [torch.stack(gradients).sum(0) for gradients in zip(*parts, strict=True)]


@settings(deadline=None, max_examples=40)
@given(
    shape=SHAPES,
    options=OPTIONS,
    is_centered=st.booleans(),
    weights=st.sampled_from([{"r1": 0.3}, {"r2": 0.2}, {"r1": 0.3, "r2": 0.2, "gradient_penalty": 0.5}]),
    interval=st.integers(1, 4),
)
def test_the_gradients_are_those_of_autograd(
    shape: tuple[int, int, int], options: dict[str, Any], is_centered: bool, weights: dict[str, Any], interval: int
) -> None:
    discriminator, real, fake, labels = build_case(shape, options, is_centered)
    config = GANConfig(batch_size=IMAGES, packing=discriminator.packing, penalty_interval=interval, **weights)
    rows = all_rows(IMAGES // discriminator.packing)
    forward = discriminator_forward(discriminator, real, fake, labels, rng=torch.Generator())
    other = copy.deepcopy(discriminator)  # after the pass of the losses, which refines spectral normalization

    rngs = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    found = total(penalty_gradients(config, discriminator, forward, real, fake, labels, rng=rngs[0], rows=rows))
    penalty = discriminator_penalty(config, other, real, fake, labels, rngs[1], rows)
    expected = torch.autograd.grad(penalty, list(other.parameters()), materialize_grads=True)
    torch.testing.assert_close(found, list(expected), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(dict(discriminator.state_dict()), dict(other.state_dict()), rtol=0, atol=0)
    assert torch.equal(rngs[0].get_state(), rngs[1].get_state()), "both sample the same masks"


@settings(deadline=None, max_examples=20)
@given(shape=SHAPES, options=OPTIONS, is_centered=st.booleans())
def test_gradients_at_the_images_are_those_of_autograd(
    shape: tuple[int, int, int], options: dict[str, Any], is_centered: bool
) -> None:
    discriminator, real, _, labels = build_case(shape, options, is_centered)
    of_real = None if labels is None else labels[:IMAGES]
    other = copy.deepcopy(discriminator)
    pieces = linear_pieces(discriminator, real, of_real, rng=torch.Generator().manual_seed(1))
    expected = grad_norm_sq(lambda x: other.logits(x, of_real, torch.Generator().manual_seed(1)), real)
    torch.testing.assert_close(pieces.image_gradients().flatten(1).square().sum(1), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("packing", [1, 2])
def test_parts_of_the_batch_add_up(packing: int, dropout: float) -> None:
    discriminator, real, fake, _ = build_case((1, 4, 4), {"packing": packing, "dropout": dropout}, is_centered=True)
    config = GANConfig(r1=0.5, r2=0.2, packing=packing, batch_size=IMAGES)
    inputs = IMAGES // packing

    def compute(begin: int, end: int) -> list[Tensor]:
        rows, rng = BatchRows(begin, end, inputs), torch.Generator().manual_seed(4)
        images = rows.scaled(packing).take(real), rows.scaled(packing).take(fake)
        forward = discriminator_forward(discriminator, *images, rng=rng, rows=rows)
        return total(penalty_gradients(config, discriminator, forward, *images, None, rng=rng, rows=rows))

    parts = [compute(0, 2), compute(2, inputs), compute(3, 3)]
    assert all(gradient.eq(0).all() for gradient in parts[2]), "no rows"
    torch.testing.assert_close(total([tuple(part) for part in parts]), compute(0, inputs), rtol=1e-12, atol=1e-14)


def test_in_bf16_the_gradients_are_close_to_those_of_autocast() -> None:
    discriminator, real, fake, _ = build_case((1, 8, 8), {}, is_centered=True)
    discriminator.float()
    real, fake = real.float(), fake.float()
    config, rows = GANConfig(r1=0.5, precision="bf16"), all_rows(IMAGES)
    forward = discriminator_forward(discriminator, real, fake, dtype=torch.bfloat16)
    found = total(penalty_gradients(config, discriminator, forward, real, fake, None, rng=None, rows=rows))
    penalty = discriminator_penalty(config, discriminator, real, fake)
    expected = torch.autograd.grad(penalty, list(discriminator.parameters()), materialize_grads=True)
    for gradient, wanted in zip(found, expected, strict=True):
        assert (gradient - wanted).norm() <= 0.02 * wanted.norm()
