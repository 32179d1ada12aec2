"""What a training step exchanges with the other processes: gradients, losses and flags.

Each process computes its rows of the batch. The mean over the batch is the sum over processes of the fraction of the rows
times their mean, for losses as for gradients. So one all-reduce per network makes a step by many processes that of one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from reviver.distributed.batch_norm import LocalBatchNorm1d
from reviver.distributed.gradients import GradientBucket
from reviver.distributed.rows import BatchRows
from reviver.distributed.world import World
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.step_options import StepResult


class Buckets:
    """The gradient buckets of both networks.

    The discriminator's carries the numbers as well, since it is exchanged in every step: the result of the step, the flag
    to stop, and the running statistics of BatchNorm where each process has its own. A NaN in the result of one process
    makes that of all of them NaN, so all stop or roll back at the same step.

    Args:
        G: the generator.
        D: the discriminator.
        opt_G: the optimizer of G.
        opt_D: the optimizer of D.
        world: the processes.
    """

    def __init__(self, G: Generator, D: Discriminator, opt_G: Optimizer, opt_D: Optimizer, world: World) -> None:
        self.world = world
        self.statistics = _local_statistics(G)
        self.sizes = [len(StepResult._fields), 1, *(len(statistic) for statistic in self.statistics)]
        self.generator = GradientBucket(G.parameters(), 0, world)
        self.discriminator = GradientBucket(D.parameters(), sum(self.sizes), world)

    @classmethod
    def create(
        cls, G: Generator, D: Discriminator, opt_G: Optimizer, opt_D: Optimizer, world: World
    ) -> "Buckets | None":
        """Return the buckets of a run, None for one process, which exchanges nothing."""
        return cls(G, D, opt_G, opt_D, world) if world.size > 1 else None

    def step(self, num_logits: int, stop_flag: float) -> "ParallelStep":
        """Return the part of this process in a step.

        Args:
            num_logits: logits of real images in the whole batch.
            stop_flag: 1 if this process is to stop, else 0.
        """
        return ParallelStep(self, self.world.rows(num_logits), stop_flag)


@dataclass
class ParallelStep:
    """The part of one process in one training step.

    Attributes:
        buckets: The buckets of both networks.
        rows: Rows of this process among the logits of the real images.
        stop_flags: 1 if this process is to stop, else 0; after the step, the sum over the processes.
    """

    buckets: Buckets
    rows: BatchRows
    stop_flags: float = 0.0
    _updates_generator: bool = False

    def start_generator(self) -> None:
        """Start to add the generator's gradients over the processes, while the caller goes on."""
        self.buckets.generator.start([])
        self._updates_generator = True

    def finish(self, result: StepResult) -> StepResult:
        """Add all gradients over the processes, and return the result of the whole batch.

        Args:
            result: means over the rows of this process.
        """
        buckets = self.buckets
        means = torch.cat([torch.stack(result), *buckets.statistics])
        # The mean of no row is NaN.
        weighted = self.rows.fraction * means if len(self.rows) else torch.zeros_like(means)
        flag = weighted.new_tensor([self.stop_flags])
        results = len(result)
        buckets.discriminator.start(torch.cat([weighted[:results], flag, weighted[results:]]))
        if self._updates_generator:
            buckets.generator.finish()
        total, flags, *statistics = buckets.discriminator.finish().split(buckets.sizes)
        for statistic, average in zip(buckets.statistics, statistics, strict=True):
            statistic.copy_(average)
        self.stop_flags = flags.item()
        return StepResult(*total)


def _local_statistics(generator: Generator) -> list[Tensor]:
    """Return the running statistics that each process computes from its own rows, [features] each."""
    layers = [layer for layer in generator.modules() if isinstance(layer, LocalBatchNorm1d)]
    statistics = [statistic for layer in layers for statistic in (layer.running_mean, layer.running_var)]
    return [statistic for statistic in statistics if statistic is not None]
