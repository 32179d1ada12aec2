"""The processes that train one run together, as `torchrun` starts them.

`torchrun` tells each process its rank and their number in environment variables. Rank 0 writes the run folder. On CPUs
the processes communicate through gloo, on CUDA through nccl.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from reviver.distributed.rows import BatchRows

DEFAULT_TIMEOUT = 600
"""Default of the seconds that a process waits for the others."""


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them. The default is a run by one process.

    Attributes:
        rank: Index of this process; rank 0 writes.
        size: Number of processes.
        backend: gloo or nccl; None for one process.
        restarts: Number of times that torchrun has restarted the processes.
    """

    rank: int = 0
    size: int = 1
    backend: str | None = None
    restarts: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder and shows progress."""
        return self.rank == 0

    def rows(self, count: int) -> BatchRows:
        """Return the rows of this process in a batch of `count` rows: consecutive ones, as equal in number as possible."""
        return BatchRows(self.rank * count // self.size, (self.rank + 1) * count // self.size, count)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        if self.size == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank; they are Python objects of this program, never of a file."""
        values: list[Any] = [value]
        if self.size > 1:
            values = [None] * self.size
            dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values)
        return values[0]


ALONE = World()
"""A run by one process."""


def launched_size() -> int:
    """Return the number of processes that torchrun has started, 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ or "RANK" in os.environ else 1


@contextmanager
def join_world(device: torch.device, timeout: float = DEFAULT_TIMEOUT) -> Iterator[World]:
    """Connect with the other processes of the run, and disconnect at the end.

    Args:
        device: Device of this process; CUDA communicates through nccl, others through gloo.
        timeout: Seconds that a process waits for the others before it fails.
    """
    if launched_size() == 1 and not dist.is_initialized():
        yield ALONE
        return
    is_ours = not dist.is_initialized()
    if is_ours:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    try:
        yield World(dist.get_rank(), dist.get_world_size(), dist.get_backend(), restarts)
    finally:
        if is_ours:
            dist.destroy_process_group()
