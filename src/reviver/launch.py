"""What `torchrun` tells a process in environment variables, the device that it computes on, and what it reports when it fails.

When a process fails, its connections close, and the others fail as well. Rank 0 prints its error; torchrun reports the
error of the process that failed first, which each records for it. torch is imported where it is needed, so that the
command line can import this module.
"""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from reviver.errors import DeviceError, Interrupted, ProcessLost
from reviver.text import one_line

if TYPE_CHECKING:
    import torch

DEFAULT_TIMEOUT = 1800.0
"""Default of the seconds that a process waits for the others."""
LOSS_MESSAGES = ("gloo", "connection", "timed out", "timeout", "nccl", "broken pipe")
"""Words in a RuntimeError of torch.distributed that has no class of its own, in lower case."""


def is_launched() -> bool:
    """Return whether torchrun, or another launcher that sets the same variables, has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "RANK" in os.environ


def launched_size() -> int:
    """Return the number of processes that torchrun has started, 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if is_launched() else 1


def restart_count() -> int:
    """Return how often torchrun has restarted the processes."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def job_id() -> str | None:
    """Return a name that this process shares with those that it replaces after a restart; None without torchrun.

    It is the --rdzv-id of torchrun, or without one the folder of its logs, which is new for every torchrun.
    """
    name, error_file = os.environ.get("TORCHELASTIC_RUN_ID"), os.environ.get("TORCHELASTIC_ERROR_FILE")
    if name not in (None, "none"):
        return name
    return str(Path(error_file).parents[2]) if name and error_file else None  # FOLDER/attempt_N/LOCAL_RANK/error.json


def choose_device(name: str) -> "torch.device":
    """Return the device `auto` (the first GPU, or the CPU if there is none), `cpu`, `cuda`, `cuda:N` or `mps`.

    Of several processes on a machine, each has the GPU of its local rank. A device that is unknown or absent is a DeviceError.
    """
    import torch

    cuda_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    counts = {"cuda": cuda_devices, "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if name == "auto":
        name = next(kind for kind, count in counts.items() if count)
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in counts or (device.type != "cuda" and device.index not in (None, 0)):
        raise DeviceError(f"device must be one of auto, cpu, cuda, cuda:0, mps, got {name!r}")
    if launched_size() > 1 and device.type != "cpu":
        name = f"{device.type}:{os.environ.get('LOCAL_RANK', os.environ.get('RANK', '0'))}"
        device = torch.device(name)
    if not 0 <= (device.index or 0) < counts[device.type]:  # torch reads cuda:128 as -128
        raise DeviceError(f"device {name!r} is not available on this machine; use --device auto or --device cpu")
    return device


@contextmanager
def explaining_losses(advice: str = "; run the same command again") -> Iterator[None]:
    """Convert an error inside that means the loss of another process to `ProcessLost`; `advice` ends its message."""
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        import torch.distributed as dist

        is_loss = type(error) is RuntimeError and any(word in str(error).lower() for word in LOSS_MESSAGES)
        if not is_loss and not isinstance(error, dist.DistError):
            raise
        raise ProcessLost(f"another process was lost or does not answer ({describe_loss(error)}){advice}") from error


def describe_loss(error: BaseException) -> str:
    """Return the first sentence of an error of torch.distributed, without its place in the C++ code."""
    text = re.sub(r"\[\S+:\d+\] ", "", one_line(error, 1000))
    return one_line(text.partition(". ")[0].rstrip("."))


def record_failure(error: BaseException) -> None:
    """Record an error, without its traceback, for the report of torchrun, as torchelastic's `record` does."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        raise error.with_traceback(None) from None
    except BaseException as recorded:
        with suppress(OSError):
            get_error_handler().record_exception(recorded)


def stop_outside_training(number: int, _: FrameType | None) -> None:
    """Raise `Interrupted` at a stop signal outside of a training session."""
    raise Interrupted(f"stopped by {signal.Signals(number).name}", number)
