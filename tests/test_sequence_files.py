"""Files of custom sequences, valid, damaged and hostile: a table or a DataError, nothing else."""

import csv
import io
import json
import math
import os
import pickle
import resource
import struct
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reviver.data.sequences import limits, numbers
from reviver.data.sequences.labels import class_indices, class_names, stratified_split
from reviver.data.sequences.predictions import write_predictions
from reviver.data.sequences.reader import read_sequences
from reviver.data.sequences.standardization import Standardization
from reviver.data.sequences.table import SequenceTable
from reviver.errors import ConfigError, DataError, RunFolderError
from tests.fuzz.readers import READERS, outcome

SEQUENCES = [[1.0, 2.5, -3.0], [4.0], [0.1, 1e-7, 1e7, 6.0], [7.0, 8.0]]
LABELS = ["up", "down", "up", 'ünter, "quoted"']


def write_csv(path: Path, rows: list[list[str]], encoding: str = "utf-8", **options: Any) -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, **options).writerows(rows)
    return path


def csv_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "set.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def parquet_file(folder: Path, /, **columns: Any) -> Path:
    path = folder / "set.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def npz_file(folder: Path, /, **arrays: Any) -> Path:
    path = folder / "set.npz"
    np.savez_compressed(path, **arrays)
    return path


def padded(sequences: list[list[float]]) -> torch.Tensor:
    longest = max(map(len, sequences))
    return torch.tensor([[*one, *[0.0] * (longest - len(one))] for one in sequences]).unsqueeze(2)


def assert_is(table: SequenceTable, sequences: list[list[float]], labels: list[str] | None) -> None:
    assert torch.equal(table.x, padded(sequences))
    assert (table.x.dtype, table.lengths.dtype) == (torch.float32, torch.int64)
    assert table.lengths.tolist() == [len(one) for one in sequences]
    assert table.labels == (None if labels is None else tuple(labels))


def table_of(labels: tuple[str, ...] | None, count: int = 0) -> SequenceTable:
    count = len(labels) if labels is not None else count
    x, lengths = torch.ones(count, 1, 1), torch.ones(count, dtype=torch.int64)
    return SequenceTable(x, lengths, labels, tuple(range(2, count + 2)), "row {}", "set.csv")


