"""Reading ahead: one thread loads the next items while the caller works on the present one."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

AHEAD_BYTES = 32 << 20
"""Size of the items that are loaded ahead: half a window of the order `blocks`, so that training does not wait while the
next window is read."""
MIN_AHEAD, MAX_AHEAD = 2, 512
"""Number of items that are loaded ahead."""

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


def read_ahead(items: Sequence[Item], load: Callable[[Item], Loaded], item_bytes: int) -> Iterator[Loaded]:
    """Yield `load(item)` of each item, in order; a thread calls `load` for the next items meanwhile.

    An error of `load` is raised in place of its item.

    Args:
        items: items, such as the indices of batches.
        load: function that only the thread calls, while the caller iterates.
        item_bytes: size of a loaded item, which decides how many are loaded ahead.
    """
    depth = min(MAX_AHEAD, max(MIN_AHEAD, AHEAD_BYTES // max(1, item_bytes)))
    remaining = iter(items)
    pool = ThreadPoolExecutor(1, "read-ahead")
    try:
        pending: deque[Future[Loaded]] = deque(pool.submit(load, item) for item in islice(remaining, depth))
        while pending:
            loaded = pending.popleft().result()
            pending.extend(pool.submit(load, item) for item in islice(remaining, 1))
            yield loaded
    finally:
        pool.shutdown(cancel_futures=True)
