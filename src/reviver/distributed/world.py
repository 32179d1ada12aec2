"""The processes that train one run together, as `torchrun` starts them.

`torchrun` tells each process its rank and their number in environment variables. Rank 0 writes the run folder. On CPUs
the processes communicate through gloo, on CUDA through nccl. A second group, always gloo, carries Python objects and
tells who waits for rank 0 that it is alive.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from reviver.distributed.failure import claim_report, describe_loss, explaining_losses
from reviver.distributed.launch import DEFAULT_TIMEOUT, launched_size, restart_count
from reviver.distributed.rows import BatchRows
from reviver.errors import ConfigError, ProcessLost, ReviverError
from reviver.text import one_line, short_repr

__all__ = ["ALONE", "DEFAULT_TIMEOUT", "World", "join_world"]

MAX_PING_SECONDS = 5.0
"""Maximum time between two signs of life from rank 0, while the others wait for it."""

T = TypeVar("T")
_connections = itertools.count()


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them. The default is a run by one process.

    Attributes:
        rank: Index of this process; rank 0 writes.
        size: Number of processes.
        backend: gloo or nccl; None for one process.
        restarts: Number of times that torchrun has restarted the processes.
        timeout: Seconds that a process waits for the others before it fails.
        control: Process group of gloo for Python objects; None for one process.
    """

    rank: int = 0
    size: int = 1
    backend: str | None = None
    restarts: int = 0
    timeout: float = DEFAULT_TIMEOUT
    control: Any = field(default=None, repr=False, compare=False)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder and shows progress."""
        return self.rank == 0

    @property
    def description(self) -> str:
        """Label for people, such as `2 processes (gloo)`."""
        return f"{self.size} processes ({self.backend})" if self.size > 1 else "1 process"

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
            dist.all_gather_object(values, value, group=self.control)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, group=self.control)
        return values[0]

    def call_on_main(self, function: Callable[[], T]) -> T:
        """Call `function` on rank 0 and return its result on all processes.

        The others wait as long as rank 0 gives signs of life, also beyond the timeout.

        Raises:
            ReviverError: the error of `function`, on all processes.
            ProcessLost: on the others, if `function` raises another error.
        """
        if self.size == 1:
            return function()
        if self.is_main:
            return self._call_and_tell(function)
        result: T = self._wait_for_main()
        return result

    def main_first(self, function: Callable[[], T]) -> T:
        """Call `function` on rank 0, and then, if it succeeds, on the others; return the result of each."""
        results: list[T] = []
        self.call_on_main(lambda: results.append(function()))
        return results[0] if self.is_main else function()

    def require_same(self, values: Mapping[str, Any], subject: str = "") -> None:
        """Compare `values` over the processes.

        Args:
            values: values by name, the same names on all processes.
            subject: words before the names in the error, such as "data: ".

        Raises:
            ConfigError: on all processes, if a value differs; it names the rank, the value, and that of rank 0.
        """
        first, *others = self.gather(dict(values))
        for rank, other in enumerate(others, 1):
            for name, value in first.items():
                if other.get(name) != value:
                    raise ConfigError(
                        f"{subject}{name} must be the same on all processes, got {short_repr(value)} on rank 0 and "
                        f"{short_repr(other.get(name))} on rank {rank}; start all with the same command, data and versions"
                    )

    def _call_and_tell(self, function: Callable[[], T]) -> T:
        """Return the result of `function`, and send it, or its error, to the others."""
        results: list[T] = []
        failure: BaseException | None = None
        with self._signs_of_life():
            try:
                results.append(function())
            except BaseException as error:
                failure = error
        self._ping(is_busy=False)
        self.broadcast((results, _shareable(failure)))
        if failure is not None:
            raise failure
        return results[0]

    def _wait_for_main(self) -> Any:
        """Return the result that rank 0 sends by `_call_and_tell`, or raise its error."""
        while self._ping(is_busy=True):
            pass
        results, failure = self.broadcast(None)
        if failure is not None:
            raise failure
        return results[0]

    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """Tell the others every few seconds that rank 0 is busy inside; a thread does so."""
        done = threading.Event()
        seconds = min(MAX_PING_SECONDS, self.timeout / 4)
        failures: list[Exception] = []

        def send() -> None:
            try:
                while not done.wait(seconds):
                    self._ping(is_busy=True)
            except Exception as error:  # raised below, in the thread that can handle it
                failures.append(error)

        thread = threading.Thread(target=send, name="signs of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        if failures:
            raise failures[0]

    def _ping(self, *, is_busy: bool) -> bool:
        """Send whether rank 0 is busy; on other ranks, wait for that and return it."""
        flag = torch.tensor([int(is_busy)])
        dist.broadcast(flag, 0, group=self.control)
        return bool(flag.item())


ALONE = World()
"""A run by one process."""


@contextmanager
def join_world(device: torch.device, timeout: float = DEFAULT_TIMEOUT) -> Iterator[World]:
    """Connect with the other processes of the run, and disconnect at the end.

    A process group that the caller has initialized is used, and left as it is.

    Args:
        device: Device of this process; CUDA communicates through nccl, others through gloo.
        timeout: Seconds that a process waits for the others before it fails.

    Raises:
        ProcessLost: if the others do not answer in time, or one is lost inside.
        ConfigError: if the environment variables are incomplete.
    """
    is_ours = not dist.is_available() or not dist.is_initialized()
    size = launched_size() if is_ours else dist.get_world_size()
    if size == 1:
        yield World(restarts=restart_count())
        return
    limit = timedelta(seconds=timeout)
    if is_ours:
        _connect(device, limit)
    try:
        with explaining_losses():
            control = dist.new_group(backend="gloo", timeout=limit)
            try:
                yield World(dist.get_rank(), size, dist.get_backend(), restart_count(), timeout, control)
            finally:
                if not is_ours:
                    dist.destroy_process_group(control)
    except BaseException:
        if is_ours:
            claim_report()  # before the connections close, from which the others learn that this process failed
        raise
    finally:
        if is_ours:
            dist.destroy_process_group()


def _shareable(error: BaseException | None) -> ReviverError | None:
    """Return what the other processes raise for an error of rank 0."""
    if error is None or isinstance(error, ReviverError):
        return error
    return ProcessLost(f"rank 0 failed ({type(error).__name__}: {one_line(error)})")


def _connect(device: torch.device, timeout: timedelta) -> None:
    """Initialize the process group from the variables of torchrun."""
    backend = "gloo"
    if device.type == "cuda":
        backend = "nccl"
        torch.cuda.set_device(device)
    try:
        store, rank, size = next(rendezvous("env://", timeout=timeout))
        store.set_timeout(timeout)
        # torchrun keeps its store for restarts; the addresses there of the processes before must not be found again.
        store = dist.PrefixStore(f"reviver/{restart_count()}/{next(_connections)}", store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except ValueError as error:  # a variable is missing
        raise ConfigError(f"{one_line(error)}; start with torchrun") from error
    except RuntimeError as error:
        raise ProcessLost(
            f"could not connect with the other processes ({describe_loss(error)}); start all {launched_size()} of them with "
            f"torchrun within --timeout, {timeout.total_seconds():g} s"
        ) from error
