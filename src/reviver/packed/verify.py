"""Verification of a whole mapped array, in sequence, with progress."""

import logging

from reviver.packed.mapped import MappedArray
from reviver.runs.progress import ProgressBar

_log = logging.getLogger(__name__)


def verify_all(array: MappedArray, name: str) -> None:
    """Verify the blocks of an array that are not verified yet; with a progress bar, unless messages are hidden.

    Args:
        array: the array.
        name: name of the data, for the progress bar.

    Raises:
        DataError: if a block has another checksum than when it was packed.
    """
    total = array.unverified_bytes
    if not total:
        return
    done = 0
    with ProgressBar(f"verifying {name}", -(-total // 10**6), "MB", visible=_log.isEnabledFor(logging.INFO)) as bar:
        for size in array.verify_all():
            done += size
            bar.update(done / 10**6)
