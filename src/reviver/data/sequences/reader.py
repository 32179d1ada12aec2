"""Readers of custom sequences: a file or a folder of arrays becomes a `SequenceTable`; errors of rows name the row."""

import csv
import difflib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reviver.data.images.image_files import printable
from reviver.data.sequences.standardization import chunk_size
from reviver.data.sequences.table import (
    FINITE_REMEDY,
    RowProblem,
    SequenceTable,
    build_table,
    join_listed,
    read_label,
)
from reviver.errors import DataError
from reviver.files.file_errors import damaged_data_file, reading
from reviver.files.read import map_array, open_arrays
from reviver.settings.validation import refuse
from reviver.text import short_repr

FOLDER_FILES = ("x.npy", "y.npy", "lengths.npy")
"""Arrays of a folder, as those of an .npz."""
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
    - A folder with these arrays as x.npy, y.npy and lengths.npy. `x` of the table is mapped: a part is read when it is
      used, and it must not be written to.

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
    if (path / "x.npy").is_file():
        return _map_folder(path, columns)
    if path.suffix.lower() not in READERS or not path.is_file():
        problem = "is of an unknown kind" if path.is_file() else "has no x.npy" if path.exists() else "does not exist"
        raise DataError(f"{path}: {problem}; give a {', '.join(READERS)} file, or a folder with x.npy and y.npy")
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
    _check_arrays(path, arrays)
    x = arrays["x"]
    count, steps = x.shape[:2]
    remedy = f"x has {steps} steps: give lengths from 1 to {steps}"
    lengths = arrays.get("lengths", np.full(count, steps)).tolist()
    sequences = [
        x[row, :length] if 1 <= length <= steps else RowProblem(f"{length} steps", remedy, "lengths[{}]")
        for row, length in enumerate(lengths)
    ]
    return build_table(path, zip(range(count), sequences, *labels, strict=True), ("x[{}]", "y[{}]"), steps)


def _check_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise `DataError` unless x, y and lengths, of which any but x may be absent, have the dtypes and shapes of `read_sequences`."""
    x = arrays["x"]
    count = len(x) if x.ndim in (2, 3) else 0
    for name, kinds, shape, remedy in (
        ("x", "biuf", x.shape if x.size and count else None, NPZ_REMEDY),
        ("lengths", "iu", (count,), f"give [{count}] integers, one for each row of x"),
        ("y", "iuUS", (count,), f"give [{count}] integers or text, such as y.astype(int), one for each row of x"),
    ):
        found = arrays.get(name)
        if found is not None and (found.shape != shape or found.dtype.kind not in kinds):
            problem = f"{name} is {short_repr(str(found.dtype))} of the shape {list(found.shape)}"
            raise damaged_data_file(path, problem, remedy)


def _map_folder(folder: Path, columns: Sequence[str]) -> SequenceTable:
    """Map `x.npy` and, if there are two columns, read `y.npy`, and `lengths.npy` if there is one."""
    names = [name for name in FOLDER_FILES if name != "y.npy" or len(columns) == 2]
    arrays = {name.removesuffix(".npy"): map_array(folder / name) for name in names if (folder / name).is_file()}
    _find_columns(folder, list(arrays), ("x", "y")[: len(columns)], "array", NPZ_REMEDY)
    _check_arrays(folder, arrays)
    with (
        reading(folder / "x.npy", NPZ_REMEDY),
        warnings.catch_warnings(action="ignore"),
    ):  # of an array not to be written to
        x = torch.from_numpy(arrays["x"])
    x = x.unsqueeze(2) if x.ndim == 2 else x
    lengths = torch.from_numpy(arrays.get("lengths", np.full(len(x), x.shape[1])).astype(np.int64))
    labels: list[str] = []
    for row, value in enumerate(arrays["y"].tolist() if "y" in arrays else ()):
        if isinstance(label := read_label(value), RowProblem):
            raise damaged_data_file(folder / "y.npy", f"y[{row}]: {label.problem}", label.remedy)
        labels.append(label)
    count, steps, channels = x.shape
    if not ((lengths >= 1) & (lengths <= steps)).all():
        problem = f"its numbers go from {lengths.min()} to {lengths.max()}"
        raise damaged_data_file(folder / "lengths.npy", problem, f"x has {steps} steps: give lengths from 1 to {steps}")
    for rows in torch.arange(count).split(chunk_size(steps, channels)):
        is_padding = torch.arange(steps) >= lengths[rows].unsqueeze(1)
        is_right = (is_padding | x[rows].float().isfinite().all(2)).all(1)
        if not is_right.all():
            problem = f"x[{rows[~is_right][0]}] has NaN, an infinite number or one too large for float32"
            raise damaged_data_file(folder / "x.npy", problem, FINITE_REMEDY)
    return SequenceTable(x, lengths, tuple(labels) or None, range(count), "x[{}]", printable(folder.absolute().name))


READERS: Mapping[str, Callable[[Path, Sequence[str]], SequenceTable]] = MappingProxyType(
    {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
)