# CSV


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\t", "  ", "\n"])
@pytest.mark.parametrize("brackets", ["{}", "[{}]", " {} "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv(separator: str, brackets: str, encoding: str, tmp_path: Path) -> None:
    texts = [brackets.format(separator.join(map(str, one))) for one in SEQUENCES]
    rows = [["id", "label", "sequence"], *(["9", *pair] for pair in zip(LABELS, texts, strict=True))]
    table = read_sequences(write_csv(tmp_path / "set.csv", rows, encoding))
    assert_is(table, SEQUENCES, LABELS)
    assert (table.rows, table.name, table.row_name(0)) == ((2, 3, 4, 5), "set.csv", "row 2")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_are_counted_as_in_a_spreadsheet(end: str, tmp_path: Path) -> None:
    lines = ["sequence,label", "1 2,a", "", '"3', '4",b', ",", "5,c", ""]
    table = read_sequences(csv_file(tmp_path, end.join(lines)))
    assert_is(table, [[1, 2], [3, 4], [5]], ["a", "b", "c"])
    assert table.rows == (2, 4, 6)  # rows 3 and 5 are blank, row 4 has two lines


def test_columns_of_other_names(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "x, sequence ,label,kind\n1 2,no,no,a\n3,no,no,b\n")
    assert_is(read_sequences(path, sequence_column="x", label_column="kind"), [[1, 2], [3]], ["a", "b"])


def test_labels_are_not_needed_for_prediction(tmp_path: Path) -> None:
    assert_is(read_sequences(csv_file(tmp_path, "sequence\n1 2\n"), labeled=False), [[1, 2]], None)
    assert_is(read_sequences(parquet_file(tmp_path, sequence=["1 2"]), labeled=False), [[1, 2]], None)
    assert_is(read_sequences(npz_file(tmp_path, x=np.array([[1, 2]])), labeled=False), [[1, 2]], None)


def test_labels_are_text_without_spaces_around(tmp_path: Path) -> None:
    assert read_sequences(csv_file(tmp_path, "sequence,label\n1, 01 \n2,1\n")).labels == ("01", "1")


def test_a_field_longer_than_the_csv_module_allows(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    numbers = list(range(60_000))
    path = csv_file(tmp_path, f"sequence,label\n{' '.join(map(str, numbers))},a\n1,b\n")
    assert path.stat().st_size > before
    assert torch.equal(read_sequences(path).x[0, :, 0], torch.arange(60_000.0))
    assert csv.field_size_limit() == before


ROWS = st.lists(
    st.tuples(
        st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=9),
        st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=9).filter(str.strip),
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=100)
@given(ROWS)
def test_any_table_survives_csv_and_npz(tmp_path_factory: Any, rows: list[tuple[list[float], str]]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    sequences, labels = [row[0] for row in rows], [row[1] for row in rows]
    stripped = [label.strip() for label in labels]
    texts = [", ".join(map(repr, one)) for one in sequences]
    path = write_csv(folder / "set.csv", [["sequence", "label"], *map(list, zip(texts, labels, strict=True))])
    assert_is(read_sequences(path), sequences, stripped)
    lengths = np.array([len(one) for one in sequences])
    path = npz_file(folder, x=padded(sequences)[:, :, 0].numpy(), lengths=lengths, y=np.array(labels))
    assert_is(read_sequences(path), sequences, stripped)


@settings(max_examples=5, deadline=None)  # each starts two processes
@given(ROWS)
def test_any_table_survives_parquet(tmp_path_factory: Any, rows: list[tuple[list[float], str]]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    sequences, labels = [row[0] for row in rows], [row[1] for row in rows]
    texts = [", ".join(map(repr, one)) for one in sequences]
    for column in (texts, sequences):
        table = read_sequences(parquet_file(folder, sequence=column, label=labels))
        assert_is(table, sequences, [label.strip() for label in labels])


BAD_CSV = {
    "empty": ("", r"set.csv: it is empty; give a file with a header \(sequence, label\)"),
    "no rows": ("sequence,label\n", "it holds no rows; give a file with sequences"),
    "no text": ("sequence,label\n1 2,a\n1 x1 2,b\n", r"row 3: 'x1' at step 2 is no number; give numbers separated by"),
    "underscore": ("sequence,label\n1_0 2,a\n", "row 2: '1_0' at step 1 is no number"),
    "decimal comma": ('sequence,label\n"1,5 2,5",a\n', "row 2: '5 2' at step 2 is no number"),
    "hole": ('sequence,label\n"1,,2",a\n', "row 2: there is nothing at step 2, between two commas"),
    "nan": ("sequence,label\n1 nan,a\n", r"row 2: step 2 is not a number \(NaN\); give numbers within"),
    "infinite": ("sequence,label\n1,a\n1 2 -inf,a\n", "row 3: step 3 is infinite, or too large for float32"),
    "too large": ("sequence,label\n1e39,a\n", "row 2: step 1 is infinite, or too large for float32"),
    "empty sequence": ("sequence,label\n1,a\n ,b\n", "row 3: the sequence is empty; .* or take the row out"),
    "empty brackets": ("sequence,label\n1,a\n[],b\n", "row 3: the sequence is empty"),
    "no label": ("sequence,label\n1,a\n2, \n", "row 3: the label is missing; give one, or take the row out"),
    "long label": (f"sequence,label\n1,{'a' * 201}\n", "row 2: the label 'a+… has 201 characters; give a label of"),
    "escape": ("sequence,label\n1,\x1b[31m\n", r"row 2: the label '\\x1b\[31m' has characters that cannot be shown"),
    "no column": (
        "sequenze,label\n1,a\n",
        r"no column 'sequence' among 'sequenze', 'label' \(did you mean 'sequenze'\?\); name the right one",
    ),
    "no such column": ("q,label\n1,a\n", "there is no column 'sequence' among 'q', 'label'; name the right one"),
    "wide": (",".join(map(str, range(50))), "among '0', '1', .*'9', and 40 more; name"),
    "too wide": ("a," * 10_001, "it has 10002 columns; put each sequence into one column"),
    "twice": ("sequence,label,label\n1,a,b\n", "2 columns are called 'label'; rename all but one"),
    "semicolons": ("sequence;label\n1;a\n", "its columns are separated by semicolons; save it with commas"),
    "tabs": ("sequence\tlabel\n1\ta\n", "its columns are separated by tabs; save it with commas"),
    "no quotes": ("sequence,label\n1,2,3,a\n", "row 2: it has 4 fields and the header has 2; put a sequence that"),
    "one field": ("sequence,label\n1\n", "row 2: it has 1 fields and the header has 2"),
    "open quote": ('sequence,label\n1,a\n"2,b\n3,c\n', "row 3: unexpected end of data; check the quotes there"),
    "text after quote": ('sequence,label\n1,a\n"2"3,b\n', "row 3: ',' expected after '\"'; check the quotes"),
    "latin 1": ("sequence,label\n1,a\n2,ü\n".encode("latin1"), "line 3 is not UTF-8; save it as UTF-8"),
    "utf-16": ("sequence,label\n1,a\n".encode("utf-16"), "line 1 is not UTF-8"),
    "several": (
        "sequence,label\n" + "x,a\n" * 15,
        "row 2: 'x' at step 1 is no number, row 3: .*, row 4: .*, and 12 more; give numbers",
    ),
    "long field": ("sequence,label\n1,a\n" + "1 " * (1 << 23) + "1,a\n", "row 3: a field has more than 16777216 char"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_an_error_of_a_csv_file_is_reported(case: str, tmp_path: Path) -> None:
    content, problem = BAD_CSV[case]
    before = csv.field_size_limit()
    with pytest.raises(DataError, match=problem) as caught:
        read_sequences(csv_file(tmp_path, content))
    assert str(tmp_path / "set.csv") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("separator", [" ", ",", " , ", "\n", "\u2003"])
def test_a_long_field_is_split_like_a_short_one(separator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = separator.join(map(str, range(200)))
    whole = list(numbers.split_parts(text))
    for size in (1, 2, 3, 7, 100):
        monkeypatch.setattr(numbers, "CHUNK_CHARACTERS", size)
        assert list(numbers.split_parts(text)) == whole
        assert list(numbers.split_parts(",,1,,,2,")) == ["", "", "1", "", "", "2", ""]


# Parquet


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_of_text(kind: Any, tmp_path: Path) -> None:
    texts = pa.array([" ".join(map(str, one)) for one in SEQUENCES]).cast(kind)
    table = read_sequences(
        parquet_file(tmp_path, other=[1, 2, 3, 4], label=pa.array(LABELS).cast(kind), sequence=texts)
    )
    assert_is(table, SEQUENCES, LABELS)
    assert (table.rows, table.row_name(3)) == ((0, 1, 2, 3), "row index 3")


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()], ids=str
)
@pytest.mark.parametrize("make", [pa.list_, pa.large_list], ids=["list", "large_list"])
def test_parquet_of_lists(make: Callable[[Any], Any], kind: Any, tmp_path: Path) -> None:
    sequences = [[1, 2, 3], [4], [5, 6]]
    values = [list(map(np.float16, one)) for one in sequences] if kind == pa.float16() else sequences
    path = parquet_file(tmp_path, sequence=pa.array(values, make(kind)), label=[3, -1, 20])
    assert_is(read_sequences(path), [list(map(float, one)) for one in sequences], ["3", "-1", "20"])


def test_parquet_of_lists_of_one_length(tmp_path: Path) -> None:
    lists = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    assert_is(read_sequences(parquet_file(tmp_path, sequence=lists, label=["a", "b"])), [[1, 2], [3, 4]], ["a", "b"])


def test_parquet_in_many_batches(tmp_path: Path) -> None:
    sequences = [[float(row)] * (1 + row % 5) for row in range(9000)]
    labels = [str(row % 3) for row in range(9000)]
    for column in (sequences, [" ".join(map(str, one)) for one in sequences]):
        pq.write_table(pa.table({"sequence": column, "label": labels}), tmp_path / "set.parquet", row_group_size=2300)
        assert_is(read_sequences(tmp_path / "set.parquet"), sequences, labels)


def test_a_repeated_label_is_one_string(tmp_path: Path) -> None:
    label = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), ["a" * 150])
    table = read_sequences(parquet_file(tmp_path, sequence=["1"] * 5000, label=label))
    assert len({id(one) for one in table.labels or ()}) == 1


BAD_PARQUET = {
    "no rows": ({"sequence": pa.array([], pa.string()), "label": pa.array([], pa.string())}, "it holds no rows"),
    "null sequence": ({"sequence": ["1", None], "label": ["a", "b"]}, "row index 1: the sequence is empty"),
    "null list": ({"sequence": [[1], None, [2]], "label": ["a", "b", "c"]}, "row index 1: the sequence is empty"),
    "empty list": ({"sequence": [[1], [], [2]], "label": ["a", "b", "c"]}, "row index 1: the sequence is empty"),
    "null number": (
        {"sequence": [[1], [2, None]], "label": ["a", "b"]},
        r"row index 1: step 2 is not a number \(NaN\)",
    ),
    "nan": (
        {"sequence": [[1.0], [], [2.0, math.nan]], "label": ["a", "b", "c"]},
        "row index 2: step 2 is not a number",
    ),
    "too large": ({"sequence": [[1.0, 1e40]], "label": ["a"]}, "row index 0: step 2 is infinite, or too large"),
    "text": ({"sequence": ["1", "1 y"], "label": ["a", "b"]}, "row index 1: 'y' at step 2 is no number"),
    "null label": ({"sequence": ["1", "2"], "label": ["a", None]}, "row index 1: the label is missing"),
    "null whole label": ({"sequence": ["1", "2"], "label": [1, None]}, "row index 1: the label is missing"),
    "only null labels": ({"sequence": ["1"], "label": [None]}, "row index 0: the label is missing"),
    "no column": ({"sequence": ["1"], "labels": ["a"]}, r"no column 'label' among 'sequence', 'labels' \(did you mean"),
    "numbers": (
        {"sequence": [1.0], "label": ["a"]},
        "column 'sequence' holds 'double'; give lists of numbers, or text",
    ),
    "lists in lists": ({"sequence": [[[1.0]]], "label": ["a"]}, "column 'sequence' holds 'list<.*; give lists of"),
    "lists of text": ({"sequence": [["1"]], "label": ["a"]}, "column 'sequence' holds 'list<.*; give lists of numbers"),
    "bytes": ({"sequence": [b"1"], "label": ["a"]}, "column 'sequence' holds 'binary'"),
    "fractions": (
        {"sequence": ["1"], "label": [0.5]},
        "column 'label' holds 'double'; give labels as text or integers",
    ),
    "fields": ({"sequence": [{"label": 1}], "label": ["a"]}, "column 'sequence' holds 'struct<.*; give lists of"),
}


@pytest.mark.parametrize("case", BAD_PARQUET)
def test_an_error_of_a_parquet_file_is_reported(case: str, tmp_path: Path) -> None:
    columns, problem = BAD_PARQUET[case]
    with pytest.raises(DataError, match=problem) as caught:
        read_sequences(parquet_file(tmp_path, **columns))
    assert str(tmp_path / "set.parquet") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_parquet_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([["1"], ["2"], ["a"]], names=["sequence", "sequence", "label"])
    pq.write_table(table, tmp_path / "set.parquet")
    with pytest.raises(DataError, match="2 columns are called 'sequence'; rename all but one of them"):
        read_sequences(tmp_path / "set.parquet")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet_file(tmp_path, sequence=["1"], label=["a"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"needs pyarrow; pip install pyarrow, or save the file as .csv"):
        read_sequences(path)


@pytest.mark.parametrize("column", [["1 2"] * 300, [[1.0, 2.0]] * 300], ids=["text", "lists"])
def test_a_parquet_file_over_the_limit_is_refused(column: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet_file(tmp_path, sequence=column, label=["a"] * 300)
    read_sequences(path)
    monkeypatch.setattr(limits, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"GiB, more than .* GiB; "):
        read_sequences(path)


# NumPy


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", ">i4", "i8", "u8", "f2", "f4", ">f4", "f8", ">f8", "g"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz(dtype: str, shape: tuple[int, ...], order: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype, order=order)
    lengths = np.array([5, 1, 3, 2], dtype=np.uint8)
    table = read_sequences(npz_file(tmp_path, x=x, lengths=lengths, y=np.array([0, 1, 10, 2])))
    expected = torch.from_numpy(x.astype(np.float32).reshape(4, 5, -1))
    for row, length in enumerate(lengths.tolist()):
        expected[row, length:] = 0
    assert torch.equal(table.x, expected)
    assert (table.lengths.tolist(), table.labels) == ([5, 1, 3, 2], ("0", "1", "10", "2"))
    assert (table.x.dtype, table.lengths.dtype, table.row_name(1)) == (torch.float32, torch.int64, "x[1]")


def test_npz_without_lengths(tmp_path: Path) -> None:
    table = read_sequences(npz_file(tmp_path, x=np.ones((3, 2)), y=np.array(["a", "ü", "c"])))
    assert (table.lengths.tolist(), table.labels) == ([2, 2, 2], ("a", "ü", "c"))


def test_npz_labels_of_bytes(tmp_path: Path) -> None:
    assert read_sequences(npz_file(tmp_path, x=np.ones((2, 1)), y=np.array([b"a", "ü".encode()]))).labels == ("a", "ü")


def test_npz_padding_may_be_anything(tmp_path: Path) -> None:
    x = np.array([[1.0, np.nan, 1e300], [1, 2, 3]])
    table = read_sequences(npz_file(tmp_path, x=x, lengths=np.array([1, 3]), y=np.array([0, 1])))
    assert_is(table, [[1], [1, 2, 3]], ["0", "1"])


X, Y = np.ones((3, 4)), np.array([0, 1, 2])
BAD_NPZ = {
    "no x": ({"X": X, "y": Y}, "there is no array 'x' among 'X', 'y'; save plain arrays with numpy.savez: x"),
    "no y": ({"x": X}, "there is no array 'y' among 'x'; save"),
    "nothing": ({}, "there is no array 'x' among none"),
    "one dimension": ({"x": np.ones(3), "y": Y}, r"x is 'float64' of the shape \[3\]; save plain arrays"),
    "four dimensions": ({"x": np.ones((3, 1, 1, 1)), "y": Y}, r"x is 'float64' of the shape \[3, 1, 1, 1\]"),
    "complex": ({"x": X + 0j, "y": Y}, "x is 'complex128'"),
    "text": ({"x": X.astype(str), "y": Y}, "x is '<U32'"),
    "dates": ({"x": X.astype("M8[s]"), "y": Y}, r"x is 'datetime64\[s\]'"),
    "fields": ({"x": np.ones((3, 4), dtype=[("a", "f4")]), "y": Y}, "x is .* of the shape"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, r"x has the shape \[0, 4\] and so holds no numbers"),
    "no steps": ({"x": X[:, :0], "y": Y}, r"x has the shape \[3, 0\]"),
    "no channels": ({"x": X[:, :, None][:, :, :0], "y": Y}, r"x has the shape \[3, 4, 0\]"),
    "nan": (
        {"x": np.where(X.cumsum(1) == 2, np.nan, X), "y": Y},
        r"x\[0\]: step 2 is not a number \(NaN\), x\[1\]: step 2",
    ),
    "too large": ({"x": X[:, :, None] * 1e39, "y": Y}, r"x\[0\]: step 1 is infinite, or too large for float32"),
    "y too short": ({"x": X, "y": Y[:2]}, r"y is 'int64' of the shape \[2\]; give \[3\] integers or text, such as"),
    "y of fractions": ({"x": X, "y": Y / 2}, r"y is 'float64' of the shape \[3\]; .*such as y.astype\(int\)"),
    "y of two dimensions": ({"x": X, "y": Y[:, None]}, r"y is 'int64' of the shape \[3, 1\]"),
    "y empty": ({"x": X, "y": np.array(["a", "", "b"])}, r"y\[1\]: the label is missing"),
    "y no utf-8": ({"x": X, "y": np.array([b"a", b"\xff", b"b"])}, r"y\[1\]: b'\\xff' is not UTF-8; save y as text"),
    "y half a character": (
        {"x": X, "y": np.array(["a", "\ud800", "b"])},
        r"y\[1\]: .* characters that cannot be shown",
    ),
    "y no characters": ({"x": X, "y": np.full(3, 2**31 - 1, "i4").view("U1")}, "y cannot be read as text"),
    "lengths of fractions": ({"x": X, "y": Y, "lengths": np.ones(3)}, r"lengths is 'float64' of the shape \[3\]; give"),
    "lengths too few": ({"x": X, "y": Y, "lengths": Y[:2]}, r"lengths is 'int64' of the shape \[2\]"),
    "length 0": (
        {"x": X, "y": Y, "lengths": np.array([1, 0, 4])},
        r"lengths\[1\]: 0 steps; x has 4 steps: give lengths",
    ),
    "length 5": ({"x": X, "y": Y, "lengths": np.array([5, 1, -4])}, r"lengths\[0\]: 5 steps, lengths\[2\]: -4 steps;"),
    "length 2^64": ({"x": X, "y": Y, "lengths": np.full(3, 2**64 - 1, "u8")}, r"lengths\[0\]: 18446744073709551615"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_an_error_of_an_npz_file_is_reported(case: str, tmp_path: Path) -> None:
    arrays, problem = BAD_NPZ[case]
    with pytest.raises(DataError, match=problem) as caught:
        read_sequences(npz_file(tmp_path, **arrays))
    assert str(tmp_path / "set.npz") in str(caught.value)
    assert "\n" not in str(caught.value)


class Payload:
    """An object that writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", ["x", "y", "lengths"])
def test_a_pickle_inside_is_refused_and_never_executed(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    objects = np.empty(3, dtype=object)
    objects[:] = Payload(marker)
    arrays = {"x": X, "y": Y, "lengths": Y + 1, name: objects}
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(
        DataError, match=rf"{name}.npy: it holds Python objects \(a pickle\), .*; save plain arrays with"
    ):
        read_sequences(tmp_path / "set.npz")
    assert not marker.exists()
    np.load(tmp_path / "set.npz", allow_pickle=True)[name]
    assert marker.exists(), "the payload works if pickles are allowed, so the test is meaningful"


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_a_bare_pickle_is_refused_and_never_executed(suffix: str, tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    path = tmp_path / f"set.{suffix}"
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(DataError, match=f"set.{suffix}: "):
        read_sequences(path)
    assert not marker.exists()


def raw_npy(shape: str, data: bytes = b"", dtype: str = "<f8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    ("content", "method", "problem"),
    [
        (raw_npy("(1000000, 1000000)", bytes(99)), 8, "x.npy: its header claims 8000000000000 bytes and it holds"),
        (raw_npy("(-2, 4)", bytes(64)), 8, "x.npy: its header claims -64 bytes"),
        (raw_npy(f"(0, {10**30})"), 8, "it cannot be read"),
        (raw_npy("(1000000000, 1000000000)", dtype="<U0"), 8, "it cannot be read"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", 8, "x.npy: its header claims a length of 4294967295 bytes"),
        (raw_npy("(4, 4)", bytes(128)), 14, "x.npy is compressed with a method that NumPy does not use"),
    ],
)
def test_hostile_arrays_are_refused(content: bytes, method: int, problem: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w", method) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=problem):
        read_sequences(tmp_path / "set.npz", labeled=False)


@pytest.mark.parametrize(("offset", "claim"), [(24, "file_size"), (20, "compress_size")])
def test_an_archive_that_claims_more_than_it_can_hold_is_refused(offset: int, claim: str, tmp_path: Path) -> None:
    path = npz_file(tmp_path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + offset : directory + offset + 4] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x.npy claims \d+ bytes, more than the file can hold"):
        read_sequences(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as x:
        x.write(raw_npy("(3, 100000000)", dtype="|u1"))
        for _ in range(30):
            x.write(bytes(10_000_000))
    assert path.stat().st_size < 400_000
    monkeypatch.setattr(limits, "MAX_BYTES", 200_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"x.npy: it has 300000000 bytes, the limit is 200000000"):
        read_sequences(path, labeled=False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


# Sizes


def test_padding_that_would_fill_the_memory_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    rows = ["sequence,label", *["1,a"] * 20_000, " ".join(["1"] * 60_000) + ",b"]
    with pytest.raises(DataError, match=r"20001 sequences of 1 channels, padded to the 60000 steps of .* 4.47 GiB"):
        read_sequences(csv_file(tmp_path, "\n".join(rows)))


@pytest.mark.parametrize("shape", [(50, 6), (50, 2, 3)])
def test_an_array_over_the_limit_is_refused(shape: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz_file(tmp_path, x=np.ones(shape, dtype=np.uint8), y=np.arange(50))
    monkeypatch.setattr(limits, "MAX_BYTES", 1200)
    read_sequences(path)
    monkeypatch.setattr(limits, "MAX_BYTES", 1199)
    with pytest.raises(DataError, match=r"GiB, more than .* GiB; cut or take out the longest, or give fewer"):
        read_sequences(path)
    monkeypatch.setattr(limits, "MAX_BYTES", 299)
    with pytest.raises(DataError, match=r"x.npy: it has 300 bytes, the limit is 299"):
        read_sequences(path)


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ROWS", 2)
    for path in (
        csv_file(tmp_path, "sequence,label\n1,a\n2,b\n3,c\n"),
        parquet_file(tmp_path, sequence=["1", "2", "3"], label=[1, 2, 3]),
        npz_file(tmp_path, x=X, y=Y),
    ):
        with pytest.raises(DataError, match="it has more than 2 rows; give fewer"):
            read_sequences(path)


# Files that cannot be opened


def test_a_path_that_is_not_a_sequence_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing.csv: does not exist; give a .csv, .parquet or .npz file"):
        read_sequences(tmp_path / "nothing.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder.csv: is no file; give a .csv, .parquet or .npz file"):
        read_sequences(tmp_path / "folder.csv")
    (tmp_path / "set.xlsx").touch()
    with pytest.raises(DataError, match=r"set.xlsx: is of an unknown kind; give a .csv, .parquet or .npz file"):
        read_sequences(tmp_path / "set.xlsx")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_a_file_without_permission_is_refused(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"set.{suffix}"
    path.touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match=rf"set.{suffix}: it cannot be read \(.*Permission denied\); "):
        read_sequences(path)


def test_the_same_column_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="label_column must not be sequence_column, got 'a' for both; name another column"
    ):
        read_sequences(csv_file(tmp_path, "a\n1\n"), sequence_column="a", label_column="a")


# Arbitrary bytes give a table or a DataError, see also tests/fuzz


def valid(name: str) -> bytes:
    stream = io.BytesIO()
    texts = [" ".join(map(str, one)) for one in SEQUENCES]
    match name:
        case "set.csv":
            text = io.StringIO(newline="")
            csv.writer(text).writerows([["sequence", "label"], *zip(texts, LABELS, strict=True)])
            return text.getvalue().encode()
        case "text.parquet":
            pq.write_table(pa.table({"sequence": texts, "label": LABELS}), stream)
        case "plain.parquet":
            table = pa.table({"sequence": texts, "label": LABELS})
            pq.write_table(table, stream, use_dictionary=False, compression="none")
        case "list.parquet":
            pq.write_table(pa.table({"sequence": SEQUENCES, "label": [1, 2, 1, 3]}), stream)
        case "set.npz":
            np.savez_compressed(stream, x=X, y=Y, lengths=Y + 1)
        case "stored.npz":
            np.savez(stream, x=X, y=np.array(["a", "b", "ü"]), lengths=Y + 1)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["set.csv", "set.parquet", "set.npz"])
@settings(max_examples=100)
@given(content=st.one_of(st.binary(max_size=100), st.text(max_size=50).map(lambda text: text.encode())))
def test_any_bytes_give_an_error(name: str, content: bytes, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_sequences(path)


@settings(max_examples=300)
@given(
    rows=st.lists(st.tuples(st.text(st.sampled_from("0123456789.-+e, []_\tnaif"), max_size=12), st.text(max_size=4)))
)
def test_any_fields_give_a_table_or_an_error(rows: list[tuple[str, str]], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "fields.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([("sequence", "label"), *rows])
    assert outcome(READERS["csv"], path) in ("value", "error")


@pytest.mark.parametrize("name", ["text.parquet", "list.parquet", "set.npz"])
def test_every_truncated_file_is_refused(name: str, tmp_path: Path) -> None:
    content = valid(name)
    for length in range(len(content)):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(DataError):
            read_sequences(tmp_path / name)


# Classes


def test_class_names_are_in_order() -> None:
    assert class_names(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert class_names(["10", "9", "b", "a"]) == ("10", "9", "a", "b")
    assert class_names(["1", "01", "+1", "0"]) == ("0", "+1", "01", "1")


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="labels: every row has the label 'a'; a classifier needs rows of at least 2"):
        class_names(["a", "a"])
    with pytest.raises(DataError, match="labels: there are no rows"):
        class_names([])


def test_class_indices() -> None:
    indices = class_indices(table_of(("b", "a", "b")), ("a", "b", "c"))
    assert (indices.tolist(), indices.dtype) == ([1, 0, 1], torch.int64)


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"set.csv: .* in training \(row 3: 'x', row 4: 'y'\); known are 'a', 'b': corr"
    ):
        class_indices(table_of(("a", "x", "y")), ("a", "b"))
    with pytest.raises(DataError, match=r"row 3: 'x', row 4: 'x', and 7 more\); known are '0', .*, '5', and 4 more:"):
        class_indices(table_of(("x",) * 10), [str(name) for name in range(10)])
    with pytest.raises(DataError, match=r"set.csv: the sequences were read without labels; give a file that has them"):
        class_indices(table_of(None, 2), ("a", "b"))


def test_indexing_a_table() -> None:
    part = table_of(("a", "b", "c"))[torch.tensor([2, 0])]
    assert (part.labels, part.rows, len(part), part.row_name(0)) == (("c", "a"), (4, 2), 2, "row 4")
    assert table_of(None, 3)[torch.tensor([1])].labels is None


# Split


@settings(max_examples=200)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**63 - 1),
)
def test_stratified_split(counts: list[int], fraction: float, seed: int) -> None:
    labels = [str(name) for name, count in enumerate(counts) for _ in range(count)]
    if max(counts) < 2:
        with pytest.raises(DataError, match=r"none of the .* classes has a second row"):
            stratified_split(labels, fraction, seed)
        return
    train, validation = stratified_split(labels, fraction, seed)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(len(labels)))
    assert (train.tolist(), validation.tolist()) == (sorted(train.tolist()), sorted(validation.tolist()))
    assert (train.dtype, validation.dtype) == (torch.int64, torch.int64)
    in_train = Counter(labels[row] for row in train)
    for name, count in enumerate(counts):
        assert 1 <= in_train[str(name)] <= max(1, count - 1)
        assert abs(in_train[str(name)] - fraction * count) < 1 or in_train[str(name)] in (1, count - 1)
    if min(fraction, 1 - fraction) * min(counts) >= 1:
        assert len(train) == round(fraction * len(labels))
    again = stratified_split(labels, fraction, seed)
    assert torch.equal(train, again.train)
    assert torch.equal(validation, again.validation)


def test_the_split_depends_on_the_seed_and_is_random() -> None:
    labels = ["a", "b"] * 50
    parts = [stratified_split(labels, 0.8, seed).validation for seed in range(200)]
    assert not torch.equal(parts[0], parts[1])
    chosen = torch.cat(parts).bincount(minlength=100)  # expected: 40, with a standard deviation of 5.7
    assert 15 < chosen.min() < chosen.max() < 65


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "b", "c"]])
def test_too_few_rows_are_refused(labels: list[str]) -> None:
    with pytest.raises(DataError, match="has a second row, so that none is left for validation; give at least 2 rows"):
        stratified_split(labels, 0.5, 0)


@pytest.mark.parametrize("fraction", [0, 1, -1, math.nan, True, "0.5"])
def test_a_fraction_out_of_range_is_refused(fraction: Any) -> None:
    with pytest.raises(ConfigError, match=r"train_fraction must be (a|greater|less).*, got "):
        stratified_split(["a", "a"], fraction, 0)


# Standardization


def random_sequences(count: int = 50, steps: int = 7, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(count, steps, channels, generator=rng) * torch.tensor([1.0, 1e-3, 1e5]) + 7
    lengths = torch.randint(1, steps + 1, (count,), generator=rng)
    x[torch.arange(steps) >= lengths.unsqueeze(1)] = 0
    return x, lengths


@pytest.mark.parametrize("chunk", [1, 50, 1 << 22])
def test_standardization(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.data.sequences.standardization.CHUNK_NUMBERS", chunk)
    x, lengths = random_sequences()
    inside = torch.arange(7) < lengths.unsqueeze(1)
    steps = x[inside].double().numpy()
    standard = Standardization.fit(x, lengths)
    np.testing.assert_allclose(standard.mean, steps.mean(0), rtol=1e-12)
    np.testing.assert_allclose(standard.scale, steps.std(0), rtol=1e-12)
    before = x.clone()
    result = standard.apply(x, lengths)
    assert torch.equal(x, before)
    assert result.dtype == torch.float32
    assert (result[~inside] == 0).all()
    np.testing.assert_allclose(result[inside].numpy(), (steps - steps.mean(0)) / steps.std(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e30, 16777217.0])
def test_a_constant_channel_keeps_its_scale(constant: float) -> None:
    x = torch.full((1001, 3, 1), constant)
    lengths = torch.full((1001,), 3)
    standard = Standardization.fit(x, lengths)
    assert standard == Standardization(mean=(x[0, 0, 0].item(),), scale=(1.0,))
    assert (standard.apply(x, lengths) == 0).all()


def test_a_large_offset_costs_no_precision() -> None:
    x = (1e6 + torch.arange(1000.0) % 2).reshape(1000, 1, 1)
    assert Standardization.fit(x, torch.ones(1000, dtype=torch.int64)) == Standardization(
        mean=(1e6 + 0.5,), scale=(0.5,)
    )


def test_data_of_another_kind_are_refused() -> None:
    x, lengths = random_sequences()
    with pytest.raises(DataError, match="data: it has 3 channels a step and the training data had 1; give data of the"):
        Standardization(mean=(0.0,), scale=(1.0,)).apply(x, lengths)
    with pytest.raises(DataError, match="data: its numbers are too far from those of the training data"):
        Standardization(mean=(0.0,) * 3, scale=(1e-300,) * 3).apply(x, lengths)


def test_standardization_survives_json() -> None:
    standard = Standardization.fit(*random_sequences())
    assert Standardization.model_validate(json.loads(standard.model_dump_json())) == standard
    assert Standardization.model_validate({"mean": [1], "scale": [2]}) == Standardization(mean=(1.0,), scale=(2.0,))


# Predictions


def read_back(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def test_predictions(tmp_path: Path) -> None:
    probabilities = torch.tensor([[0.1, 0.7, 0.2], [1.0, 1e-30, 0.0]])
    names = ("plain", 'a, "b"', "ü")
    write_predictions(tmp_path / "out.csv", table_of(None, 2), names, probabilities)
    header, *rows = read_back(tmp_path / "out.csv")
    assert header == ["row", "class", "probability", "p(plain)", 'p(a, "b")', "p(ü)"]
    assert [row[:3] for row in rows] == [["2", 'a, "b"', "0.7"], ["3", "plain", "1.0"]]
    assert torch.equal(torch.tensor([[float(cell) for cell in row[3:]] for row in rows]), probabilities)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1", "'＝1"),
        ("'tis", "''tis"),
        ("-1", "-1"),
        ("+2.5", "+2.5"),
        ("a=b", "a=b"),
        ("\ud800", "\\ud800"),
    ],
)
def test_no_class_is_a_formula(name: str, cell: str, tmp_path: Path) -> None:
    write_predictions(tmp_path / "out.csv", table_of(None, 1), (name, "z"), torch.tensor([[0.75, 0.25]]))
    header, row = read_back(tmp_path / "out.csv")
    assert row[1] == cell
    assert header[3].startswith("p(")


def test_predictions_are_written_atomically(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be written"):
        write_predictions(tmp_path / "file" / "out.csv", table_of(None, 1), ("a", "b"), torch.tensor([[1.0, 0.0]]))
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(AssertionError):
        write_predictions(tmp_path / "out.csv", table_of(None, 2), ("a", "b"), torch.tensor([[1.0, 0.0]]))
    assert [(path.name, path.read_text()) for path in tmp_path.glob("*.csv*")] == [("out.csv", "old")]
