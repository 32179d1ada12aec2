"""What a training step exchanges with the other processes: gradients, losses and flags.

Each process computes its rows of the batch. The mean over the batch is the sum over processes of the fraction of the rows
times their mean, for losses as for gradients. So one all-reduce makes a step by many processes that of one.
"""

from dataclasses import dataclass

import torch
from torch import nn

from reviver.gan.step_options import StepResult
from reviver.runs.distributed.rows import BatchRows
from reviver.runs.distributed.world import World


@dataclass
class ParallelStep:
    """The part of one process in one training step.

    A NaN in the result of one process makes that of all of them NaN, so all stop or roll back at the same step.

    Attributes:
        networks: generator and discriminator, whose gradients are added; those of G only after `start_generator`.
        world: the processes.
        rows: rows of this process among the logits of the real images.
        stop_flags: 1 if this process is to stop, else 0; after the step, the sum over the processes.
    """

    networks: tuple[nn.Module, nn.Module]
    world: World
    rows: BatchRows
    stop_flags: float = 0.0
    _updates_generator: bool = False

    def start_generator(self) -> None:
        """Note that the generator has gradients in this step."""
        self._updates_generator = True

    def finish(self, result: StepResult) -> StepResult:
        """Add all gradients over the processes, and return the result of the whole batch from means over own rows."""
        means = torch.stack(result)
        # The mean of no row is NaN.
        weighted = self.rows.fraction * means if len(self.rows) else torch.zeros_like(means)
        chosen = self.networks if self._updates_generator else self.networks[1:]
        parameters = [parameter for network in chosen for parameter in network.parameters()]
        totals = self.world.sum_gradients(parameters, torch.cat([weighted, weighted.new_tensor([self.stop_flags])]))
        *values, flags = totals
        self.stop_flags = flags.item()
        return StepResult(*values)
