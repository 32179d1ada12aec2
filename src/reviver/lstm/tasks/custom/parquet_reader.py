"""Reader of sequences from a Parquet file, with pyarrow."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from reviver.io.files import open_file
from reviver.io.parquet import read_page_sizes
from reviver.lstm.tasks.custom import limits
from reviver.lstm.tasks.custom.builder import (
    FileError,
    TableBuilder,
    check_size,
    find_columns,
    format_gib,
    unreadable,
)
from reviver.lstm.tasks.custom.table import SequenceTable
from reviver.text import short_repr


def read_parquet(path: Path, columns: Sequence[str]) -> SequenceTable:
    """Read the columns `columns` of a Parquet file: sequences as text or lists, then labels unless there is no second.

    Raises:
        FileError: if the file is malformed or too large, or pyarrow is not installed.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        remedy = "pip install pyarrow, or save the file as .csv or .npz"
        raise FileError(f"reading .parquet needs pyarrow; {remedy}") from error
    builder = TableBuilder(path.name, "row index {}")
    options = limits.PARQUET_THRIFT_LIMITS
    try:
        with open_file(path) as file, pq.ParquetFile(file, **options) as parquet:
            batch_size, text_columns = _check_file(file, parquet, columns)
        # As a dictionary, a repeated text takes as little memory as it takes space in the file.
        with open_file(path) as file, pq.ParquetFile(file, read_dictionary=text_columns, **options) as parquet:
            first = 0
            for batch in parquet.iter_batches(batch_size, columns=list(columns), use_threads=False):
                if columns[0] in text_columns:
                    for row, text in enumerate(_values(batch.column(columns[0])), first):
                        builder.add_text(row, text or "")
                else:
                    _add_lists(builder, batch.column(columns[0]), first)
                for name in columns[1:]:
                    for row, label in enumerate(_values(batch.column(name)), first):
                        builder.add_label(row, "" if label is None else str(label))
                first += len(batch)
    except FileError:
        raise
    except Exception as error:  # pyarrow raises errors of many types for a damaged file
        raise unreadable(error) from error
    return builder.padded_table()


def _check_file(file: BinaryIO, parquet: Any, columns: Sequence[str]) -> tuple[int, list[str]]:
    """Check names and types of the columns, and the sizes of all pages, before any page is read.

    Returns:
        Number of rows to read at a time, and the names of the columns with text.
    """
    schema = parquet.schema_arrow
    find_columns(list(schema.names), columns)
    text_columns = _check_types(schema, columns)
    count = int(parquet.metadata.num_rows)
    check_size(count, 1, 1)
    leaves = [parquet.schema.column(index).path for index in range(len(parquet.schema))]
    indices = {index for index, leaf in enumerate(leaves) if leaf in columns or leaf.split(".")[0] in columns}
    sizes = read_page_sizes(file, indices)
    size = max(sizes.uncompressed_bytes, 4 * sizes.num_values)
    if size > limits.MAX_BYTES:
        names = " and ".join(map(short_repr, columns))
        raise FileError(
            f"the columns {names} take {format_gib(size)}, more than {format_gib(limits.MAX_BYTES)}; give fewer rows"
        )
    claimed = max(sizes.uncompressed_bytes, 8 * sizes.num_values)
    if claimed > limits.PARQUET_FREE_BYTES + limits.PARQUET_MAX_RATIO * file.seek(0, 2):
        raise ValueError(f"its pages claim {claimed} bytes, more than {limits.PARQUET_MAX_RATIO} times its size")
    batch_size = min(limits.PARQUET_BATCH_ROWS, limits.PARQUET_BATCH_BYTES * count // max(claimed, 1))
    return max(1, batch_size), text_columns


def _check_types(schema: Any, columns: Sequence[str]) -> list[str]:
    """Check the types of the columns; return the names of those with text."""
    from pyarrow import types

    text_columns: list[str] = []
    for name in columns:
        kind, expected = schema.field(name).type, ""
        value_kind = kind.value_type if types.is_dictionary(kind) else kind
        if types.is_string(value_kind) or types.is_large_string(value_kind):
            text_columns.append(name)
        elif name == columns[0]:
            is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
            if not is_list or not (types.is_integer(kind.value_type) or types.is_floating(kind.value_type)):
                expected = "lists of numbers, or text such as '1 2 3'"
        elif not (types.is_integer(kind) or types.is_null(kind)):
            expected = "labels as text or integers"
        if expected:
            raise FileError(f"column {short_repr(name)} holds {short_repr(str(kind))}; give {expected}")
    return text_columns


def _add_lists(builder: TableBuilder, column: Any, first: int) -> None:
    """Add the sequences of a column of lists; `first` is the index of its first row."""
    import pyarrow as pa

    lists = column.cast(pa.large_list(pa.float64()), safe=False)
    builder.add_numbers(lists.flatten().to_numpy(zero_copy_only=False))  # without null rows; a null number becomes NaN
    counts = np.diff(lists.offsets.to_numpy()) * ~lists.is_null().to_numpy(zero_copy_only=False)
    for row, count in enumerate(counts.tolist(), first):
        builder.end_sequence(row, count, is_empty=count == 0)


def _values(column: Any) -> Iterable[Any]:
    """Return the values of a column. Of a dictionary only the used values are converted, each once."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    indices = column.indices.to_pylist()
    used = sorted({index for index in indices if index is not None})
    values = column.dictionary.take(pa.array(used, pa.int64())).to_pylist()
    return map(dict(zip(used, values, strict=True)).get, indices)
