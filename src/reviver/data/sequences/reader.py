"""Readers of custom sequences: a .csv, .parquet or .npz file becomes a `SequenceTable`.

Files are not trusted. The readers compare claimed sizes with the file and with the limits in `table` before they allocate memory,
and unpickle nothing. Every error of a file is a DataError that names the row.
"""

import csv
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reviver.data.sequences import table
from reviver.data.sequences.table import LENGTH_REMEDY, FileError, SequenceTable, TableBuilder, check_size, join_listed
from reviver.errors import ConfigError, DataError
from reviver.files.json import parse_json
from reviver.files.npz import npz_names, read_npz
from reviver.files.parquet import read_frames
from reviver.files.read import open_file
from reviver.text import one_line, short_repr

NPZ_REMEDY = (
    "save plain arrays with numpy.savez: x [N, T] or [N, T, I] padded to one length, y [N] integers or text, "
    "and lengths [N] if the sequences differ in length"
)


class MissingColumnError(FileError):
    """A file lacks a wanted column."""


def read_sequences(
    path: Path, *, sequence_column: str = "sequence", label_column: str = "label", labeled: bool = True
) -> SequenceTable:
    """Read sequences and, if `labeled`, their labels from a file.

    - `.csv` (UTF-8, with a header, columns separated by commas): `sequence_column` has each sequence as text. The
      numbers are separated by spaces or by commas, in brackets or not; each is one step of one channel. Blank rows are
      skipped. Rows are counted as in a spreadsheet: the header is row 1, and a row may have several lines.
    - `.parquet`: the same, or `sequence_column` has lists of numbers.
    - `.npz`: x [N, T] or [N, T, I], y [N] and, if the sequences differ in length, lengths [N]. The names of the columns
      do not matter. Values of x after the end of a sequence are ignored.

    Labels are text or integers. Numbers become float32, which has about 7 digits: subtract a large offset, such as that
    of a date, before.

    Raises:
        ConfigError: if both columns have the same name.
        DataError: if the file is missing, malformed or too large, or pyarrow, which reads .parquet, is not installed.
    """
    if labeled and sequence_column == label_column:
        raise ConfigError(
            f"label_column must not be sequence_column, got {short_repr(label_column)} for both; name another column",
            field="label_column",
        )
    columns = (sequence_column, label_column) if labeled else (sequence_column,)
    read = READERS.get(path.suffix.lower())
    if read is None or not path.is_file():
        problem = "is of an unknown kind" if path.is_file() else "is no file" if path.exists() else "does not exist"
        *others, last = READERS
        raise DataError(f"{path}: {problem}; give a {', '.join(others)} or {last} file")
    try:
        return read(path, columns)
    except FileError as error:
        raise DataError(f"{path}: {error}") from error.__cause__


def read_if_labeled(path: Path, *, sequence_column: str, label_column: str) -> tuple[SequenceTable, str]:
    """Read sequences and, if the file has them, their labels.

    Returns:
        The table, and what is wrong with the labels: the table has none then. The text is empty if nothing is wrong or
        the file has no labels.

    Raises:
        ConfigError, DataError: see `read_sequences`, except for the labels.
    """
    problem = ""
    try:
        return read_sequences(path, sequence_column=sequence_column, label_column=label_column), problem
    except DataError as error:
        if not isinstance(error.__context__, MissingColumnError):
            problem = str(error)
    return read_sequences(path, sequence_column=sequence_column, labeled=False), problem


def _find_columns(names: Sequence[str], wanted: Sequence[str], kind: str = "column", remedy: str = "") -> list[int]:
    """Return the indices of the wanted columns (of the sequences, then of the labels), or arrays, among `names`."""
    for option, column in zip(("--sequence-column", "--label-column"), wanted, strict=False):
        if column not in names:
            near = difflib.get_close_matches(column, [name for name in names[:100] if len(name) < 100], 1, 0.5)
            hint = f" (did you mean {short_repr(near[0])}?)" if near else ""
            found = join_listed([short_repr(name) for name in names[:10]], len(names), 10) or "none"
            remedy = remedy or f"name the right one with {option}"
            raise MissingColumnError(f"there is no {kind} {short_repr(column)} among {found}{hint}; {remedy}")
        if names.count(column) > 1:
            raise FileError(
                f"{names.count(column)} columns are called {short_repr(column)}; rename all but one of them"
            )
    return [names.index(column) for column in wanted]


