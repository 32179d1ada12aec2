"""The processes that train one run together, as `torchrun` starts them. Rank 0 writes the run folder.

Tensors on CPUs and Python objects go through gloo, tensors on CUDA through nccl.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from reviver.errors import ConfigError, Interrupted, ProcessLost, ReviverError
from reviver.launch import describe_loss, explaining_losses, launched_size, restart_count
from reviver.rng import BatchRows
from reviver.settings.validation import refuse
from reviver.text import one_line, short_repr

T = TypeVar("T")
_connections = itertools.count()


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them. The default is a run by one process."""

    rank: int = 0
    """Index of this process; rank 0 writes."""
    size: int = 1
    backend: str | None = None
    """gloo or nccl; None for one process."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder and shows progress."""
        return self.rank == 0

    def rows(self, count: int) -> BatchRows:
        """Return the rows of this process in a batch of `count`: consecutive ones, as equal in number as possible."""
        return BatchRows(self.rank * count // self.size, (self.rank + 1) * count // self.size, count)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        total = tensor.clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank; they are Python objects of this program, never of a file."""
        values: list[Any] = [value]
        if self.size > 1:
            values = [None] * self.size
            dist.all_gather_object(values, value)
        return values

    def call_on_main(self, function: Callable[[], T]) -> T:
        """Call `function` on rank 0 and return its result, or raise its error, on all processes; the others wait.

        If the error is not a ReviverError, the others raise ProcessLost.
        """
        if self.size == 1:
            return function()
        outcome: list[Any] = [None, None]
        failure: BaseException | None = None
        if self.is_main:
            try:
                outcome[0] = function()
            except BaseException as error:
                failure = error
                lost = ProcessLost(f"rank 0 failed ({type(error).__name__}: {one_line(error)})")
                outcome[1] = error if isinstance(error, ReviverError | Interrupted) else lost
        dist.broadcast_object_list(outcome)
        if (raised := failure or outcome[1]) is not None:
            raise raised
        result: T = outcome[0]
        return result

    def check_batch_size(self, size: int, where: str = "") -> None:
        """Raise ConfigError unless each process has a row of a batch of `size`."""
        if size < self.size:
            problem = f"must be at least {self.size}, the number of processes, got {size}{where}"
            refuse("batch_size", f"{problem}; give a larger one or start fewer processes")

    def require_same(self, values: Mapping[str, Any], subject: str = "") -> None:
        """Raise a ConfigError, in which `subject` stands before the name, on all processes if one of the `values` differs."""
        first, *others = self.gather(dict(values))
        for rank, other in enumerate(others, 1):
            for name, value in first.items():
                if other.get(name) != value:
                    raise ConfigError(
                        f"{subject}{name} must be the same on all processes, got {short_repr(value)} on rank 0 and "
                        f"{short_repr(other.get(name))} on rank {rank}; start all with the same command, data and versions"
                    )


ALONE = World()


@contextmanager
def join_world(device: torch.device, timeout: float) -> Iterator[World]:
    """Connect with the other processes of the run, and disconnect at the end.

    A process group that the caller has initialized is used, and left as it is. Processes that do not answer within `timeout`
    seconds, or are lost inside, are ProcessLost.
    """
    is_ours = not dist.is_available() or not dist.is_initialized()
    size = launched_size() if is_ours else dist.get_world_size()
    if size == 1:
        yield ALONE
        return
    if is_ours:
        _connect(device, timedelta(seconds=timeout))
    try:
        with explaining_losses():
            yield World(dist.get_rank(), size, "nccl" if device.type == "cuda" else "gloo")
    finally:
        if is_ours:
            dist.destroy_process_group()


def _connect(device: torch.device, timeout: timedelta) -> None:
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        store, rank, size = next(rendezvous("env://", timeout=timeout))
        # torchrun keeps its store for restarts; the addresses there of the processes before must not be found again.
        store = dist.PrefixStore(f"reviver/{restart_count()}/{next(_connections)}", store)  # type: ignore[attr-defined]
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except ValueError as error:  # a variable is missing
        raise ConfigError(f"{one_line(error)}; start with torchrun") from error
    except RuntimeError as error:
        raise ProcessLost(
            f"could not connect with the other processes ({describe_loss(error)}); start all {launched_size()} of them with "
            f"torchrun within --timeout, {timeout.total_seconds():g} s"
        ) from error
