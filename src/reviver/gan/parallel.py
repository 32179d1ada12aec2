"""What a training step exchanges with the other processes: gradients, losses and flags.

Each process computes its rows of the batch. The mean over the batch is the sum over processes of the fraction of the rows
times their mean, for losses as for gradients. So one all-reduce makes a step by many processes that of one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reviver.gan.networks import Discriminator, Generator
from reviver.gan.step_options import StepResult
from reviver.runs.distributed.batch_norm import ParallelBatchNorm1d
from reviver.runs.distributed.rows import BatchRows
from reviver.runs.distributed.world import World


@dataclass
class ParallelStep:
    """The part of one process in one training step.

    A NaN in the result of one process makes that of all of them NaN, so all stop or roll back at the same step.

    Attributes:
        networks: The networks whose gradients are added, and those of G only after `start_generator`.
        statistics: Running statistics that each process computes from its own rows, [features] each.
        world: The processes.
        rows: Rows of this process among the logits of the real images.
        stop_flags: 1 if this process is to stop, else 0; after the step, the sum over the processes.
    """

    networks: tuple[nn.Module, nn.Module]
    statistics: list[Tensor]
    world: World
    rows: BatchRows
    stop_flags: float = 0.0
    _updates_generator: bool = False

    def start_generator(self) -> None:
        """Note that the generator has gradients in this step."""
        self._updates_generator = True

    def finish(self, result: StepResult) -> StepResult:
        """Add all gradients over the processes, and return the result of the whole batch.

        Args:
            result: means over the rows of this process.
        """
        means = torch.cat([torch.stack(result), *self.statistics])
        # The mean of no row is NaN.
        weighted = self.rows.fraction * means if len(self.rows) else torch.zeros_like(means)
        chosen = self.networks if self._updates_generator else self.networks[1:]
        parameters = [parameter for network in chosen for parameter in network.parameters()]
        totals = self.world.sum_gradients(parameters, torch.cat([weighted, weighted.new_tensor([self.stop_flags])]))
        values, *averages, flags = totals.split([len(result), *map(len, self.statistics), 1])
        for statistic, average in zip(self.statistics, averages, strict=True):
            statistic.copy_(average)
        self.stop_flags = flags.item()
        return StepResult(*values)


class Buckets:
    """What the steps of a run by several processes have in common.

    Args:
        G: the generator.
        D: the discriminator.
        world: the processes.
    """

    def __init__(self, G: Generator, D: Discriminator, world: World) -> None:
        self.world = world
        self.networks = G, D
        layers = [each for each in G.modules() if isinstance(each, ParallelBatchNorm1d) and not each.is_synced]
        statistics = [statistic for each in layers for statistic in (each.running_mean, each.running_var)]
        self.statistics = [statistic for statistic in statistics if statistic is not None]

    @classmethod
    def create(cls, G: Generator, D: Discriminator, world: World) -> "Buckets | None":
        """Return what the steps need, None for one process, which exchanges nothing."""
        return cls(G, D, world) if world.size > 1 else None

    def step(self, num_logits: int, stop_flag: float) -> ParallelStep:
        """Return the part of this process in a step.

        Args:
            num_logits: logits of real images in the whole batch.
            stop_flag: 1 if this process is to stop, else 0.
        """
        return ParallelStep(self.networks, self.statistics, self.world, self.world.rows(num_logits), stop_flag)
