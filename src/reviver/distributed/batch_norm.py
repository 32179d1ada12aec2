"""BatchNorm (Ioffe & Szegedy 2015) of a batch whose rows are spread over processes.

torch's own `nn.SyncBatchNorm` refuses CPUs.

Shapes: n rows of this process, N rows of all of them, F features.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from reviver.distributed.world import World


class SyncBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` with the statistics of the rows of all processes, and so the result of one process.

    Some processes may have no row, but each must call it, forward and backward, equally often. In eval mode it is
    `nn.BatchNorm1d`.

    Args:
        layer: the layer to replace; parameters and running statistics are shared with it.
        world: the processes.
    """

    def __init__(self, layer: nn.BatchNorm1d, world: World) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, device="meta")
        _share_state(self, layer)
        self._processes = world.size  # not the world: layers are copied, groups of processes cannot be

    def forward(self, x: Tensor) -> Tensor:
        """Return x [n, F], normalised and scaled."""
        if not self.training:
            return super().forward(x)
        with torch.no_grad():
            mean, variance, count = batch_statistics(x, self._processes)
            unbiased = variance * (count / (count - 1).clamp(min=1))
            _update_running(self, mean, unbiased)
        return cast(
            "Tensor", _Normalise.apply(x, self.weight, self.bias, mean, variance, count, self.eps, self._processes)
        )


class LocalBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` with the statistics of the rows of this process, which may have none.

    The running statistics then differ between processes; the caller averages them.

    Args:
        layer: the layer to replace; parameters and running statistics are shared with it.
    """

    def __init__(self, layer: nn.BatchNorm1d) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, device="meta")
        _share_state(self, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return x [n, F], normalised and scaled. One row alone becomes the bias, and does not change the statistics."""
        if not self.training or len(x) > 1:
            return super().forward(x)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)  # as on the other processes
        return ((x - x) * self.weight + self.bias).to(x.dtype)


def parallelize_batch_norm(network: nn.Module, world: World, *, is_synced: bool) -> None:
    """Replace each `nn.BatchNorm1d` of a network, in place, by one for several processes.

    Args:
        network: the network; its parameters, and the names and values in its state, stay.
        world: the processes.
        is_synced: take the statistics of all rows, or else of the rows of each process.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d):
                setattr(module, name, SyncBatchNorm1d(child, world) if is_synced else LocalBatchNorm1d(child))


def batch_statistics(x: Tensor, processes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean [F], biased variance [F] and number N of the rows of all processes, in float32 at least.

    One exchange serves both: each process sends its number of rows, sum and centred squares, and the squares around the
    common mean follow from them (Chan, Golub & LeVeque 1983).

    Args:
        x: the rows of this process, [n, F].
        processes: number of processes.
    """
    x = x.to(torch.promote_types(torch.float32, x.dtype))
    total = x.sum(0)
    local_mean = total / max(1, len(x))
    squares = (x - local_mean).square().sum(0)
    counts, totals, all_squares = _gather(torch.cat([x.new_tensor([len(x)]), total, squares]), processes).split(
        [1, x.shape[1], x.shape[1]], dim=1
    )  # [processes, 1], [processes, F], [processes, F]
    count = counts.sum()
    mean = totals.sum(0) / count
    between = counts * (totals / counts.clamp(min=1) - mean).square()
    return mean, (all_squares + between).sum(0) / count, count


class _Normalise(torch.autograd.Function):
    """y = γ x̂ + β with x̂ = (x - μ) / √(σ² + ε), where mean μ and variance σ² depend on the rows of all processes.

    ∂L/∂x = γ / √(σ² + ε) (∂L/∂y - (Σ ∂L/∂y + x̂ Σ ∂L/∂y x̂) / N), with sums over all rows.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
        processes: int,
    ) -> Tensor:
        """Return y [n, F]; the arguments are x [n, F], γ, β, μ and σ² [F], N, ε and the number of processes."""
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        ctx.processes = processes
        return functional.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        """Return ∂L/∂x, and the part of the rows of this process in ∂L/∂γ and ∂L/∂β."""
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        normalised = (x - mean) * inverse_std
        grad = grad_y.to(mean.dtype)
        grad_weight, grad_bias = (grad * normalised).sum(0), grad.sum(0)
        sums = torch.stack([grad_weight, grad_bias])
        if ctx.processes > 1:
            dist.all_reduce(sums)
        sums /= count
        grad_x = weight * inverse_std * (grad - sums[1] - normalised * sums[0])
        return grad_x.to(x.dtype), grad_weight, grad_bias, None, None, None, None, None


def _gather(row: Tensor, processes: int) -> Tensor:
    """Return the rows [F] of all processes, [processes, F]."""
    if processes == 1:
        return row[None]
    rows = row.new_empty(processes, len(row))
    dist.all_gather(list(rows.unbind()), row)
    return rows


def _share_state(layer: nn.BatchNorm1d, source: nn.BatchNorm1d) -> None:
    """Give `layer` the parameters and the running statistics of `source`: the same tensors."""
    layer.weight, layer.bias = source.weight, source.bias
    layer.running_mean, layer.running_var = source.running_mean, source.running_var
    layer.num_batches_tracked = source.num_batches_tracked
    layer.training = source.training


def _update_running(layer: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics towards those of a batch by the fraction `momentum`."""
    assert layer.momentum is not None
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), layer.momentum)
    layer.running_var.lerp_(variance.to(layer.running_var.dtype), layer.momentum)
