"""What a training step exchanges with the other processes: gradients, losses and stop flags.

Each process computes the losses and gradients of its rows of the batch. The mean over the batch is the sum over processes
of the fraction of the rows times their mean, for losses as for gradients. So one all-reduce makes a step by many processes
that of one.
`DistributedDataParallel` does not fit: a step of the GAN has several backward passes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reviver.rows import BatchRows
from reviver.runs.distributed.world import World


@dataclass
class ParallelStep:
    """The part of one process in a training step."""

    rows: BatchRows
    """Rows of the batch that this process computes, perhaps none."""
    world: World
    stop_flags: float
    """1 if this process was asked to stop, else 0; after `finish`, the sum over the processes."""

    def finish(
        self, parameters: Iterable[nn.Parameter], means: Tensor, sums: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, ...]:
        """Add the gradients of `parameters` over the processes, whose loss is the local mean times `BatchRows.fraction`.

        A missing gradient counts as 0. A NaN of one process makes the result of all of them NaN, so all stop or roll back
        at the same step.

        Args:
            parameters: their gradients become those of the whole batch.
            means: means over the rows of this process, [m].
            sums: values to add over the processes, scalars.

        Returns:
            The means over the whole batch, and the sums; scalars.
        """
        chosen = list(parameters)
        # The mean of no row is NaN.
        weighted = self.rows.fraction * means if len(self.rows) else torch.zeros_like(means)
        totals = torch.stack([*(each.to(means.dtype) for each in sums), means.new_tensor(self.stop_flags)])
        parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in chosen]
        local = [torch.cat([weighted, totals]), *(part.flatten() for part in parts)]
        values, *gradients = self.world.sum(torch.cat(local)).split([len(part) for part in local])  # float32 at least
        for each, gradient in zip(chosen, gradients, strict=True):
            each.grad = gradient.view_as(each).to(each.dtype)
        self.stop_flags = values[-1].item()
        return tuple(values[:-1])
