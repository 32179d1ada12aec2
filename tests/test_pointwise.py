"""The passes between two matmuls of a GAN, native and by torch: torch.nn and autograd in float64 are the oracle."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from reviver.gan import pointwise
from reviver.gan.pointwise import (
    batch_norm_leaky_relu,
    batch_norm_leaky_relu_backward_,
    leaky_relu_,
    leaky_relu_backward_,
    leaky_relu_backward_sum_,
    scale_rows,
    tanh_backward_sum_,
)

TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
"""Relative to the largest element, and in sums over rows to the sum of magnitudes."""
SHAPES = ((2, 1), (3, 17), (65, 64), (12, 130), (128, 784))
"""The last is large enough for several threads; the others have odd numbers of rows and columns that fill no vector."""

shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
dtypes = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


@pytest.fixture(params=["native", "torch"])
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(pointwise.PASSES, "_loaded", [None])
    elif pointwise.PASSES.library() is None:
        pytest.skip("no native passes on this machine")


def random(shape: tuple[int, int], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Standard normal numbers that `dtype` has, for both the function and its oracle."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_near(values: Tensor, expected: Tensor, dtype: torch.dtype, scale: Tensor | None = None) -> None:
    """Compare with a float64 oracle; errors are relative to the largest magnitude in `scale`, by default the oracle."""
    largest = (expected if scale is None else scale).abs().max().clamp(min=1e-3)
    assert (values.double() - expected).abs().max() <= TOLERANCES[dtype] * largest


def gradient_oracle(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """y and ∂L/∂x in float64."""
    exact = x.double().requires_grad_()
    y = function(exact)
    (result,) = torch.autograd.grad(y, exact, grad.double())
    return y.detach(), result


@pytest.mark.usefixtures("_backend")
@shapes
@dtypes
def test_leaky_relu(shape: tuple[int, int], dtype: torch.dtype) -> None:
    x, grad = random(shape, dtype), random(shape, dtype, 1)
    y, expected = gradient_oracle(lambda x: functional.leaky_relu(x, 0.2), x, grad)
    activated = leaky_relu_(x)
    assert activated is x
    assert_near(activated, y, dtype)
    assert_near(leaky_relu_backward_(grad.clone(), activated), expected, dtype)
    result, total = leaky_relu_backward_sum_(grad, activated)
    assert_near(result, expected, dtype)
    assert_near(total, expected.sum(0), dtype, expected.abs().sum(0))


@pytest.mark.usefixtures("_backend")
@shapes
@dtypes
def test_gradient_of_tanh(shape: tuple[int, int], dtype: torch.dtype) -> None:
    x, grad = random(shape, dtype), random(shape, dtype, 1)
    y, expected = gradient_oracle(torch.tanh, x, grad)
    result, total = tanh_backward_sum_(grad, y.to(dtype))
    assert_near(result, expected, dtype)
    assert_near(total, expected.sum(0), dtype, expected.abs().sum(0))


@pytest.mark.usefixtures("_backend")
@shapes
@dtypes
def test_rows_times_factors(shape: tuple[int, int], dtype: torch.dtype) -> None:
    x, factors = random(shape, dtype), random((shape[0], 1), torch.float32, 1)
    expected = x.double() * factors
    result, total = scale_rows(x, factors)
    assert_near(result, expected, dtype)
    assert_near(total, expected.sum(0), dtype, expected.abs().sum(0))


def build_norm(features: int) -> nn.BatchNorm1d:
    """A layer with random γ, β and running statistics."""
    layer = nn.BatchNorm1d(features, eps=1e-3)
    rng = torch.Generator().manual_seed(2)
    for tensor in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
        assert tensor is not None
        tensor.uniform_(0.5, 1.5, generator=rng)
    return layer


def check_batch_norm(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Compare `batch_norm_leaky_relu` and its gradients with torch's layer in float64."""
    x, grad = random(shape, dtype), random(shape, dtype, 1)
    layer, oracle = build_norm(shape[1]), build_norm(shape[1]).double()
    exact = x.double().requires_grad_()
    expected = functional.leaky_relu(oracle(exact), 0.2)
    grad_x, grad_weight, grad_bias = torch.autograd.grad(expected, (exact, oracle.weight, oracle.bias), grad.double())

    with torch.no_grad():
        y, statistics = batch_norm_leaky_relu(x, layer)
        result = batch_norm_leaky_relu_backward_(grad, x, y, layer, statistics)
    assert_near(y, expected.detach(), dtype)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(layer, name).double(), getattr(oracle, name).double(), rtol=1e-5, atol=1e-6)
    # The sign of a value that is rounding alone is not determined, and decides by which factor its gradient is multiplied.
    is_clear = expected.abs().min() > 1e-2 or dtype == torch.float32
    if is_clear or shape[0] > 3:
        sums = grad.abs().double().sum(0).clamp(min=grad_x.abs().max()) + len(x)
        assert_near(result.x, grad_x, dtype, grad_x if shape[0] > 3 else sums)
        assert_near(result.weight, grad_weight, dtype, sums)
        assert_near(result.bias, grad_bias, dtype, sums)
        assert_near(result.sum, grad_x.sum(0), dtype, sums)


@pytest.mark.usefixtures("_backend")
@shapes
@dtypes
def test_batch_norm(shape: tuple[int, int], dtype: torch.dtype) -> None:
    check_batch_norm(shape, dtype)


@given(shape=st.tuples(st.integers(4, 70), st.integers(1, 150)))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batch_norm_of_any_shape(shape: tuple[int, int]) -> None:
    check_batch_norm(shape, torch.float32)


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def all_results(dtype: torch.dtype, value: float | None = None) -> list[Tensor]:
    """The results of all passes, with `value` in one column of the input."""
    x, grad, layer = random((96, 784), dtype), random((96, 784), dtype, 1), build_norm(784)
    if value is not None:
        x[5, 100] = value
    with torch.no_grad():
        y, statistics = batch_norm_leaky_relu(x, layer)
        results = [y, *statistics, *batch_norm_leaky_relu_backward_(grad.clone(), x, y, layer, statistics)]
        activated = leaky_relu_(x.clone())
        results += [activated, *leaky_relu_backward_sum_(grad.clone(), activated), *tanh_backward_sum_(grad.clone(), x)]
        return [*results, *scale_rows(x, grad[:, :1])]


@pytest.mark.usefixtures("_threads")
@dtypes
def test_the_number_of_threads_does_not_change_a_result(dtype: torch.dtype) -> None:
    if pointwise.PASSES.library() is None:
        pytest.skip("no native passes on this machine")
    torch.set_num_threads(1)
    expected = all_results(dtype)
    for threads in (2, 5, 40):
        torch.set_num_threads(threads)
        assert all(map(torch.equal, all_results(dtype), expected))


@pytest.mark.usefixtures("_backend")
@dtypes
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_value_that_is_not_finite_stays_so_and_in_its_column(value: float, dtype: torch.dtype) -> None:
    for result, finite in zip(all_results(dtype, value), all_results(dtype), strict=True):
        others = torch.arange(784) != 100
        torch.testing.assert_close(result[..., others], finite[..., others])
    y, *_ = all_results(dtype, value)
    assert not y[5, 100].isfinite()


def test_float64_is_computed_by_torch() -> None:
    x = random((4, 3), torch.float64)
    torch.testing.assert_close(leaky_relu_(x.clone()), functional.leaky_relu(x, 0.2), rtol=0, atol=0)
