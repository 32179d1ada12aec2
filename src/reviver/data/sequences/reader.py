"""Readers of custom sequences: a .csv, .parquet or .npz file becomes a `SequenceTable`; errors of rows name the row."""

import csv
import difflib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from reviver.data.sequences.table import RowProblem, SequenceTable, build_table, join_listed
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
    if path.suffix.lower() not in READERS or not path.is_file():
        problem = "is of an unknown kind" if path.is_file() else "is no file" if path.exists() else "does not exist"
        *others, last = READERS
        raise DataError(f"{path}: {problem}; give a {', '.join(others)} or {last} file")
    return READERS[path.suffix.lower()](path, columns)


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


def _read_csv(path: Path, columns: Sequence[str]) -> SequenceTable:
    return build_table(path, _csv_rows(path, columns), ("row {}", "row {}"))


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
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
                header = [name.strip() for name in record]
                for separator, name in ((";", "semicolons"), ("\t", "tabs")):
                    if len(header) == 1 and separator in header[0]:
                        raise damaged_data_file(path, f"its columns are separated by {name}", "save it with commas")
                indices = _find_columns(path, header, columns)
            elif len(record) != len(header):
                problem = f"it has {len(record)} fields and the header has {len(header)}"
                yield number, RowProblem(problem, 'put a sequence that contains commas in quotes: "1, 2, 3"')
            else:
                yield number, *(record[index] for index in indices)
    except csv.Error as error:
        raise damaged_data_file(path, f"row {number + 1}: {error}", "check the quotes there") from error
    finally:
        csv.field_size_limit(previous_limit)
    if not header:
        raise damaged_data_file(path, "it is empty", f"give a file with a header ({', '.join(columns)}) and rows")


def _read_parquet(path: Path, columns: Sequence[str]) -> SequenceTable:
    if find_spec("pyarrow") is None:
        problem = "reading .parquet needs pyarrow"
        raise damaged_data_file(path, problem, "pip install pyarrow, or save the file as .csv or .npz")
    import pyarrow.parquet as pq
    from pyarrow import types

    with reading(path, REMEDY):
        _find_columns(path, pq.read_schema(path).names, columns)
        found = pq.read_table(path, columns=list(columns)).columns
    sequences, *labels = found
    kinds = [column.type.value_type if types.is_dictionary(column.type) else column.type for column in found]
    are_texts = [types.is_string(k) or types.is_large_string(k) or types.is_string_view(k) for k in kinds]
    is_list = types.is_list(kinds[0]) or types.is_large_list(kinds[0]) or types.is_fixed_size_list(kinds[0])
    has_numbers = is_list and (types.is_integer(kinds[0].value_type) or types.is_floating(kinds[0].value_type))
    allowed = [(has_numbers, "lists of numbers, or text such as '1 2 3'")]
    allowed += [(types.is_integer(k) or types.is_null(k), "labels as text or integers") for k in kinds[1:]]
    for name, column, is_text, (is_other, remedy) in zip(columns, found, are_texts, allowed, strict=True):
        if not (is_text or is_other):
            problem = f"column {short_repr(name)} holds {short_repr(str(column.type))}"
            raise damaged_data_file(path, problem, f"give {remedy}")
    values = [
        one.values.to_numpy(zero_copy_only=False) if one.is_valid and has_numbers else one.as_py() for one in sequences
    ]
    rows = zip(range(len(values)), values, *(column.to_pylist() for column in labels), strict=True)
    return build_table(path, rows, ("row index {}", "row index {}"))


def _read_npz(path: Path, columns: Sequence[str]) -> SequenceTable:
    """Read `x` and, if there are two columns, `y`, and `lengths` if there is one."""
    wanted = ("x", "y")[: len(columns)]
    with open_arrays(path, NPZ_REMEDY) as archive:
        _find_columns(path, list(archive), wanted, "array", NPZ_REMEDY)
        arrays = {name: archive[name] for name in (*wanted, "lengths") if name in archive}
        labels = [arrays["y"].tolist()] if "y" in arrays else []  # inside, since text may be damaged
    x = arrays["x"]
    count, steps = x.shape[:2] if x.ndim in (2, 3) else (0, 0)
    for name, kinds, shape, remedy in (
        ("x", "biuf", x.shape if x.size and count else None, NPZ_REMEDY),
        ("lengths", "iu", (count,), f"give [{count}] integers, one for each row of x"),
        ("y", "iuUS", (count,), f"give [{count}] integers or text, such as y.astype(int), one for each row of x"),
    ):
        found = arrays.get(name)
        if found is not None and (found.shape != shape or found.dtype.kind not in kinds):
            problem = f"{name} is {short_repr(str(found.dtype))} of the shape {list(found.shape)}"
            raise damaged_data_file(path, problem, remedy)
    remedy = f"x has {steps} steps: give lengths from 1 to {steps}"
    lengths = arrays.get("lengths", np.full(count, steps)).tolist()
    sequences = [
        x[row, :length] if 1 <= length <= steps else RowProblem(f"{length} steps", remedy, "lengths[{}]")
        for row, length in enumerate(lengths)
    ]
    return build_table(path, zip(range(count), sequences, *labels, strict=True), ("x[{}]", "y[{}]"), steps)


READERS: Mapping[str, Callable[[Path, Sequence[str]], SequenceTable]] = MappingProxyType(
    {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
)
