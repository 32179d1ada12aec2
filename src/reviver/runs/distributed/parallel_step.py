"""What a training step exchanges with the other processes: gradients, losses, stop flags and statistics of BatchNorm.

Each process computes the losses and gradients of its rows of the batch. The mean over the batch is the sum over processes
of the fraction of the rows times their mean, for losses as for gradients. So one all-reduce makes a step by many processes
that of one.
`DistributedDataParallel` does not fit: a step of the GAN has several backward passes.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from reviver.rng import BatchRows, RowsRng
from reviver.runs.session import Session


def step_options(session: Session, rows: BatchRows, rng: torch.Generator) -> dict[str, Any]:
    """Return the arguments `rng`, `fraction` and `gather` of a training step on the `rows` of a batch of this process."""
    if session.world.size == 1:
        return {"rng": rng}
    return {"rng": RowsRng(rng, rows), "fraction": rows.fraction, "gather": partial(add_gradients, session, rows)}


def add_gradients(
    session: Session, rows: BatchRows, parameters: Iterable[nn.Parameter], means: Tensor, *sums: Tensor
) -> tuple[Tensor, ...]:
    """Add the gradients of `parameters` over the processes, whose loss is the local mean times `BatchRows.fraction`.

    A missing gradient counts as 0. A NaN of one process makes the result of all of them NaN, so all stop or roll back
    at the same step. Return scalars: the means over the whole batch of the local `means` [m], then the sums over the processes
    of each of the `sums`.
    """
    chosen = list(parameters)
    # The mean of no row is NaN.
    weighted = rows.fraction * means if len(rows) else torch.zeros_like(means)
    totals = torch.stack([*(each.to(means.dtype) for each in sums), means.new_tensor(session.stop_flag)])
    parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in chosen]
    local = [torch.cat([weighted, totals]), *(part.flatten() for part in parts)]
    values, *gradients = session.world.sum(torch.cat(local)).split([len(part) for part in local])  # float32 at least
    for each, gradient in zip(chosen, gradients, strict=True):
        each.grad = gradient.view_as(each).to(each.dtype)
    session.agree(values[-1].item())
    return tuple(values[:-1])


class ParallelBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` in one of several processes; in eval mode it is `nn.BatchNorm1d`. `nn.SyncBatchNorm` refuses CPUs.

    Shapes: n rows of this process, F features.

    It has the statistics of the rows of all processes, and so the result of one process. Some processes may have no row,
    but each must call it, forward and backward, equally often. It shares parameters and statistics with the `layer` it replaces.
    """

    def __init__(self, layer: nn.BatchNorm1d) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, device="meta")
        self._parameters, self._buffers = layer._parameters, layer._buffers
        self.training = layer.training

    def forward(self, x: Tensor) -> Tensor:
        """Return x [n, F], normalized and scaled."""
        if not self.training:
            return super().forward(x)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        values = x.to(torch.promote_types(torch.float32, x.dtype))
        total: Tensor = _Sum.apply(torch.cat([values.sum(0), values.new_tensor([len(x)])]))  # [F + 1]
        count = total[-1].detach()
        mean = total[:-1] / count
        centered = values - mean
        variance: Tensor = _Sum.apply(centered.square().sum(0)) / count
        assert self.momentum is not None
        updates = mean.detach(), variance.detach() * count / (count - 1).clamp(min=1)
        for running, value in zip((self.running_mean, self.running_var), updates, strict=True):
            assert running is not None
            running.lerp_(value.to(running.dtype), self.momentum)
        return (centered * (variance + self.eps).rsqrt() * self.weight + self.bias).to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the processes; torch's own differentiable one is deprecated, its successor private."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        """Return the gradient of the sum of the losses of all processes."""
        return _Sum.forward(_, grad)


def parallelize_batch_norm(network: nn.Module) -> None:
    """Replace each `nn.BatchNorm1d` of a network, in place; its parameters, and names and values in its state, stay."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d):
                setattr(module, name, ParallelBatchNorm1d(child))
