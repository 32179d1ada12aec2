"""A mapped array: rows of a file that are read when they are used, block by block verified, and dropped afterwards.

Shapes: R rows along the first dimension, B blocks, n rows that are read together.
"""

import hashlib
import mmap
import os
import warnings
import weakref
from collections import deque
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reviver.errors import DataError
from reviver.io.errors import damaged_data_file
from reviver.io.files import open_file
from reviver.io.npz import read_npy_header
from reviver.packed.format import REMEDY, ArrayRecord
from reviver.packed.order import WINDOW_BLOCKS

KEPT_BYTES = WINDOW_BLOCKS << 22
"""Size of the pages that stay in the memory of the process, until all are dropped: a window of the order `blocks`."""


class MappedArray:
    """The array of a packed folder, mapped into memory.

    The operating system reads a page of the file when it is used. The pages count as memory of the process until they
    are dropped, which happens each time that rows of `KEPT_BYTES` have been taken. A file that another program truncates
    meanwhile ends the process with SIGBUS.

    One thread may take rows at a time.

    Args:
        path: file, whose header and size agree with `record`.
        record: description of the array.
        edges: first row of each block, and R, [B + 1].

    Attributes:
        rows: the array, which must not be written to.
        edges: first row of each block, and R, [B + 1].
        sha256: SHA-256 of the array, as packed.json has it.

    Raises:
        DataError: if the file cannot be mapped, or the record has another number of blocks.
    """

    def __init__(self, path: Path, record: ArrayRecord, edges: Tensor) -> None:
        if len(record.blocks) != len(edges) - 1:
            problem = f"it has {len(edges) - 1} blocks and checksums of {len(record.blocks)}"
            raise damaged_data_file(path, problem, REMEDY)
        self.path = path
        self.sha256 = record.sha256
        self.edges = edges.numpy()
        self._offset = read_npy_header(path, remedy=REMEDY).offset
        try:
            self._file = open_file(path)
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise damaged_data_file(path, f"it cannot be mapped ({error})", REMEDY) from error
        weakref.finalize(self, self._file.close)
        if hasattr(self._map, "madvise"):  # not on Windows
            self._map.madvise(mmap.MADV_RANDOM)  # else each page that is used brings its neighbours
        size = prod(record.shape)
        array = np.frombuffer(self._map, dtype=record.dtype, count=size, offset=self._offset)
        self.rows: NDArray[Any] = array.reshape(record.shape)
        self._row_bytes = record.num_bytes // record.shape[0]
        self._checksums = record.blocks
        self._is_verified = np.zeros(len(record.blocks), dtype=bool)
        self._recent: deque[int] = deque(maxlen=2 * WINDOW_BLOCKS)
        self._taken_bytes = 0

    def __len__(self) -> int:
        """Return R."""
        return len(self.rows)

    @property
    def tensor(self) -> Tensor:
        """The rows as a tensor that shares the mapping; it must not be written to."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(self.rows)

    @property
    def unverified_bytes(self) -> int:
        """Size of the blocks that have not been verified yet."""
        return int(np.diff(self.edges)[~self._is_verified].sum()) * self._row_bytes

    def take(self, index: NDArray[np.int64], *, in_blocks: bool = False) -> NDArray[Any]:
        """Return a copy of the rows `index` [n], of verified blocks; blocks that are not verified yet are verified.

        Args:
            index: rows.
            in_blocks: whether the following calls need the other rows of the same blocks, too.

        Raises:
            DataError: if a block has another checksum.
        """
        blocks = np.unique(np.searchsorted(self.edges, index, side="right") - 1)
        for block in blocks.tolist():
            if not self._is_verified[block]:
                self.verify(block)
            elif in_blocks and block not in self._recent:
                self._will_need(block)
            if in_blocks and block not in self._recent:
                self._recent.append(block)
        taken = self.rows[index]
        self._taken_bytes += len(index) * max(self._row_bytes, mmap.PAGESIZE)
        if self._taken_bytes > KEPT_BYTES:
            self.drop_pages()
        return taken

    def verify(self, block: int) -> None:
        """Read a block from the file, from its begin to its end, and compare its checksum.

        Raises:
            DataError: if it cannot be read, or differs.
        """
        begin, end = (int(row) * self._row_bytes for row in self.edges[block : block + 2])
        try:
            self._file.seek(self._offset + begin)
            content = self._file.read(end - begin)
        except OSError as error:
            raise damaged_data_file(self.path, f"block {block} cannot be read ({error})", REMEDY) from error
        if hashlib.sha256(content).hexdigest() != self._checksums[block]:
            rows = f"rows {self.edges[block]} to {self.edges[block + 1] - 1}"
            raise DataError(f"{self.path}: block {block} ({rows}) has another checksum than when packed; {REMEDY}")
        self._is_verified[block] = True

    def verify_all(self) -> Iterator[int]:
        """Verify all blocks in sequence; yield the size of each. Blocks that are verified already are skipped.

        Raises:
            DataError: see `verify`.
        """
        for block in np.flatnonzero(~self._is_verified).tolist():
            self.verify(block)
            yield int(self.edges[block + 1] - self.edges[block]) * self._row_bytes

    def drop_pages(self) -> None:
        """Drop the pages from the memory of the process. The operating system may keep them as its cache of the file."""
        self._taken_bytes = 0
        if hasattr(self._map, "madvise"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)

    def _will_need(self, block: int) -> None:
        """Ask the operating system to read a block ahead."""
        if hasattr(os, "posix_fadvise"):  # not on macOS and Windows
            begin, end = (int(row) * self._row_bytes for row in self.edges[block : block + 2])
            os.posix_fadvise(self._file.fileno(), self._offset + begin, end - begin, os.POSIX_FADV_WILLNEED)
