"""Reader of sequences from an .npz file of NumPy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reviver.data.sequences import limits
from reviver.data.sequences.builder import FileError, TableBuilder, check_size, find_columns
from reviver.data.sequences.table import SequenceTable
from reviver.files.npz import npz_names, read_npz
from reviver.text import short_repr

REMEDY = (
    "save plain arrays with numpy.savez: x [N, T] or [N, T, I] padded to one length, y [N] integers or text, "
    "and lengths [N] if the sequences differ in length"
)


def read_npz_sequences(path: Path, columns: Sequence[str]) -> SequenceTable:
    """Read `x` and, if there are two columns, `y` of an .npz file, and `lengths` if there is one.

    The names of the columns do not matter. Values of x after the end of a sequence are ignored.

    Raises:
        FileError: if the file is malformed or too large.
    """
    names = npz_names(path, remedy=REMEDY)
    find_columns(names, ("x", "y")[: len(columns)], "array", REMEDY)
    raw = read_npz(path, "x", max_bytes=limits.MAX_BYTES, remedy=REMEDY)
    if raw.ndim not in (2, 3) or raw.dtype.kind not in "biuf":
        raise FileError(f"x is {short_repr(str(raw.dtype))} of the shape {list(raw.shape)}; {REMEDY}")
    if 0 in raw.shape:
        raise FileError(f"x has the shape {list(raw.shape)} and so holds no numbers; {REMEDY}")
    raw = raw.reshape(*raw.shape[:2], -1)
    count, steps, channels = raw.shape
    check_size(count, steps, channels)
    builder = TableBuilder(path.name, "x[{}]", "y[{}]")
    builder.rows.extend(range(count))
    lengths = np.full(count, steps, dtype=np.int64)
    if "lengths" in names:
        lengths = _read_lengths(path, builder, count, steps)
    if len(columns) > 1:
        _read_labels(path, builder, count)
    with np.errstate(all="ignore"):  # overflow becomes inf, which `table` reports
        x = np.array(raw, dtype=np.float32, order="C")
    x[np.arange(steps) >= lengths[:, None]] = 0
    return builder.table(x, lengths)


def _read_lengths(path: Path, builder: TableBuilder, count: int, steps: int) -> NDArray[np.int64]:
    """Return the lengths [N] of N = `count` sequences; add an error for each that is not from 1 to T = `steps`."""
    lengths = _read_vector(path, "lengths", count, "iu", "integers")
    for row in np.flatnonzero((lengths < 1) | (lengths > steps)).tolist():
        remedy = f"x has {steps} steps: give lengths from 1 to {steps}"
        builder.add_error(row, f"{lengths[row]} steps", remedy, "lengths[{}]")
    return lengths.astype(np.int64)


def _read_labels(path: Path, builder: TableBuilder, count: int) -> None:
    """Add the labels of N = `count` sequences."""
    y = _read_vector(path, "y", count, "iuUS", "integers or text, such as y.astype(int)")
    try:
        labels = y.tolist()
    except Exception as error:  # NumPy arrays of text may hold invalid code points
        raise FileError(f"y cannot be read as text ({error}); {REMEDY}") from error
    for row, label in enumerate(labels):
        try:
            builder.add_label(row, label.decode() if isinstance(label, bytes) else str(label))
        except UnicodeDecodeError:
            builder.add_error(row, f"{label[:20]!r} is not UTF-8", "save y as text, not as bytes", "y[{}]")


def _read_vector(path: Path, name: str, count: int, kinds: str, expected: str) -> NDArray[Any]:
    """Return the array `name` [N] of N = `count` values whose dtype is of one of the NumPy `kinds`."""
    raw = read_npz(path, name, max_bytes=limits.MAX_NPZ_SIDE, remedy=REMEDY)
    if raw.shape != (count,) or raw.dtype.kind not in kinds:
        found = f"{short_repr(str(raw.dtype))} of the shape {list(raw.shape)}"
        raise FileError(f"{name} is {found}; give [{count}] {expected}, one for each row of x")
    return raw
