"""The failure of one process of several: what the others see of it, and which of them reports it.

When a process fails, its connections close, and the others fail as well. The first one to fail reports its error; what
the others would say is the same, or follows from it. They decide that through a key-value store that torchrun hosts, so
that it is there even if rank 0 is not.

torch is imported where it is needed, so that the command line can import this module.
"""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from reviver.distributed.launch import restart_count
from reviver.errors import Interrupted, ProcessLost
from reviver.text import one_line

STORE_TIMEOUT = timedelta(seconds=5)
"""Time that the store has to answer."""
MAIN_FIRST = timedelta(seconds=1)
"""Time that rank 0 has to fail with the same error, so that it is rank 0 that reports it."""
REPORT_TIMEOUT = timedelta(seconds=10)
"""Time that the reporting process has to print, before others exit and torchrun ends it."""
LOSS_MESSAGES = ("gloo", "connection", "timed out", "timeout", "nccl", "broken pipe")
"""Words in a RuntimeError of torch.distributed that has no class of its own, in lower case."""

_failing = threading.Event()


def is_loss(error: BaseException) -> bool:
    """Return whether an error of torch.distributed means that another process is gone or does not answer."""
    import torch.distributed as dist

    if isinstance(error, dist.DistError):
        return True
    return type(error) is RuntimeError and any(word in str(error).lower() for word in LOSS_MESSAGES)


@contextmanager
def explaining_losses(advice: str = "; run the same command again") -> Iterator[None]:
    """Convert an error inside that means the loss of another process to `ProcessLost`; `advice` ends its message."""
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        if not is_loss(error):
            raise
        raise ProcessLost(f"another process was lost or does not answer ({describe_loss(error)}){advice}") from error


def describe_loss(error: BaseException) -> str:
    """Return the first sentence of an error of torch.distributed, without its place in the C++ code."""
    text = re.sub(r"\[\S+:\d+\] ", "", one_line(error, 1000))
    return one_line(text.partition(". ")[0].rstrip("."))


class FailureReport:
    """The agreement of the failed processes about which one reports.

    Attributes:
        is_mine: whether this process reports.
        rank: rank of this process.
    """

    def __init__(self) -> None:
        self._key = f"reviver/failure/{restart_count()}"
        self._store: Any = None
        self.is_mine = True
        self.rank = int(os.environ.get("RANK", "0"))
        with suppress(RuntimeError, ValueError, KeyError):  # nobody hosts the store any longer
            self._store = _open_store()
            self.is_mine = _claim(self._store, self._key, self.rank)

    def finish(self, line: str) -> None:
        """Note the line of the error for torchrun, after it is printed; processes that do not report wait for that.

        They wait since torchrun ends all processes once one has exited.
        """
        _write_error_file(line)
        if self._store is None:
            return
        with suppress(RuntimeError):
            if self.is_mine:
                self._store.set(f"{self._key}/printed", "")
            else:
                self._store.wait([f"{self._key}/printed"], REPORT_TIMEOUT)


def _write_error_file(line: str) -> None:
    """Write the file from which the report of torchrun takes the error; the format is that of its `ErrorHandler`."""
    if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        details = {"py_callstack": line, "timestamp": str(int(time.time()))}
        with suppress(OSError):
            Path(path).write_text(json.dumps({"message": {"message": line, "extraInfo": details}}))


def _open_store() -> Any:
    """Connect with the store of torchrun. Without torchrun, rank 0 hosts it."""
    import torch.distributed as dist

    is_hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=not is_hosted and os.environ.get("RANK") == "0",
        wait_for_workers=False,
        multi_tenant=True,
        timeout=STORE_TIMEOUT,
    )


def _claim(store: Any, key: str, rank: int) -> bool:
    """Return whether this process is the first to set `key`."""
    if rank > 0:
        with suppress(RuntimeError):  # not in time: rank 0 does not fail with the same error
            store.wait([key], MAIN_FIRST)
    return bool(store.compare_set(key, "", str(rank)) == str(rank).encode())


def claim_report() -> FailureReport:
    """Ask to report the failure of this process; a process fails only once."""
    _failing.set()
    return _report()


def stop_outside_training(number: int, _: FrameType | None) -> None:
    """Handle a stop signal outside of a training session: stop, unless this process fails already and reports it.

    torchrun sends SIGTERM to all processes once one has failed.

    Raises:
        Interrupted: unless the process fails already.
    """
    if not _failing.is_set():
        raise Interrupted(f"stopped by {signal.Signals(number).name}", number)


@cache
def _report() -> FailureReport:
    return FailureReport()
