"""What the networks of a GAN compute between two matmuls, and its gradients: each function is one pass over memory.

On a CPU `pointwise.cpp` computes them, in float32 and bfloat16. Without a compiler, on another device or in float64,
torch's operations do the same, in several passes. Both are equal up to rounding.

Shapes: N rows, F columns. Matrices [N, F] are contiguous. The number of threads does not change a result of `pointwise.cpp`.
"""

import ctypes
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.gan.networks import NEGATIVE_SLOPE
from reviver.native import FLAGS, NativeLibrary


class Call(ctypes.Structure):
    """The arguments of a pass: the same fields in the same order as `Call` in `pointwise.cpp`, which explains them."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("rows", "columns", "threads", "bf16")),
        *((name, ctypes.c_double) for name in ("leak", "eps", "momentum")),
        *((name, ctypes.c_void_p) for name in ("x", "y", "grad", "weight", "bias", "mean", "inverse_std")),
        *((name, ctypes.c_void_p) for name in ("running_mean", "running_var", "grad_weight", "grad_bias")),
        *((name, ctypes.c_void_p) for name in ("sum", "scale")),
    ]


PASSES = NativeLibrary(
    "pointwise",
    Path(__file__).with_name("pointwise.cpp"),
    Call,
    ("leaky", "leaky_backward", "tanh_backward", "scale_rows", "batch_norm", "batch_norm_backward"),
    fallback="the native activations of a GAN are not available, torch's slower ones are used",
    flags=(*FLAGS, "-fno-math-errno"),
)


class BatchStatistics(NamedTuple):
    """Statistics of a batch, [F] each."""

    mean: Tensor
    inverse_std: Tensor
    """1 / √(σ² + ε) with the biased variance σ²."""


def leaky_relu_(x: Tensor) -> Tensor:
    """Replace x [N, F] by LeakyReLU(x), and return it."""
    native = _library(x)
    if native is None:
        return functional.leaky_relu_(x, NEGATIVE_SLOPE)
    native.reviver_pointwise_leaky(_call(x, x=x, y=x))
    return x


def leaky_relu_backward_(grad: Tensor, y: Tensor) -> Tensor:
    """Replace ∂L/∂y [N, F] by ∂L/∂x for y = LeakyReLU(x), and return it."""
    native = _library(grad)
    if native is None:
        return torch.where(y > 0, grad, NEGATIVE_SLOPE * grad, out=grad)
    native.reviver_pointwise_leaky_backward(_call(grad, y=y, grad=grad))
    return grad


def leaky_relu_backward_sum_(grad: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the result of `leaky_relu_backward_`, and its sum over rows [F]: the gradient of the bias in x."""
    native = _library(grad)
    if native is None:
        leaky_relu_backward_(grad, y)
        return grad, grad.sum(0)
    total = grad.new_empty(grad.shape[1])
    native.reviver_pointwise_leaky_backward(_call(grad, y=y, grad=grad, sum=total))
    return grad, total


