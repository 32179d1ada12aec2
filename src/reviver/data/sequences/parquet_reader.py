"""Reader of sequences from a Parquet file, see `reviver.files.parquet`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from reviver.data.sequences.builder import FileError, TableBuilder, check_size, find_columns, unreadable
from reviver.data.sequences.table import SequenceTable
from reviver.files.json import parse_json
from reviver.files.parquet import read_frames
from reviver.text import short_repr


def read_parquet(path: Path, columns: Sequence[str]) -> SequenceTable:
    """Read the columns `columns` of a Parquet file: sequences as text or lists, then labels unless there is no second.

    Raises:
        FileError: if the file is malformed or too large, or pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise FileError("reading .parquet needs pyarrow; pip install pyarrow, or save the file as .csv or .npz")
    builder = TableBuilder(path.name, "row index {}")
    try:
        with closing(read_frames(path, columns)) as frames:
            described = parse_json(next(frames))
            find_columns(described["names"], columns)
            check_size(described["rows"], 1, 1)
            kinds = _check_kinds(described["kinds"], columns)
            first = 0
            while frame := next(frames):
                count = len(frame) // 8
                if kinds[0] == "lists":
                    _add_lists(builder, frame, next(frames), first)
                else:
                    for row, text in enumerate(_texts(frame, frames), first):
                        builder.add_text(row, text)
                for _ in columns[1:]:
                    labels = _texts(next(frames), frames)
                    for row, label in zip(range(first, first + count), labels, strict=True):
                        builder.add_label(row, label)
                first += count
    except FileError:
        raise
    except Exception as error:  # the child may send anything
        raise unreadable(error) from error
    return builder.padded_table()


def _check_kinds(kinds: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Return the kind of each column, if it is one that the column may have."""
    expected = (
        ("lists of numbers, or text such as '1 2 3'", ("lists", "text")),
        ("labels as text or integers", ("integers", "text")),
    )
    for name, (text, allowed) in zip(columns, expected, strict=False):
        kind, kind_text = kinds[name]
        if kind not in allowed:
            raise FileError(f"column {short_repr(name)} holds {short_repr(kind_text)}; give {text}")
    return [kinds[name][0] for name in columns]


def _add_lists(builder: TableBuilder, counts: bytes, numbers: bytes, first: int) -> None:
    """Add sequences; `first` is the index of the first row."""
    lengths, values = np.frombuffer(counts, "<i8"), np.frombuffer(numbers, "<f4")
    if lengths.min() < 0 or lengths.sum() != len(values):
        raise ValueError("its lists have other lengths than numbers")
    builder.add_numbers(values)
    for row, count in enumerate(lengths.tolist(), first):
        builder.end_sequence(row, count, is_empty=count == 0)


def _texts(codes: bytes, frames: Iterator[bytes]) -> list[str]:
    """Return the texts of a batch, of which each different one was sent once."""
    lengths, encoded = np.frombuffer(next(frames), "<i8"), next(frames)
    ends = lengths.cumsum().tolist()
    texts = [encoded[end - length : end].decode() for end, length in zip(ends, lengths.tolist(), strict=True)]
    return [texts[code] for code in np.frombuffer(codes, "<i8").tolist()]
