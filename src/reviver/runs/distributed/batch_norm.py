"""BatchNorm (Ioffe & Szegedy 2015) of a batch whose rows are spread over processes; `nn.SyncBatchNorm` refuses CPUs.

Shapes: n rows of this process, F features.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class ParallelBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` in one of several processes; in eval mode it is `nn.BatchNorm1d`.

    It has the statistics of the rows of all processes, and so the result of one process. Some processes may have no row,
    but each must call it, forward and backward, equally often.

    Args:
        layer: the layer to replace; parameters and running statistics are shared with it.
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
