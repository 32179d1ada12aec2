"""The masks of the hidden state: probability, independence, and what they depend on."""

from typing import get_args

import pytest
import torch

from reviver.lstm.dropout import draw_seed, dropout_masks, row_keys, unit_bits
from reviver.settings.lstm_network import DropoutKind

SEED = torch.tensor(1234567)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_unit_is_dropped_with_probability_p_and_the_mean_stays_one(p):
    masks = dropout_masks(SEED, 50, 100, 100, p, "step")
    n = masks.numel()
    spread = (p * (1 - p) / n) ** 0.5
    assert abs((masks == 0).double().mean().item() - p) < 5 * spread
    assert masks.mean().item() == pytest.approx(1.0, abs=5 * spread / (1 - p))
    assert set(masks.unique().tolist()) == {0.0, 1 / (1 - p)}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("lag", [1, 2, 16])
def test_neighbours_are_independent(axis, lag):
    signs = dropout_masks(SEED, 64, 64, 64, 0.5, "step") - 1.0
    product = signs.narrow(axis, 0, 64 - lag) * signs.narrow(axis, lag, 64 - lag)
    assert abs(product.mean().item()) < 5 / product.numel() ** 0.5


def test_all_32_bits_are_fair_and_uncorrelated():
    key = row_keys(SEED, torch.arange(64)[:, None], torch.arange(64)[None, :])
    bits = unit_bits(key[:, :, None], torch.arange(64)).flatten()
    assert bits.min() >= 0
    assert bits.max() < 2**32
    each = (((bits[:, None] >> torch.arange(32)) & 1) * 2 - 1).double()  # [n, 32]
    correlation = each.T @ each / len(each) - torch.eye(32, dtype=torch.float64)
    assert each.mean(0).abs().max() < 5 / len(each) ** 0.5
    assert correlation.abs().max() < 5 / len(each) ** 0.5


def test_known_bits():
    """SplitMix64's published first outputs from seed 1234567, and bits that must never change: runs are resumed with them."""
    keys = row_keys(SEED, torch.tensor(0), torch.arange(2))
    assert [key % 2**64 for key in keys.tolist()] == [6457827717110365317, 3203168211198807973]
    assert unit_bits(keys, torch.tensor(5)).tolist() == [3544763239, 255776611]


def test_masks_do_not_depend_on_how_many_there_are():
    large = dropout_masks(SEED, 9, 8, 7, 0.5, "step")
    assert torch.equal(dropout_masks(SEED, 4, 3, 2, 0.5, "step"), large[:4, :3, :2])


def test_kinds():
    step, variational, zoneout = (dropout_masks(SEED, 6, 5, 40, 0.5, kind) for kind in get_args(DropoutKind))
    assert not torch.equal(step[0], step[1])
    assert torch.equal(variational, step[:1].expand(6, 5, 40))
    assert torch.equal(zoneout, step / 2)


def test_seeds_come_from_the_generator():
    first, again, other = (draw_seed(torch.Generator().manual_seed(n)) for n in (1, 1, 2))
    assert first == again != other
    torch.manual_seed(1)
    assert draw_seed() == first
