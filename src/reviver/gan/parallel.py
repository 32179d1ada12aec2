"""What a training step exchanges with the other processes: gradients, losses and flags.

Each process computes its rows of the batch. The mean over the batch is the sum over processes of the fraction of the rows
times their mean, for losses as for gradients. So one all-reduce makes a step by many processes that of one.
"""

import torch
from torch import nn

from reviver.gan.step_options import StepResult
from reviver.runs.distributed.rows import BatchRows, all_rows
from reviver.runs.distributed.world import World


class ParallelStep:
    """The part of one process in each training step, between `begin` and `finish`.

    A NaN in the result of one process makes that of all of them NaN, so all stop or roll back at the same step.
    """

    rows: BatchRows = all_rows(1)
    """Rows of this process among the logits of the real images."""
    stop_flags: float = 0.0
    """1 if this process is to stop, else 0; after the step, the sum over the processes."""

    def __init__(self, G: nn.Module, D: nn.Module, world: World) -> None:
        self._networks, self._world = (G, D), world

    def begin(self, num_logits: int, stop_flag: float) -> "ParallelStep":
        """Begin a step with `num_logits` logits of real images in the whole batch."""
        self.rows, self.stop_flags = self._world.rows(num_logits), stop_flag
        return self

    def finish(self, result: StepResult) -> StepResult:
        """Add all gradients over the processes, and turn means over the rows of this process to those of the batch."""
        parameters = [each for network in self._networks for each in network.parameters() if each.grad is not None]
        flags = torch.tensor([self.stop_flags], device=result[0].device)
        means, flags = self._world.sum_gradients(parameters, self.rows, torch.stack(result), flags)
        self.stop_flags = flags.item()
        return StepResult(*means)
