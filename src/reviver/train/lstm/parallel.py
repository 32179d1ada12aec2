"""An update of the weights by several processes, each with some rows of the batch; all apply the sum of the gradients."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from reviver.runs.distributed.rows import BatchRows
from reviver.runs.distributed.world import World
from reviver.settings.lstm import LSTMConfig
from reviver.settings.validation import refuse


class ParallelUpdate(NamedTuple):
    """The part of one process in an update."""

    rows: BatchRows
    """Rows of the batch that this process computes."""
    network: nn.Module
    world: World
    stop_flag: float
    """1 if this process was asked to stop, else 0."""

    def backward(self, loss: Tensor, num_correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the gradients of the mean loss of these rows, and add them over the processes.

        Returns:
            Mean loss and number of correct sequences of the batch, and the sum of the stop flags; scalars.
        """
        if len(self.rows):
            (self.rows.fraction * loss).backward()  # backpropagation through time
        sums = torch.stack([num_correct, num_correct.new_tensor(self.stop_flag)])
        means, sums = self.world.sum_gradients(self.network.parameters(), self.rows, loss.detach()[None], sums)
        return means[0], sums[0], sums[1]


def check_batch_sizes(config: LSTMConfig, world: World) -> None:
    """Check that every process has a row of a full batch, at each length of a curriculum.

    Raises `ConfigError` if a batch is too small, or several processes would have to share carried states.
    """
    if config.bptt_steps is not None and world.size > 1:
        refuse("bptt_steps", f"must be none with {world.size} processes, got {config.bptt_steps}; start one")
    for length in config.lengths:
        size = config.batch_size_at(length)
        if size < world.size:
            where = f" at length {length}" if config.curriculum else ""
            problem = f"must be at least {world.size}, the number of processes, got {size}{where}"
            refuse("batch_size", f"{problem}; give a larger one or start fewer processes")
