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

    Gradients are added in the dtype of their parameters: bfloat16 halves the bytes. A network with parameters of several
    dtypes has a tensor, and an all-reduce, for each.

    Args:
        parameters: parameters with gradients to add, in the same order on every process.
        num_sums: numbers to add besides them, such as sums of losses and flags; in float32 at least.
        world: the processes.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], num_sums: int, world: World) -> None:
        self._parameters = list(parameters)
        self._world = world
        self._works: list[dist.Work] = []
        device, dtype = self._parameters[0].device, self._parameters[0].dtype
        numbers = torch.empty(num_sums, device=device, dtype=torch.promote_types(torch.float32, dtype))
        self._flat, parts = _flatten([*self._parameters, numbers])
        *self._parts, self._sums = parts

    def start(self, sums: Tensor | Sequence[Tensor | float]) -> None:
        """Start to add the present gradients and `sums`, while the caller goes on; a missing gradient counts as 0."""
        for part, parameter in zip(self._parts, self._parameters, strict=True):
            if parameter.grad is None:
                part.zero_()
            else:
                part.copy_(parameter.grad)
        if isinstance(sums, Tensor):
            self._sums.copy_(sums)
        else:
            for index, value in enumerate(sums):
                self._sums[index] = value
        if self._world.size > 1:
            self._works = [work for flat in self._flat if (work := dist.all_reduce(flat, async_op=True)) is not None]

    def finish(self) -> Tensor:
        """Wait, set the gradient of each parameter to the total, and return the totals of the sums.

        The gradients are views of the bucket, valid until the next `start`.
        """
        for work in self._works:
            work.wait()
        self._works = []
        for part, parameter in zip(self._parts, self._parameters, strict=True):
            parameter.grad = part
        return Tensor.clone(self._sums)


def _flatten(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return a flat tensor of zeros for each dtype, and a part of them of the size and dtype of each of `tensors`."""
    parts: dict[int, Tensor] = {}
    flat = []
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        chosen = [index for index, tensor in enumerate(tensors) if tensor.dtype == dtype and tensor.numel()]
        if not chosen:
            continue
        sizes = [tensors[index].numel() for index in chosen]
        flat.append(torch.zeros(sum(sizes), device=tensors[0].device, dtype=dtype))
        for index, part in zip(chosen, flat[-1].split(sizes), strict=True):
            parts[index] = part.view_as(tensors[index])
    return flat, [parts[index] if index in parts else torch.zeros_like(tensor) for index, tensor in enumerate(tensors)]
