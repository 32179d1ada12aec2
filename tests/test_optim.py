"""Adam with master weights and bfloat16 copies: torch's own Adam is the oracle, with and without the native update."""

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
"""Of linear layers: more than one block of `adam.cpp`, a single number, and a block that is not full."""


@pytest.fixture(params=["native", "torch"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The native update, and torch's."""
    name = str(request.param)
    if name == "torch":
        monkeypatch.setattr(optim.UPDATE, "_loaded", [None])
    elif optim.UPDATE.library() is None:
        pytest.skip("no native update on this machine")
    return name


def build_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleList([*(nn.Linear(*size) for size in SIZES), nn.BatchNorm1d(5)])


def random_gradients(network: nn.Module, count: int) -> Iterator[list[Tensor]]:
    """Gradients for `count` updates, from 1e-3 to 1e3, in the dtypes of the parameters of `network`."""
    rng = torch.Generator().manual_seed(1)
    for number in range(count):
        yield [
            (torch.randn(parameter.shape, generator=rng) * 10.0 ** (number % 7 - 3)).to(parameter.dtype)
            for parameter in network.parameters()
        ]


def update(optimizer: MasterWeightAdam[nn.Module], gradients: list[Tensor]) -> None:
    """Make one update with `gradients`."""
    for parameter, gradient in zip(optimizer.compute_network.parameters(), gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()


@pytest.mark.parametrize("beta1", [0.0, 0.5, -0.3])
def test_updates_are_those_of_torch(backend: str, beta1: float) -> None:
    master, expected = build_network(), build_network()
    optimizer = MasterWeightAdam(master, lr=0.01, betas=(beta1, 0.999))
    oracle = Adam(expected.parameters(), lr=0.01, betas=(0.0, 0.999), foreach=False)
    oracle.param_groups[0]["betas"] = (beta1, 0.999)  # torch refuses β₁ < 0 in its constructor only
    for gradients in random_gradients(optimizer.compute_network, 9):
        parameters = optimizer.compute_network.parameters()
        for parameter, weight, gradient in zip(parameters, expected.parameters(), gradients, strict=True):
            parameter.grad, weight.grad = gradient, gradient.float()
        optimizer.step()
        oracle.step()
        oracle.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"] = 0.008  # as a schedule does
    torch.testing.assert_close(list(master.parameters()), list(expected.parameters()), rtol=1e-6, atol=1e-7)
    for weight, expected_weight in zip(master.parameters(), expected.parameters(), strict=True):
        state, expected_state = optimizer.state[weight], oracle.state[expected_weight]
        assert state["step"] == expected_state["step"] == 9
        torch.testing.assert_close(state["exp_avg_sq"], expected_state["exp_avg_sq"])
        if beta1 != 0:  # else the mean is the last gradient, which the native update does not store
            torch.testing.assert_close(state["exp_avg"], expected_state["exp_avg"])


@pytest.mark.parametrize("beta1", [0.0, 0.5, -0.3])
def test_in_float32_updates_are_those_of_torch_also_after_a_resume(backend: str, beta1: float) -> None:
    network, expected = build_network(), build_network()
    optimizer, oracle = (
        NegativeMomentumAdam(one, lr=0.01, betas=(beta1, 0.999), native=native)
        for one, native in ((network, True), (expected, False))
    )
    for number, gradients in enumerate(random_gradients(network, 6)):
        for one in (network, expected):
            for parameter, gradient in zip(one.parameters(), gradients, strict=True):
                parameter.grad = gradient.clone()
        optimizer.step()
        oracle.step()
        if number == 2:
            saved = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
            network = build_network()
            optimizer = NegativeMomentumAdam(network, lr=0.01, betas=(beta1, 0.999))
            network.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])
    torch.testing.assert_close(list(network.parameters()), list(expected.parameters()), rtol=1e-6, atol=1e-7)
    assert {state["step"].item() for state in optimizer.state.values()} == {6}


def test_a_state_that_is_loaded_later_is_used(backend: str) -> None:
    network = build_network()
    optimizer = NegativeMomentumAdam(network, lr=0.01, betas=(0.5, 0.999))
    results = []
    before = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    for _ in range(2):  # as a rollback does
        network.load_state_dict(before[0])
        optimizer.load_state_dict(copy.deepcopy(before[1]))
        for gradients in random_gradients(network, 3):
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
        results.append([weight.detach().clone() for weight in network.parameters()])
    assert all(map(torch.equal, *results))


def test_negative_momentum_reverses_a_part_of_the_last_step() -> None:
    layer = nn.Linear(1, 1, bias=False)
    optimizer = NegativeMomentumAdam(layer, lr=0.1, betas=(-0.25, 0.0))  # β₂ = 0: a step is lr m / |g|, bias-corrected
    nn.init.zeros_(layer.weight)
    weights = [0.0]
    for gradient in (2.0, 2.0, -4.0):
        layer.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        weights.append(layer.weight.item())
    # m = 2.5, 1.875, -5.46875 by algorithm 1, over 1 - (-¼)ᵗ = 1.25, 0.9375, 1.015625
    steps = [after - before for before, after in pairwise(weights)]
    assert steps == pytest.approx([-0.1 * 2 / 2, -0.1 * 2 / 2, 0.1 * 5.46875 / 1.015625 / 4])


def test_the_copy_has_the_rounded_weights(backend: str) -> None:
    master = build_network()
    optimizer = MasterWeightAdam(master, lr=0.01, betas=(0.5, 0.999))
    for gradients in random_gradients(optimizer.compute_network, 3):
        update(optimizer, gradients)
        for parameter, weight in zip(optimizer.compute_network.parameters(), master.parameters(), strict=True):
            assert torch.equal(parameter, weight.to(parameter.dtype))


@settings(deadline=None)
@given(weight=st.floats(width=32), gradient=st.floats(width=32))
def test_every_number_is_rounded_as_torch_does(weight: float, gradient: float) -> None:
    layer = nn.Linear(1, 1)
    optimizer = MasterWeightAdam(layer, lr=1e-3, betas=(0.0, 0.9))
    with torch.no_grad():
        layer.weight.fill_(weight)
    optimizer.compute_network.weight.grad = torch.full((1, 1), gradient, dtype=torch.bfloat16)
    optimizer.step()
    torch.testing.assert_close(
        optimizer.compute_network.weight, layer.weight.bfloat16(), rtol=0, atol=0, equal_nan=True, check_stride=False
    )


def test_batch_norm_layers_are_shared() -> None:
    generator = Generator(4, (1, 4, 4))
    copied = bf16_copy(generator)
    for layer, original in zip(copied.layers, generator.layers, strict=True):
        assert (layer is original) == isinstance(original, nn.BatchNorm1d)
        if isinstance(layer, nn.Linear):
            assert {parameter.dtype for parameter in layer.parameters()} == {torch.bfloat16}


def test_the_copy_follows_loaded_weights() -> None:
    discriminator = Discriminator((1, 4, 4))
    optimizer = MasterWeightAdam(discriminator, lr=1e-3, betas=(0.5, 0.999))
    discriminator.load_state_dict(Discriminator((1, 4, 4)).state_dict())
    for parameter, weight in zip(optimizer.compute_network.parameters(), discriminator.parameters(), strict=True):
        assert torch.equal(parameter, weight.bfloat16())


def test_an_update_continues_from_a_saved_state(backend: str) -> None:
    master = build_network()
    optimizer = MasterWeightAdam(master, lr=0.01, betas=(0.5, 0.999))
    steps = list(random_gradients(optimizer.compute_network, 4))
    for number, gradients in enumerate(steps):
        if number == 2:
            saved = copy.deepcopy((master.state_dict(), optimizer.state_dict()))
        update(optimizer, gradients)
    again = build_network()
    resumed = MasterWeightAdam(again, lr=0.01, betas=(0.5, 0.999))
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for gradients in steps[2:]:
        update(resumed, gradients)
    for parameter, expected in zip(again.parameters(), master.parameters(), strict=True):
        assert torch.equal(parameter, expected)


def test_parameters_without_gradients_do_not_change(backend: str) -> None:
    master = build_network()
    before = copy.deepcopy(list(master.parameters()))
    optimizer = MasterWeightAdam(master, lr=0.01, betas=(0.5, 0.999))
    first = next(optimizer.compute_network.parameters())
    first.grad = torch.ones_like(first)
    optimizer.step()
    changed = [not torch.equal(weight, old) for weight, old in zip(master.parameters(), before, strict=True)]
    assert changed == [True, *[False] * (len(before) - 1)]


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            master = build_network()
            optimizer = MasterWeightAdam(master, lr=0.01, betas=(0.5, 0.999))
            for gradients in random_gradients(optimizer.compute_network, 3):
                update(optimizer, gradients)
            results.append([weight.detach().clone() for weight in master.parameters()])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))


def test_without_native_torch_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError

    monkeypatch.setattr(optim.UPDATE, "library", refuse)
    network = nn.Linear(3, 2)
    before = network.weight.detach().clone()
    network.weight.grad = torch.ones_like(network.weight)
    NegativeMomentumAdam(network, lr=0.5, betas=(0.5, 0.9), native=False).step()
    torch.testing.assert_close(network.weight.detach(), before - 0.5)  # the first step of Adam is the learning rate