def tanh_backward_sum_(grad: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Replace ∂L/∂y [N, F] by ∂L/∂x for y = tanh(x), and return it with its sum over rows [F]."""
    native = _library(grad)
    if native is None:
        grad = grad.mul_(1 - y * y)
        return grad, grad.sum(0)
    total = grad.new_empty(grad.shape[1])
    native.reviver_pointwise_tanh_backward(_call(grad, y=y, grad=grad, sum=total))
    return grad, total


def scale_rows(x: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Return x [N, F] with each row multiplied by its factor, of `factors` [N, 1], and the sum of that over rows [F]."""
    native = _library(x)
    if native is None:
        scaled = x * factors.to(x.dtype)
        return scaled, scaled.sum(0)
    y, total, scale = torch.empty_like(x), x.new_empty(x.shape[1]), factors.float().contiguous()
    native.reviver_pointwise_scale_rows(_call(x, x=x, y=y, sum=total, scale=scale))
    return y, total


def batch_norm_leaky_relu(x: Tensor, layer: nn.BatchNorm1d) -> tuple[Tensor, BatchStatistics]:
    """Return LeakyReLU(BatchNorm(x)) of x [N, F], N > 1, and the statistics; moves the layer's running statistics.

    Args:
        x: the rows of the batch.
        layer: has γ, β, ε and the running statistics; it is in training mode (Ioffe & Szegedy 2015).
    """
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    assert layer.momentum is not None
    layer.num_batches_tracked.add_(1)
    native = _library(x)
    if native is None:
        y, mean, inverse_std = torch.native_batch_norm(
            x, layer.weight, layer.bias, layer.running_mean, layer.running_var, True, layer.momentum, layer.eps
        )
        return functional.leaky_relu_(y, NEGATIVE_SLOPE), BatchStatistics(mean, inverse_std)
    y = torch.empty_like(x)
    statistics = BatchStatistics(*x.new_empty(2, x.shape[1], dtype=torch.float32))
    native.reviver_pointwise_batch_norm(
        _call(
            x,
            eps=layer.eps,
            momentum=layer.momentum,
            x=x,
            y=y,
            weight=layer.weight,
            bias=layer.bias,
            mean=statistics.mean,
            inverse_std=statistics.inverse_std,
            running_mean=layer.running_mean,
            running_var=layer.running_var,
        )
    )
    return y, statistics


class BatchNormGradients(NamedTuple):
    """Gradients of a loss with respect to what `batch_norm_leaky_relu` depends on."""

    x: Tensor
    """[N, F]."""
    weight: Tensor
    """With respect to γ, [F]."""
    bias: Tensor
    """With respect to β, [F]."""
    sum: Tensor
    """Sum of `x` over rows [F]: 0 but for rounding."""


def batch_norm_leaky_relu_backward_(
    grad: Tensor, x: Tensor, y: Tensor, layer: nn.BatchNorm1d, statistics: BatchStatistics
) -> BatchNormGradients:
    """Return the gradients of `batch_norm_leaky_relu`; that of x takes the place of ∂L/∂y.

    Args:
        grad: ∂L/∂y, [N, F]; overwritten.
        x: input of the forward pass, [N, F].
        y: its output, [N, F].
        layer: its layer.
        statistics: its statistics.
    """
    native = _library(grad)
    if native is None:
        grad_x, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            leaky_relu_backward_(grad, y),
            x,
            layer.weight,
            layer.running_mean,
            layer.running_var,
            *statistics,
            True,
            layer.eps,
            [True, True, True],
        )
        return BatchNormGradients(grad_x, grad_weight, grad_bias, grad_x.sum(0))
    grad_weight, grad_bias = grad.new_empty(2, grad.shape[1], dtype=torch.float32)
    total = grad.new_empty(grad.shape[1])
    native.reviver_pointwise_batch_norm_backward(
        _call(
            grad,
            x=x,
            y=y,
            grad=grad,
            weight=layer.weight,
            mean=statistics.mean,
            inverse_std=statistics.inverse_std,
            grad_weight=grad_weight,
            grad_bias=grad_bias,
            sum=total,
        )
    )
    return BatchNormGradients(grad, grad_weight, grad_bias, total)


def _library(matrix: Tensor) -> ctypes.CDLL | None:
    """Return the native library if it can compute with such a matrix, else None."""
    is_native = matrix.is_cpu and matrix.dtype in (torch.float32, torch.bfloat16)
    return PASSES.library() if is_native else None


def _call(matrix: Tensor, *, eps: float = 0.0, momentum: float = 0.0, **tensors: Tensor) -> Call:
    """Return the arguments of a pass over matrices of the shape of `matrix`. They hold addresses: keep the tensors alive."""
    rows, columns = matrix.shape
    return Call(
        rows=rows,
        columns=columns,
        threads=torch.get_num_threads(),
        bf16=matrix.dtype == torch.bfloat16,
        leak=NEGATIVE_SLOPE,
        eps=eps,
        momentum=momentum,
        **{name: tensor.data_ptr() for name, tensor in tensors.items()},
    )