def _unreadable(error: Exception) -> FileError:
    return FileError(f"it cannot be read ({one_line(error)}); check or replace the file")


# CSV


def _read_csv(path: Path, columns: Sequence[str]) -> SequenceTable:
    """Read sequences as text and, unless there is no second column, labels."""
    builder = TableBuilder(path.name, "row {}")
    header: list[str] = []
    number, remaining = 0, table.MAX_ROW

    def lines() -> Iterator[str]:
        """Yield the lines of the file; raise an error if the lines of a row are too long together."""
        nonlocal remaining
        while line := file.readline(remaining + 1):
            remaining -= len(line)
            if remaining < 0:
                raise csv.Error(f"it has more than {table.MAX_ROW} characters; {LENGTH_REMEDY}")
            yield line

    try:
        with ExitStack() as stack:
            # The limit is global in Python: restore it afterward.
            stack.callback(csv.field_size_limit, csv.field_size_limit(table.MAX_FIELD))
            file = stack.enter_context(TextIOWrapper(open_file(path), encoding="utf-8-sig", newline=""))
            for record in csv.reader(lines(), strict=True):
                number += 1  # not enumerate, so that after an error of the reader the next row is the broken one
                remaining = table.MAX_ROW
                if not any(record):
                    continue
                if not header:
                    header = _csv_header(record)
                    indices = _find_columns(header, columns)
                elif len(record) != len(header):
                    problem = f"it has {len(record)} fields and the header has {len(header)}"
                    builder.add_error(number, problem, 'put a sequence that contains commas in quotes: "1, 2, 3"')
                else:
                    builder.add_text(number, record[indices[0]])
                    for index in indices[1:]:
                        builder.add_label(number, record[index])
    except UnicodeDecodeError as error:
        with open_file(path) as damaged:
            line = next(k for k, text in enumerate(damaged, 1) if text.decode("utf-8", "ignore").encode() != text)
        raise FileError(f"line {line} is not UTF-8; save it as UTF-8 (in a spreadsheet: “CSV UTF-8”)") from error
    except csv.Error as error:
        problem = str(error)
        if "field limit" in problem:
            problem = f"a field has more than {table.MAX_FIELD} characters; {LENGTH_REMEDY}"
        elif LENGTH_REMEDY not in problem:
            problem += "; check the quotes there"
        raise FileError(f"row {number + 1}: {problem}") from error
    except OSError as error:
        raise _unreadable(error) from error
    if not header:
        raise FileError(f"it is empty; give a file with a header ({', '.join(columns)}) and rows")
    return builder.padded_table()


def _csv_header(record: Sequence[str]) -> list[str]:
    """Return the names of the columns; raise a FileError if the separator is another than a comma."""
    header = [name.strip() for name in record]
    if len(header) > table.MAX_COLUMNS:
        raise FileError(f"it has {len(header)} columns; put each sequence into one column")
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise FileError(f"its columns are separated by {name}; save it with commas")
    return header


# Parquet


def _read_parquet(path: Path, columns: Sequence[str]) -> SequenceTable:
    """Read sequences as text or lists and, unless there is no second column, labels; see `reviver.files.parquet`."""
    if find_spec("pyarrow") is None:
        raise FileError("reading .parquet needs pyarrow; pip install pyarrow, or save the file as .csv or .npz")
    builder = TableBuilder(path.name, "row index {}")
    try:
        with closing(read_frames(path, columns)) as frames:
            described = parse_json(next(frames))
            _find_columns(described["names"], columns)
            check_size(described["rows"], 1, 1)
            _check_kinds(described["kinds"], columns)
            first = 0
            while frame := next(frames):
                count = len(frame) // 8
                if described["kinds"][columns[0]][0] == "lists":
                    lengths, values = np.frombuffer(frame, "<i8"), np.frombuffer(next(frames), "<f4")
                    if lengths.min() < 0 or lengths.sum() != len(values):
                        raise ValueError("its lists have other lengths than numbers")
                    builder.add_numbers(values)
                    for row, length in enumerate(lengths.tolist(), first):
                        builder.end_sequence(row, length, is_empty=length == 0)
                else:
                    for row, text in enumerate(_texts(frame, frames), first):
                        builder.add_text(row, text)
                for _ in columns[1:]:
                    for row, label in zip(range(first, first + count), _texts(next(frames), frames), strict=True):
                        builder.add_label(row, label)
                first += count
    except FileError:
        raise
    except Exception as error:  # the child may send anything
        raise _unreadable(error) from error
    return builder.padded_table()


