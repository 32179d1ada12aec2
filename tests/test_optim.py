"""Adam with rounded copies: torch's own Adam is the oracle, natively and where there is no compiler."""

import copy
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import Adam

from reviver.gan import optim
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.optim import MasterWeightAdam, NegativeMomentumAdam, bf16_copy

SIZES = ((100, 70), (3, 1), (64, 129))
"""Of linear layers: of more than one block, of a single number, of blocks that are not full."""


@pytest.fixture(params=["native", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways that the update is made."""
    name = str(request.param)
    if name == "torch":
        monkeypatch.setattr(optim.UPDATE, "_loaded", [None])
    elif optim.UPDATE.library() is None:
        pytest.skip("no native update on this machine")
    return name


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleList([*(nn.Linear(*size) for size in SIZES), nn.BatchNorm1d(5)])


def gradients(copies: nn.Module, count: int) -> Iterator[list[Tensor]]:
    """Gradients of updates, of very different sizes, in the dtypes of the parameters of `copies`."""
    random = torch.Generator().manual_seed(1)
    for number in range(count):
        yield [
            (torch.randn(one.shape, generator=random) * 10.0 ** (number % 7 - 3)).to(one.dtype)
            for one in copies.parameters()
        ]


def update(optimizer: MasterWeightAdam[nn.Module], found: list[Tensor]) -> None:
    """Make one update by the gradients `found`."""
    for mine, gradient in zip(optimizer.rounded.parameters(), found, strict=True):
        mine.grad = gradient
    optimizer.step()


@pytest.mark.parametrize("beta1", [0.0, 0.5, -0.3])
def test_updates_are_those_of_torch(way: str, beta1: float) -> None:
    ours, theirs = network(), network()
    optimizer = MasterWeightAdam(ours, lr=0.01, betas=(beta1, 0.999))
    oracle = Adam(theirs.parameters(), lr=0.01, betas=(0.0, 0.999), foreach=False)
    oracle.param_groups[0]["betas"] = (beta1, 0.999)  # of which torch refuses those below 0 only at first
    for found in gradients(optimizer.rounded, 9):
        for mine, weight, gradient in zip(optimizer.rounded.parameters(), theirs.parameters(), found, strict=True):
            mine.grad, weight.grad = gradient, gradient.float()
        optimizer.step()
        oracle.step()
        oracle.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"] = 0.008  # as a schedule does
    torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()), rtol=1e-6, atol=1e-7)
    for weight, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine, wanted = optimizer.state[weight], oracle.state[expected]
        assert mine["step"] == wanted["step"] == 9
        torch.testing.assert_close(mine["exp_avg_sq"], wanted["exp_avg_sq"])
        if beta1 != 0:  # else the mean is the last gradient, which nobody asks for
            torch.testing.assert_close(mine["exp_avg"], wanted["exp_avg"])


def test_negative_momentum_takes_back_a_part_of_the_last_step() -> None:
    layer = nn.Linear(1, 1, bias=False)
    optimizer = NegativeMomentumAdam(layer, lr=0.1, betas=(-0.25, 0.0))  # β₂ = 0: a step is lr m / |g|, corrected
    nn.init.zeros_(layer.weight)
    places = [0.0]
    for gradient in (2.0, 2.0, -4.0):
        layer.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        places.append(layer.weight.item())
    # m = 2.5, 1.875, -5.46875 by algorithm 1, over 1 - (-¼)ᵗ = 1.25, 0.9375, 1.015625
    steps = [after - before for before, after in pairwise(places)]
    assert steps == pytest.approx([-0.1 * 2 / 2, -0.1 * 2 / 2, 0.1 * 5.46875 / 1.015625 / 4])


def test_copies_are_the_weights_rounded(way: str) -> None:
    ours = network()
    optimizer = MasterWeightAdam(ours, lr=0.01, betas=(0.5, 0.999))
    for found in gradients(optimizer.rounded, 3):
        update(optimizer, found)
        for mine, weight in zip(optimizer.rounded.parameters(), ours.parameters(), strict=True):
            assert torch.equal(mine, weight.to(mine.dtype))


@settings(deadline=None)
@given(weight=st.floats(width=32), gradient=st.floats(width=32))
def test_any_number_is_rounded_as_torch_does(weight: float, gradient: float) -> None:
    layer = nn.Linear(1, 1)
    optimizer = MasterWeightAdam(layer, lr=1e-3, betas=(0.0, 0.9))
    with torch.no_grad():
        layer.weight.fill_(weight)
    optimizer.rounded.weight.grad = torch.full((1, 1), gradient, dtype=torch.bfloat16)
    optimizer.step()
    torch.testing.assert_close(
        optimizer.rounded.weight, layer.weight.bfloat16(), rtol=0, atol=0, equal_nan=True, check_stride=False
    )


def test_other_layers_are_shared() -> None:
    generator = Generator(4, (1, 4, 4))
    mine = bf16_copy(generator)
    for layer, original in zip(mine.layers, generator.layers, strict=True):
        assert (layer is original) == isinstance(original, nn.BatchNorm1d)
        if isinstance(layer, nn.Linear):
            assert {one.dtype for one in layer.parameters()} == {torch.bfloat16}


def test_copies_follow_weights_that_were_loaded() -> None:
    discriminator = Discriminator((1, 4, 4))
    optimizer = MasterWeightAdam(discriminator, lr=1e-3, betas=(0.5, 0.999))
    discriminator.load_state_dict(Discriminator((1, 4, 4)).state_dict())
    for mine, weight in zip(optimizer.rounded.parameters(), discriminator.parameters(), strict=True):
        assert torch.equal(mine, weight.bfloat16())


def test_an_update_continues_from_a_saved_state(way: str) -> None:
    ours = network()
    optimizer = MasterWeightAdam(ours, lr=0.01, betas=(0.5, 0.999))
    steps = list(gradients(optimizer.rounded, 4))
    for number, found in enumerate(steps):
        if number == 2:
            saved = copy.deepcopy((ours.state_dict(), optimizer.state_dict()))
        update(optimizer, found)
    again = network()
    resumed = MasterWeightAdam(again, lr=0.01, betas=(0.5, 0.999))
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for found in steps[2:]:
        update(resumed, found)
    for mine, expected in zip(again.parameters(), ours.parameters(), strict=True):
        assert torch.equal(mine, expected)


def test_parameters_without_gradients_stay(way: str) -> None:
    ours = network()
    before = copy.deepcopy(list(ours.parameters()))
    optimizer = MasterWeightAdam(ours, lr=0.01, betas=(0.5, 0.999))
    first = next(optimizer.rounded.parameters())
    first.grad = torch.ones_like(first)
    optimizer.step()
    moved = [not torch.equal(one, old) for one, old in zip(ours.parameters(), before, strict=True)]
    assert moved == [True, *[False] * (len(before) - 1)]


def test_the_bits_do_not_depend_on_the_threads() -> None:
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            ours = network()
            optimizer = MasterWeightAdam(ours, lr=0.01, betas=(0.5, 0.999))
            for found in gradients(optimizer.rounded, 3):
                update(optimizer, found)
            results.append([one.detach().clone() for one in ours.parameters()])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(one, expected) for one, expected in zip(other, results[0], strict=True))
