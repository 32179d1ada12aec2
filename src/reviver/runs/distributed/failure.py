"""The failure of one process of several. Its connections close, and the others fail as well.

Rank 0 prints its error; torchrun reports the error of the process that failed first, which each records for it. torch is
imported where it is needed, so that the command line can import this module.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from reviver.errors import Interrupted, ProcessLost
from reviver.text import one_line

LOSS_MESSAGES = ("gloo", "connection", "timed out", "timeout", "nccl", "broken pipe")
"""Words in a RuntimeError of torch.distributed that has no class of its own, in lower case."""


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
