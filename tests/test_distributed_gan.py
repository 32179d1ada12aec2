"""Training of a GAN by several processes: it equals training by one process at the same batch size."""

import copy
import os
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reviver.errors import ConfigError
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.parallel import ParallelStep
from reviver.gan.penalties import discriminator_penalty
from reviver.gan.step_options import StepResult
from reviver.runs.distributed.batch_norm import ParallelBatchNorm1d, parallelize_batch_norm
from reviver.runs.distributed.rows import BatchRows
from reviver.runs.distributed.world import ALONE, World
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import check_world
from tests.distributed_gan import CASES, EPOCHS, INEXACT, NUM_BATCHES, result_name, run_case
from tests.distributed_session import run_processes

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}
WEIGHT_TOLERANCES = {torch.float64: 1e-11, torch.float32: 1e-5}
"""A bias before BatchNorm has no gradient but rounding errors, which Adam amplifies."""
long = pytest.mark.skipif("REVIVER_LONG" not in os.environ, reason="REVIVER_LONG=1 trains with four processes, too")
Results = list[dict[str, Any]]


# Equality


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=long)])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run_processes("tests.distributed_gan", request.param, tmp_path_factory.mktemp("results"))


def compare(together: dict[str, Tensor], alone: dict[str, Tensor], tolerance: float, weights: float) -> None:
    """Check that losses agree within `tolerance`, and networks and their images within `weights`."""
    assert together.keys() == alone.keys()
    for name, value in alone.items():
        atol = {"rng": 0.0, "history": tolerance}.get(name, weights)
        torch.testing.assert_close(
            together[name], value, rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("dtype", EPOCHS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_several_processes_train_as_one(name: str, dtype: torch.dtype, results: Results) -> None:
    alone = run_case(CASES[name], dtype, ALONE)
    assert len(alone["history"]) == EPOCHS[dtype] * NUM_BATCHES
    compare(results[0][result_name(name, dtype)], alone, TOLERANCES[dtype], WEIGHT_TOLERANCES[dtype])


def test_bf16_agrees_within_its_rounding(results: Results) -> None:
    alone = run_case(INEXACT["bf16"], torch.float32, ALONE)
    compare(results[0][result_name("bf16", torch.float32)], alone, 0.02, 0.1)


def test_all_processes_have_the_same_networks_bit_for_bit(results: Results) -> None:
    for result in results[1:]:
        for name, values in result.items():
            for quantity, value in values.items():
                assert value.equal(results[0][name][quantity]), (name, quantity)


# BatchNorm


def batch_norm(dtype: torch.dtype = torch.float64) -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(5, eps=1e-3, momentum=0.2, dtype=dtype)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize(
    ("dtype", "input_dtype", "tolerance"),
    [
        (torch.float64, torch.float64, 1e-12),
        (torch.float32, torch.float32, 1e-5),
        (torch.float32, torch.bfloat16, 2e-2),
    ],
    ids=str,
)
def test_batch_norm_of_one_process_equals_torch(dtype: torch.dtype, input_dtype: torch.dtype, tolerance: float) -> None:
    expected = batch_norm(dtype)
    layer = ParallelBatchNorm1d(copy.deepcopy(expected), 1)
    x, weight = (2 * torch.randn(7, 5) + 1).to(input_dtype), torch.randn(7, 5)
    for _ in range(3):
        outcomes = []
        for norm in (expected, layer):
            leaf = x.clone().requires_grad_()
            y = norm(leaf)
            grads = torch.autograd.grad((y * weight).sum(), [leaf, norm.weight, norm.bias])
            outcomes.append([y, *grads, *norm.buffers()])
        for value, wanted in zip(outcomes[1], outcomes[0], strict=True):
            assert value.dtype == wanted.dtype
            torch.testing.assert_close(value, wanted, rtol=tolerance, atol=tolerance)
    assert layer.eval()(x).equal(expected.load_state_dict(layer.state_dict()) and expected.eval()(x))


def test_batch_norm_keeps_the_parameters_and_the_state_of_a_network() -> None:
    network = Generator(4, (1, 4, 4))
    parameters, state = list(network.parameters()), network.state_dict()
    parallelize_batch_norm(network, World(0, 2))
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))
    assert list(network.state_dict()) == list(state)
    assert sum(isinstance(layer, ParallelBatchNorm1d) for layer in copy.deepcopy(network).modules()) == 3


