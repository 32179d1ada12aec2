"""One flat bucket of gradients per network, added over the processes by one all-reduce.

`DistributedDataParallel` does not fit: it reduces in hooks of `backward`, and the steps of the GAN take gradients with
`torch.autograd.grad`, which runs no hooks of parameters.
"""

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from reviver.distributed.world import World


class GradientBucket:
    """The gradients of a network and a few numbers, added over the processes by one all-reduce.

    The gradient of each process is that of its share of the global loss: its local mean times `BatchRows.fraction`.

    Args:
        parameters: parameters with gradients to add, in the same order on every process.
        num_sums: numbers to add besides them, such as sums of losses and flags.
        world: the processes.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], num_sums: int, world: World) -> None:
        self._parameters = list(parameters)
        self._world = world
        device = self._parameters[0].device
        dtype = torch.promote_types(torch.float32, self._parameters[0].dtype)
        sizes = [parameter.numel() for parameter in self._parameters]
        self._flat = torch.zeros(sum(sizes) + num_sums, device=device, dtype=dtype)
        *parts, self._sums = self._flat.split([*sizes, num_sums])
        self._parts = [part.view_as(parameter) for part, parameter in zip(parts, self._parameters, strict=True)]
        self._work: dist.Work | None = None

    def start(self, sums: Sequence[Tensor | float]) -> None:
        """Start to add the present gradients and `sums`, while the caller goes on; a missing gradient counts as 0."""
        for part, parameter in zip(self._parts, self._parameters, strict=True):
            if parameter.grad is None:
                part.zero_()
            else:
                part.copy_(parameter.grad)
        for index, value in enumerate(sums):
            self._sums[index] = value
        if self._world.size > 1:
            self._work = dist.all_reduce(self._flat, async_op=True)

    def finish(self) -> Tensor:
        """Wait, set the gradient of each parameter to the total, and return the totals of the sums."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        for part, parameter in zip(self._parts, self._parameters, strict=True):
            parameter.grad = part.to(parameter.dtype)
        return Tensor.clone(self._sums)
