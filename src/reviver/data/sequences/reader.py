"""Readers of custom sequences: a .csv, .parquet or .npz file becomes a `SequenceTable`; errors of rows name the row."""

import csv
import difflib
import io
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from reviver.data.sequences.table import SequenceTable, TableBuilder, join_listed
from reviver.errors import DataError
from reviver.files.file_errors import damaged_data_file, reading
from reviver.files.read import open_arrays
from reviver.settings.validation import refuse
from reviver.text import short_repr

NPZ_REMEDY = (
    "save plain arrays with numpy.savez: x [N, T] or [N, T, I] padded to one length, y [N] integers or text, "
    "and lengths [N] if the sequences differ in length"
)
REMEDY = "check or replace the file"
MAX_FIELD = 2**31 - 1
"""Maximum number of characters of a CSV field, the most that the csv module allows on every system."""


class MissingColumnError(DataError):
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
        DataError: if the file is missing or malformed, or pyarrow, which reads .parquet, is not installed.
    """
    if labeled and sequence_column == label_column:
        refuse(
            "label_column", f"must not be sequence_column, got {short_repr(label_column)} for both; name another column"
        )
    columns = (sequence_column, label_column) if labeled else (sequence_column,)
    read = READERS.get(path.suffix.lower())
    if read is None or not path.is_file():
        problem = "is of an unknown kind" if path.is_file() else "is no file" if path.exists() else "does not exist"
        *others, last = READERS
        raise DataError(f"{path}: {problem}; give a {', '.join(others)} or {last} file")
    return read(path, columns)


def read_if_labeled(path: Path, *, sequence_column: str, label_column: str) -> tuple[SequenceTable, str]:
    """Read sequences and, if the file has them, their labels; return what is wrong with these, too, or an empty text."""
    try:
        return read_sequences(path, sequence_column=sequence_column, label_column=label_column), ""
    except DataError as error:
        problem = "" if isinstance(error, MissingColumnError) else str(error)
    return read_sequences(path, sequence_column=sequence_column, labeled=False), problem


def _find_columns(
    path: Path, names: Sequence[str], wanted: Sequence[str], kind: str = "column", remedy: str = ""
) -> list[int]:
    """Return the indices of the wanted columns (of the sequences, then of the labels), or arrays, among `names`."""
    for option, column in zip(("--sequence-column", "--label-column"), wanted, strict=False):
        if column not in names:
            near = difflib.get_close_matches(column, names, 1, 0.5)
            hint = f" (did you mean {short_repr(near[0])}?)" if near else ""
            found = join_listed([short_repr(name) for name in names[:10]], len(names), 10) or "none"
            remedy = remedy or f"name the right one with {option}"
            raise MissingColumnError(f"{path}: there is no {kind} {short_repr(column)} among {found}{hint}; {remedy}")
    return [names.index(column) for column in wanted]


# CSV


def _read_csv(path: Path, columns: Sequence[str]) -> SequenceTable:
    builder = TableBuilder(path, "row {}")
    header: list[str] = []
    number = 0
    with reading(path, "save it as UTF-8 (in a spreadsheet: “CSV UTF-8”)"):
        text = path.read_bytes().decode("utf-8-sig")
    previous_limit = csv.field_size_limit(MAX_FIELD)  # one limit for all of Python
    try:
        for number, record in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), 1):
            if not any(record):
                continue
            if not header:
                header = _csv_header(path, record)
                indices = _find_columns(path, header, columns)
            elif len(record) != len(header):
                problem = f"it has {len(record)} fields and the header has {len(header)}"
                builder.add_error(number, problem, 'put a sequence that contains commas in quotes: "1, 2, 3"')
            else:
                builder.add_text(number, record[indices[0]])
                for index in indices[1:]:
                    builder.add_label(number, record[index])
    except csv.Error as error:
        raise damaged_data_file(path, f"row {number + 1}: {error}", "check the quotes there") from error
    finally:
        csv.field_size_limit(previous_limit)
    if not header:
        raise damaged_data_file(path, "it is empty", f"give a file with a header ({', '.join(columns)}) and rows")
    return builder.padded_table()


def _csv_header(path: Path, record: Sequence[str]) -> list[str]:
    """Return the names of the columns; raise a DataError if the separator is another than a comma."""
    header = [name.strip() for name in record]
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise damaged_data_file(path, f"its columns are separated by {name}", "save it with commas")
    return header


# Parquet


def _read_parquet(path: Path, columns: Sequence[str]) -> SequenceTable:
    if find_spec("pyarrow") is None:
        problem = "reading .parquet needs pyarrow"
        raise damaged_data_file(path, problem, "pip install pyarrow, or save the file as .csv or .npz")
    import pyarrow.parquet as pq
    from pyarrow import types

    builder = TableBuilder(path, "row index {}")
    with reading(path, REMEDY):
        _find_columns(path, pq.read_schema(path).names, columns)
        sequences, *labels = pq.read_table(path, columns=list(columns)).columns

    def is_text(kind: Any) -> bool:
        value = kind.value_type if types.is_dictionary(kind) else kind
        return any(is_kind(value) for is_kind in (types.is_string, types.is_large_string, types.is_string_view))

    def require(name: str, kind: Any, is_right: bool, allowed: str) -> None:
        if not is_right:
            problem = f"column {short_repr(name)} holds {short_repr(str(kind))}"
            raise damaged_data_file(path, problem, f"give {allowed}")

    kind = sequences.type
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    is_numeric = is_list and (types.is_integer(kind.value_type) or types.is_floating(kind.value_type))
    require(columns[0], kind, is_text(kind) or is_numeric, "lists of numbers, or text such as '1 2 3'")
    for row, found in enumerate(sequences):
        if is_numeric:
            builder.add_numbers(row, found.values.to_numpy(zero_copy_only=False) if found.is_valid else [])
        else:
            builder.add_text(row, found.as_py() or "")
    for column in labels:
        kind = column.type
        is_label = is_text(kind) or types.is_integer(kind) or types.is_null(kind)
        require(columns[1], kind, is_label, "labels as text or integers")
        for row, label in enumerate(column.to_pylist()):
            builder.add_label(row, "" if label is None else str(label))
    return builder.padded_table()


# NumPy


def _read_npz(path: Path, columns: Sequence[str]) -> SequenceTable:
    """Read `x` and, if there are two columns, `y`, and `lengths` if there is one."""
    wanted = ("x", "y")[: len(columns)]
    with open_arrays(path, NPZ_REMEDY) as archive:
        _find_columns(path, list(archive), wanted, "array", NPZ_REMEDY)
        arrays = {name: archive[name] for name in (*wanted, "lengths") if name in archive}
        labels = arrays["y"].tolist() if "y" in arrays else []
    raw = arrays["x"]
    count, steps = raw.shape[:2] if raw.ndim in (2, 3) else (0, 0)
    for name, kinds, shape, remedy in (
        ("x", "biuf", raw.shape if raw.size and count else None, NPZ_REMEDY),
        ("lengths", "iu", (count,), f"give [{count}] integers, one for each row of x"),
        ("y", "iuUS", (count,), f"give [{count}] integers or text, such as y.astype(int), one for each row of x"),
    ):
        found = arrays.get(name)
        if found is not None and (found.shape != shape or found.dtype.kind not in kinds):
            problem = f"{name} is {short_repr(str(found.dtype))} of the shape {list(found.shape)}"
            raise damaged_data_file(path, problem, remedy)
    raw = raw.reshape(count, steps, -1)
    builder = TableBuilder(path, "x[{}]", "y[{}]")
    builder.rows.extend(range(count))
    lengths = arrays.get("lengths", np.full(count, steps))
    for row in np.flatnonzero((lengths < 1) | (lengths > steps)).tolist():
        remedy = f"x has {steps} steps: give lengths from 1 to {steps}"
        builder.add_error(row, f"{lengths[row]} steps", remedy, "lengths[{}]")
    for row, label in enumerate(labels):
        try:
            builder.add_label(row, label.decode() if isinstance(label, bytes) else str(label))
        except UnicodeDecodeError:
            builder.add_error(row, f"{label[:20]!r} is not UTF-8", "save y as text, not as bytes", "y[{}]")
    with np.errstate(all="ignore"):  # overflow becomes inf, which `table` reports
        x = np.array(raw, dtype=np.float32, order="C")
    lengths = lengths.astype(np.int64)
    x[np.arange(steps) >= lengths[:, None]] = 0
    return builder.table(x, lengths)


READERS: Mapping[str, Callable[[Path, Sequence[str]], SequenceTable]] = MappingProxyType(
    {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
)
"""Reader of each suffix."""
