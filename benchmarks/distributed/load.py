"""How much of the cores other programs take while something is timed.

On a shared machine a time says little without it. Blocks of a measurement are chosen by it, not by their time.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reviver.distributed.world import World
from reviver.system import usable_cores

QUIET = 0.1
"""Fraction of the cores that other programs may take of a block that counts as quiet."""
BUSY = 0.3
"""Fraction above which a time is shown, but not compared with another or with the model."""
MIN_BLOCKS = 3
"""Blocks that are kept even if fewer are quiet: those with the least load."""
STAT = Path("/proc/stat")
TICK = 0.01
"""Seconds of a unit in /proc/stat."""


class Reading(NamedTuple):
    """What a stopwatch shows."""

    seconds: float
    """Seconds since it was made."""
    processor: float
    """Processor time of this process in these seconds, all threads together."""
    others: float
    """Fraction of the cores that programs other than these processes took; 0 on systems that do not tell."""


class Stopwatch:
    """Measures time, processor time, and the load by other programs, from when it is made."""

    def __init__(self) -> None:
        self._busy, self._own = _busy_seconds(), time.process_time()
        self._started = time.monotonic()

    def read(self, world: World) -> "Reading":
        """Return what it shows now; all processes must call it."""
        seconds = time.monotonic() - self._started
        busy, own = _busy_seconds() - self._busy, time.process_time() - self._own
        others = max(0.0, busy - sum(world.gather(own))) / seconds / usable_cores()
        return Reading(seconds, own, others)


def choose_quiet(blocks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the blocks whose "others" is at most `QUIET`, or else the `MIN_BLOCKS` with the least."""
    ordered = sorted(blocks, key=lambda block: block["others"])
    num_quiet = sum(block["others"] <= QUIET for block in blocks)
    return list(ordered[: max(num_quiet, MIN_BLOCKS)])


def _busy_seconds() -> float:
    """Return the processor time of all programs since the machine started: all but idle and waiting for disks."""
    if not STAT.exists():
        return 0.0
    user, nice, system, _idle, _disk, irq, soft_irq, steal, *_ = map(
        int, STAT.read_text().split("\n", 1)[0].split()[1:]
    )
    return TICK * (user + nice + system + irq + soft_irq + steal)
