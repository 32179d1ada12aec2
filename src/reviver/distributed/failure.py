"""The failure of one process of several: what the others see of it, and which of them reports it.

When a process fails, its connections close, and the others fail as well. The first one to fail reports its error; what
the others would say is the same, or follows from it. They decide that through a key-value store that torchrun hosts, so
that it is there even if rank 0 is not.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any

import torch.distributed as dist

from reviver.distributed.launch import launched_rank, restart_count
from reviver.errors import ProcessLost
from reviver.text import one_line

STORE_TIMEOUT = timedelta(seconds=5)
"""Time that the store has to answer."""
MAIN_FIRST = timedelta(seconds=2)
"""Time that rank 0 has to fail with the same error, so that it is rank 0 that reports it."""
REPORT_TIMEOUT = timedelta(seconds=10)
"""Time that the reporting process has to print, before others exit and torchrun ends it."""
LOSS_MESSAGES = ("gloo", "connection", "timed out", "timeout", "nccl", "broken pipe")
"""Words in a RuntimeError of torch.distributed that has no class of its own, in lower case."""


def is_loss(error: BaseException) -> bool:
    """Return whether an error of torch.distributed means that another process is gone or does not answer."""
    if isinstance(error, dist.DistError):
        return True
    return type(error) is RuntimeError and any(word in str(error).lower() for word in LOSS_MESSAGES)


@contextmanager
def explaining_losses(where: str = "", remedy: str = "run the same command again") -> Iterator[None]:
    """Convert an error inside that means the loss of another process to `ProcessLost`.

    Args:
        where: position in the training, such as `step 12: `.
        remedy: what to do.
    """
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        if not is_loss(error):
            raise
        raise ProcessLost(f"{where}another process was lost or did not answer ({one_line(error)}); {remedy}") from error


class FailureReport:
    """The agreement of the failed processes about which one reports.

    Attributes:
        is_mine: whether this process reports.
    """

    def __init__(self) -> None:
        self._key = f"reviver/failure/{restart_count()}"
        self._store: Any = None
        self.is_mine = True
        with suppress(RuntimeError, ValueError, KeyError):  # nobody hosts the store any longer
            self._store = _open_store()
            self.is_mine = _claim(self._store, self._key)

    def finish(self) -> None:
        """Tell the others that the error is printed; on the others, wait for that."""
        if self._store is None:
            return
        with suppress(RuntimeError):
            if self.is_mine:
                self._store.set(f"{self._key}/printed", "")
            else:
                self._store.wait([f"{self._key}/printed"], REPORT_TIMEOUT)


def _open_store() -> Any:
    """Connect with the store of torchrun. Without torchrun, rank 0 hosts it."""
    is_hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=not is_hosted and launched_rank() == 0,
        wait_for_workers=False,
        multi_tenant=True,
        timeout=STORE_TIMEOUT,
    )


def _claim(store: Any, key: str) -> bool:
    """Return whether this process is the first to set `key`."""
    rank = launched_rank()
    if rank > 0:
        with suppress(RuntimeError):  # not in time: rank 0 does not fail with the same error
            store.wait([key], MAIN_FIRST)
    return bool(store.compare_set(key, "", str(rank)) == str(rank).encode())


@cache
def claim_report() -> FailureReport:
    """Ask to report the failure of this process; a process fails only once."""
    return FailureReport()
