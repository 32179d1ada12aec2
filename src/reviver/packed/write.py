"""Writer of a packed folder: atomic, and never over something that exists."""

import hashlib
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reviver.errors import Interrupted, RunFolderError
from reviver.io.atomic import atomic_folder, make_folder, write_json
from reviver.io.errors import explain_write_errors
from reviver.packed.blocks import BLOCK_BYTES
from reviver.packed.format import FORMAT, RECORD_NAME, ArrayName, Kind, checksum_of
from reviver.runs.signals import handling_signals

Report = Callable[[int], None]
"""Function that is called with the number of bytes written since the last call."""


class PackedWriter:
    """Writer of the arrays of a packed folder.

    Args:
        folder: temporary folder.
        report: called with the size of each chunk that is written.

    Attributes:
        arrays: description of each array that is written, as in packed.json.
    """

    def __init__(self, folder: Path, report: Report) -> None:
        self.arrays: dict[str, dict[str, Any]] = {}
        self._folder = folder
        self._report = report

    def write(
        self, name: ArrayName, dtype: str, shape: Sequence[int], edges: Tensor, chunks: Iterator[NDArray[Any]]
    ) -> None:
        """Write an array.

        Args:
            name: name of the array.
            dtype: NumPy's name of its dtype.
            shape: its shape.
            edges: first row of each block, and the number of rows.
            chunks: its rows, some at a time.
        """
        row_bytes = prod(shape[1:]) * np.dtype(dtype).itemsize
        with _ArrayFile(
            self._folder / f"{name}.npy", dtype, shape, [row_bytes * edge for edge in edges.tolist()]
        ) as file:
            for chunk in chunks:
                content = (
                    np.ascontiguousarray(chunk, dtype=np.dtype(dtype).newbyteorder("<")).reshape(-1).view(np.uint8)
                )
                file.write(content.data)
                self._report(len(content))
        self.arrays[name] = {"dtype": dtype, "shape": list(shape), "sha256": file.sha256, "blocks": file.blocks}


class _ArrayFile:
    """An .npy file that is written in chunks, with the checksums of its blocks.

    Args:
        path: the file.
        dtype: NumPy's name of the dtype.
        shape: shape of the array.
        edges: first byte of each block, and the size.

    Attributes:
        blocks: SHA-256 of each block that is complete.
    """

    def __init__(self, path: Path, dtype: str, shape: Sequence[int], edges: Sequence[int]) -> None:
        self.blocks: list[str] = []
        self._edges = edges
        self._position = 0
        self._all, self._block = hashlib.sha256(), hashlib.sha256()
        self._file = path.open("xb")
        header = {"descr": np.dtype(dtype).newbyteorder("<").str, "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(self._file, header)

    @property
    def sha256(self) -> str:
        """SHA-256 of all bytes, without the header."""
        return self._all.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()
        assert kind is not None or self._position == self._edges[-1], "all rows are written"

    def write(self, content: memoryview) -> None:
        """Append bytes."""
        self._file.write(content)
        self._all.update(content)
        while content:
            size = min(len(content), self._edges[len(self.blocks) + 1] - self._position)
            self._block.update(content[:size])
            self._position += size
            content = content[size:]
            if self._position == self._edges[len(self.blocks) + 1]:
                self.blocks.append(self._block.hexdigest())
                self._block = hashlib.sha256()


@contextmanager
def new_packed_folder(
    out: Path,
    kind: Kind,
    name: str,
    source: str,
    classes: Sequence[str] | None,
    report: Report,
    max_length: int | None = None,
) -> Iterator[PackedWriter]:
    """Yield a writer of the packed folder `out`; at the end, write packed.json and rename the folder to `out`.

    After an error or a signal, nothing is left.

    Args:
        out: folder that must not exist.
        kind: kind of the data.
        name: name of the data.
        source: source of the data.
        classes: names of the classes, or None.
        report: called with the size of each chunk that is written.
        max_length: T of sequences; None for images.

    Raises:
        RunFolderError: if `out` exists or cannot be written.
        Interrupted: at SIGINT or SIGTERM.
    """
    refuse_existing(out)

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(f"{out}: stopped by {signal.Signals(number).name}; nothing was written", number)

    with explain_write_errors(out):
        make_folder(out.absolute().parent)
    with handling_signals(stop), atomic_folder(out.absolute()) as folder:
        writer = PackedWriter(folder, report)
        yield writer
        record = {
            "format": FORMAT,
            "kind": kind,
            "name": re.sub(r"[\x00-\x1f\x7f]", "?", name),
            "source": source,
            "classes": None if classes is None else list(classes),
            "max_length": max_length,
            "block_bytes": BLOCK_BYTES,
            "arrays": writer.arrays,
        }
        write_json(folder / RECORD_NAME, {**record, "checksum": checksum_of(record)})


def refuse_existing(out: Path) -> None:
    """Raise `RunFolderError` if something exists at `out`."""
    if out.exists() or out.is_symlink():
        raise RunFolderError(f"{out}: exists already and is never overwritten; choose another --out")