def _check_kinds(kinds: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Raise unless each column is of a kind that it may have."""
    expected = (
        ("lists of numbers, or text such as '1 2 3'", ("lists", "text")),
        ("labels as text or integers", ("integers", "text")),
    )
    for name, (text, allowed) in zip(columns, expected, strict=False):
        kind, kind_text = kinds[name]
        if kind not in allowed:
            raise FileError(f"column {short_repr(name)} holds {short_repr(kind_text)}; give {text}")


def _texts(codes: bytes, frames: Iterator[bytes]) -> list[str]:
    """Return the texts of a batch, of which each different one was sent once."""
    lengths, encoded = np.frombuffer(next(frames), "<i8"), next(frames)
    ends = lengths.cumsum().tolist()
    texts = [encoded[end - length : end].decode() for end, length in zip(ends, lengths.tolist(), strict=True)]
    return [texts[code] for code in np.frombuffer(codes, "<i8").tolist()]


# NumPy


def _read_npz(path: Path, columns: Sequence[str]) -> SequenceTable:
    """Read `x` and, if there are two columns, `y`, and `lengths` if there is one."""
    names = npz_names(path, remedy=NPZ_REMEDY)
    _find_columns(names, ("x", "y")[: len(columns)], "array", NPZ_REMEDY)
    raw = read_npz(path, "x", max_bytes=table.MAX_BYTES, remedy=NPZ_REMEDY)
    if raw.ndim not in (2, 3) or raw.dtype.kind not in "biuf":
        raise FileError(f"x is {short_repr(str(raw.dtype))} of the shape {list(raw.shape)}; {NPZ_REMEDY}")
    if 0 in raw.shape:
        raise FileError(f"x has the shape {list(raw.shape)} and so holds no numbers; {NPZ_REMEDY}")
    raw = raw.reshape(*raw.shape[:2], -1)
    count, steps, _ = raw.shape
    check_size(*raw.shape)
    builder = TableBuilder(path.name, "x[{}]", "y[{}]")
    builder.rows.extend(range(count))
    lengths = np.full(count, steps, dtype=np.int64)
    if "lengths" in names:
        given = _read_vector(path, "lengths", count, "iu", "integers")
        for row in np.flatnonzero((given < 1) | (given > steps)).tolist():
            remedy = f"x has {steps} steps: give lengths from 1 to {steps}"
            builder.add_error(row, f"{given[row]} steps", remedy, "lengths[{}]")
        lengths = given.astype(np.int64)
    if len(columns) > 1:
        _add_npz_labels(path, builder, count)
    with np.errstate(all="ignore"):  # overflow becomes inf, which `table` reports
        x = np.array(raw, dtype=np.float32, order="C")
    x[np.arange(steps) >= lengths[:, None]] = 0
    return builder.table(x, lengths)


def _add_npz_labels(path: Path, builder: TableBuilder, count: int) -> None:
    y = _read_vector(path, "y", count, "iuUS", "integers or text, such as y.astype(int)")
    try:
        labels = y.tolist()
    except Exception as error:  # NumPy arrays of text may hold invalid code points
        raise FileError(f"y cannot be read as text ({error}); {NPZ_REMEDY}") from error
    for row, label in enumerate(labels):
        try:
            builder.add_label(row, label.decode() if isinstance(label, bytes) else str(label))
        except UnicodeDecodeError:
            builder.add_error(row, f"{label[:20]!r} is not UTF-8", "save y as text, not as bytes", "y[{}]")


def _read_vector(path: Path, name: str, count: int, kinds: str, expected: str) -> NDArray[Any]:
    """Return the array `name`, which must have `count` values and a dtype of one of the NumPy `kinds`."""
    raw = read_npz(path, name, max_bytes=table.MAX_NPZ_SIDE, remedy=NPZ_REMEDY)
    if raw.shape != (count,) or raw.dtype.kind not in kinds:
        found = f"{short_repr(str(raw.dtype))} of the shape {list(raw.shape)}"
        raise FileError(f"{name} is {found}; give [{count}] {expected}, one for each row of x")
    return raw


READERS: Mapping[str, Callable[[Path, Sequence[str]], SequenceTable]] = MappingProxyType(
    {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
)
"""Reader of each suffix."""