# Parts of a step


def test_sums_keep_the_dtypes_and_count_a_missing_gradient_as_zero() -> None:
    weights = [nn.Parameter(torch.zeros(3, 2, dtype=torch.bfloat16)), nn.Parameter(torch.zeros(4))]
    without = nn.Parameter(torch.zeros(2))
    gradients = [torch.randn(3, 2).bfloat16(), torch.randn(4)]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()
    numbers = ALONE.sum_gradients([*weights, without], torch.tensor([1.5, 1e-30]))
    assert numbers.tolist() == pytest.approx([1.5, 1e-30])
    assert without.grad is not None
    assert without.grad.eq(0).all()
    for weight, gradient in zip(weights, gradients, strict=True):
        assert weight.grad is not None
        assert weight.grad.equal(gradient)


def test_a_process_without_rows_contributes_nothing() -> None:
    networks = Generator(4, (1, 4, 4)), Discriminator((1, 4, 4))
    step = ParallelStep(networks, ALONE, BatchRows(2, 2, 4), 1.0)
    mean_of_nothing = torch.zeros(0).mean()
    result = step.finish(StepResult(*[mean_of_nothing] * 4))
    assert [value.item() for value in result] == [0.0] * 4
    assert step.stop_flags == 1.0


def test_not_finite_losses_stay_not_finite() -> None:
    step = ParallelStep((Generator(4, (1, 4, 4)), Discriminator((1, 4, 4))), ALONE, BatchRows(0, 4, 4))
    result = step.finish(StepResult(*torch.tensor([1.0, float("nan"), 0.5, float("inf")])))
    assert [value.isfinite().item() for value in result] == [True, False, True, False]


@pytest.mark.parametrize("packing", [1, 2])
def test_rows_of_masks_and_penalties_are_those_of_the_batch(packing: int) -> None:
    network = Discriminator((1, 4, 4), dropout=0.4, packing=packing).double()
    real, fake = torch.randn(2, 12, 1, 4, 4, dtype=torch.float64)
    config = GANConfig(gradient_penalty=1.0, r1=0.5, packing=packing, batch_size=12)
    inputs = 12 // packing

    def compute(rows: BatchRows) -> Tensor:
        images = rows.scaled(packing)
        rng = torch.Generator().manual_seed(4)
        penalty = discriminator_penalty(config, network, images.take(real), images.take(fake), None, rng, rows)
        return rows.fraction * penalty

    parts = [compute(BatchRows(begin, end, inputs)) for begin, end in ((0, 2), (2, inputs))]
    torch.testing.assert_close(sum(parts), compute(BatchRows(0, inputs, inputs)), rtol=1e-12, atol=0)
    gradients = torch.autograd.grad(
        compute(BatchRows(2, 2, inputs)), list(network.parameters()), materialize_grads=True
    )
    assert all(gradient.eq(0).all() for gradient in gradients)


# Errors


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"batch_size": 3}, "batch_size 3 is too small for 4 processes; give at least 4"),
        ({"batch_size": 8, "packing": 4}, "batch_size 8 with packing 4 is too small for 4 processes; give at least 16"),
    ],
)
def test_a_batch_too_small_for_the_processes_is_refused(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        check_world(GANConfig(**settings), World(1, 4))
    assert caught.value.field == "batch_size"


def test_a_batch_of_one_input_for_each_process_is_enough() -> None:
    check_world(GANConfig(batch_size=4), World(0, 4))
    check_world(GANConfig(batch_size=8, packing=2), World(0, 4))
