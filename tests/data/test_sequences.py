"""Custom sequences: every file gives a table or one clear line; classes, splits, standardization, predictions."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reviver.data.sequences.labels import class_indices, class_names, stratified_split
from reviver.data.sequences.reader import read_sequences
from reviver.data.sequences.standardization import Standardization
from reviver.data.sequences.table import SequenceTable, write_predictions
from reviver.errors import ConfigError, DataError, RunFolderError

SEQUENCES = [[1.0, 2.5, -3.0], [4.0], [0.1, 1e-7, 1e7, 6.0], [7.0, 8.0]]
LABELS = ["up", "down", "up", 'ünter, "quoted"']


def file_of(folder: Path, kind: str, content: Any) -> Path:
    """Write a file: text, bytes or rows of a CSV file, columns of a Parquet file, arrays of an .npz."""
    path = folder / f"set.{kind}"
    if isinstance(content, str | bytes):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    elif kind == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(content)
    elif kind == "parquet":
        pq.write_table(pa.table(content), path)
    else:
        np.savez_compressed(path, **content)
    return path


def padded(sequences: list[list[float]]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, sequences)), batch_first=True).float()[..., None]


def assert_is(found: SequenceTable, sequences: list[list[float]], labels: list[str] | None) -> None:
    assert torch.equal(found.x, padded(sequences))
    assert (found.x.dtype, found.lengths.dtype) == (torch.float32, torch.int64)
    assert found.lengths.tolist() == [len(one) for one in sequences]
    assert found.labels == (None if labels is None else tuple(labels))


def table_of(labels: tuple[str, ...] | None, count: int = 0) -> SequenceTable:
    count = count if labels is None else len(labels)
    x, lengths = torch.ones(count, 1, 1), torch.ones(count, dtype=torch.int64)
    return SequenceTable(x, lengths, labels, tuple(range(2, count + 2)), "row {}", "set.csv")


# Valid files


ROWS = st.lists(
    st.tuples(
        st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=9),
        st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=9).filter(str.strip),
    ),
    min_size=1,
    max_size=9,
)
SEPARATORS = st.sampled_from((" ", ",", ", ", "\t", "\n", "\u2003"))
BRACKETS = st.sampled_from(("{}", "[{}]", " {} "))


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_any_table_survives(kind: str, tmp_path: Path) -> None:
    @settings(max_examples=100)
    @given(ROWS, SEPARATORS, BRACKETS)
    def check(rows: list[tuple[list[float], str]], separator: str, brackets: str) -> None:
        sequences, labels = map(list, zip(*rows, strict=True))
        content: Any = [["id", "label", " sequence "]]
        content += (["9", label, brackets.format(separator.join(map(repr, one)))] for one, label in rows)
        if kind == "npz":
            lengths = np.array([len(one) for one in sequences])
            content = {"x": padded(sequences)[:, :, 0].numpy(), "lengths": lengths, "y": np.array(labels)}
        found = read_sequences(file_of(tmp_path, kind, content))
        assert_is(found, sequences, [label.strip() for label in labels])

    check()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_are_counted_as_in_a_spreadsheet(end: str, tmp_path: Path) -> None:
    lines = ["\ufeffx,kind", "1 2, 01 ", "", '"3', '4",1', ",", "5,c", ""]
    path = file_of(tmp_path, "csv", end.join(lines))
    found = read_sequences(path, sequence_column="x", label_column="kind")
    assert_is(found, [[1, 2], [3, 4], [5]], ["01", "1", "c"])
    assert (found.rows, found.name) == ((2, 4, 6), "set.csv"), "rows 3 and 5 are blank, row 4 has two lines"
    assert found.row_name(1) == "row 4"


def test_parquet_of_text_and_of_lists(tmp_path: Path) -> None:
    texts = [" ".join(map(str, one)) for one in SEQUENCES]
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        columns = {"other": [1, 2, 3, 4], "label": pa.array(LABELS).cast(kind), "sequence": pa.array(texts).cast(kind)}
        found = read_sequences(file_of(tmp_path, "parquet", columns))
        assert_is(found, SEQUENCES, LABELS)
    assert (found.rows, found.row_name(3)) == ((0, 1, 2, 3), "row index 3")
    for kind in (pa.large_list(pa.uint64()), pa.list_(pa.float32(), 2)):
        sequences = [[1, 2], [3, 4], [5, 6]] if pa.types.is_fixed_size_list(kind) else [[1, 2, 3], [4], [5, 6]]
        path = file_of(tmp_path, "parquet", {"sequence": pa.array(sequences, kind), "label": [3, -1, 20]})
        assert_is(read_sequences(path), sequences, ["3", "-1", "20"])


@pytest.mark.parametrize(("dtype", "order"), [("?", "C"), (">i4", "F"), ("u8", "C"), ("f2", "F"), ("g", "C")])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_npz(dtype: str, order: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype, order=order)
    arrays = {"x": x, "lengths": np.array([5, 1, 3, 2], dtype=np.uint8), "y": np.array([0, 1, 10, 2])}
    found = read_sequences(file_of(tmp_path, "npz", arrays))
    expected = torch.from_numpy(x.astype(np.float32).reshape(4, 5, -1))
    for row, length in enumerate([5, 1, 3, 2]):
        expected[row, length:] = 0
    assert torch.equal(found.x, expected)
    assert (found.lengths.tolist(), found.labels) == ([5, 1, 3, 2], ("0", "1", "10", "2"))
    assert (found.x.dtype, found.lengths.dtype, found.row_name(1)) == (torch.float32, torch.int64, "x[1]")


# Files with errors

X, Y = np.ones((3, 4)), np.array([0, 1, 2])
HEADER = "sequence,label\n"


BAD: list[tuple[str, Any, str]] = [
    ("csv", "", r"set.csv: it is empty; give a file with a header \(sequence, label\)"),
    ("csv", HEADER, "it holds no rows; give a file with sequences"),
    ("csv", HEADER + "1 2,a\n1 x1 2,b\n", r"row 3: 'x1' at step 2 is not a number; give numbers separated by"),
    ("csv", HEADER + '"1,,2",a\n', "row 2: there is nothing at step 2, between two commas"),
    ("csv", HEADER + "1,a\n1 2 -inf,a\n", "row 3: step 3 is infinite, or too large for float32"),
    ("csv", "sequenze,label\n1,a\n", r"label' \(did you mean 'sequenze'\?\); name the right one with --sequence-column$"),
    ("csv", "sequence;label\n1;a\n", "its columns are separated by semicolons; save it with commas"),
    ("csv", HEADER + "1,2,3,a\n", "row 2: it has 4 fields and the header has 2; put a sequence that"),
    ("csv", HEADER + '1,a\n"2,b\n3,c\n', "row 3: unexpected end of data; check the quotes there"),
    ("csv", (HEADER + "1,a\n2,ü\n").encode("latin1"), "cannot be read .'utf-8' codec can't decode byte 0xfc.*; save it as UTF-8"),
    ("csv", HEADER + "x,a\n" * 15, "row 2: 'x' at step 1 is not a number, row 3: .*, row 4: .*, and 12 more; give"),
    ("parquet", {"sequence": pa.array([], pa.string()), "label": pa.array([], pa.string())}, "it holds no rows"),
    ("parquet", {"sequence": ["1", None, "1 y"], "label": ["a", "b", None]},
     "row index 1: the sequence is empty, row index 2: 'y' at step 2 is not a number, row index 2: the label is missing;"),
    ("parquet", {"sequence": [[1], None, [], [2, None], [1.0, 1e40]], "label": [1, 2, 3, 4, 5]},
     r"index 1: the sequence is empty, .* 2: the sequence is empty, .* 3: step 2 is not a number \(NaN\), and 1 more"),
    ("parquet", {"row": ["1"], "label": ["a"]}, r"^\S+set.parquet: there is no column 'sequence' among 'row', 'label'; name"),
    ("parquet", {"sequence": [1.0], "label": ["a"]}, "column 'sequence' holds 'double'; give lists of numbers, or"),
    ("npz", {}, "there is no array 'x' among none; save plain arrays with numpy.savez: x"),
    ("npz", {"X": X, "y": Y}, "there is no array 'x' among 'X', 'y'; save plain arrays with numpy.savez: x"),
    ("npz", {"x": np.ones(3), "y": Y}, r"x is 'float64' of the shape \[3\]; save plain arrays"),
    ("npz", {"x": np.where(X.cumsum(1) == 2, np.nan, X), "y": Y}, r"x\[0\]: step 2 is not a number \(NaN\), x\[1\]: step"),
    ("npz", {"x": np.stack([X, X * 1e39], 2), "y": Y}, r"x\[0\]: step 1 of channel 2 is infinite, or too large"),
    ("npz", {"x": X, "y": Y / 2}, r"y is 'float64' of the shape \[3\]; .*such as y.astype\(int\)"),
    ("npz", {"x": X, "y": np.array([b"a", b"\xff", b""])}, r"y\[1\]: b'\\xff' is not UTF-8.* y\[2\]: the label is missing"),
    ("npz", {"x": X, "y": np.full(3, 2**31 - 1, "i4").view("U1")}, "set.npz: cannot be read .*; save plain arrays"),
    ("npz", {"x": X, "y": Y, "lengths": np.array([5, 1, 0])}, r"lengths\[0\]: 5 steps, lengths\[2\]: 0 steps; x has 4"),
    ("npz", {"x": X, "y": Y, "lengths": np.full(3, 2**64 - 1, "u8")}, r"lengths\[0\]: 18446744073709551615"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD)))
def test_an_error_is_one_line_with_the_file_the_row_and_the_remedy(case: int, tmp_path: Path) -> None:
    kind, content, problem = BAD[case]
    path = file_of(tmp_path, kind, content)
    with pytest.raises(DataError, match=problem) as caught:
        read_sequences(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_paths_and_columns_that_cannot_be_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set.xlsx").touch()
    with pytest.raises(
        DataError, match=r"set.xlsx: is of an unknown.*; give a .csv, .parquet, .npz file, or a folder with x.npy"
    ):
        read_sequences(tmp_path / "set.xlsx")
    path = file_of(tmp_path, "parquet", {"sequence": ["1"], "label": ["a"]})
    with pytest.raises(ConfigError, match="label_column must not be sequence_column, got 'a' for both; name another"):
        read_sequences(path, sequence_column="a", label_column="a")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"needs pyarrow; pip install pyarrow, or save the file as .csv"):
        read_sequences(path)


# Classes


def test_classes_are_sorted_by_value_or_by_name() -> None:
    for labels, names in (("10 9 -1 9", "-1 9 10"), ("10 9 b a", "10 9 a b"), ("1 01 +1 0", "0 +1 01 1")):
        assert class_names(table_of(tuple(labels.split()))) == tuple(names.split())
    indices = class_indices(table_of(("b", "a", "b")), ("a", "b", "c"))
    assert (indices.tolist(), indices.dtype) == ([1, 0, 1], torch.int64)


@settings(max_examples=150)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=8).filter(lambda counts: max(counts) > 1),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**63 - 1),
)
@example([2], 0.9, 0)
def test_stratified_split(counts: list[int], fraction: float, seed: int) -> None:
    classes = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    train, validation = stratified_split(classes, fraction, seed)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(len(classes)))
    assert (train.tolist(), validation.tolist()) == (sorted(train.tolist()), sorted(validation.tolist()))
    assert (train.dtype, validation.dtype) == (torch.int64, torch.int64)
    for found, count in zip(classes[train].bincount(minlength=len(counts)).tolist(), counts, strict=True):
        assert 1 <= found <= max(1, count - 1)
        assert abs(found - fraction * count) < 1 or found in (1, count - 1)
    if min(fraction, 1 - fraction) * min(counts) >= 1:
        assert len(train) == round(fraction * len(classes))
    assert torch.equal(train, stratified_split(classes, fraction, seed)[0])


def test_the_split_depends_on_the_seed_and_is_random() -> None:
    parts = [stratified_split(torch.arange(100) % 2, 0.8, seed)[1] for seed in range(200)]
    assert not torch.equal(parts[0], parts[1])
    chosen = torch.cat(parts).bincount(minlength=100)  # expected: 40, with a standard deviation of 5.7
    assert 15 < chosen.min() < chosen.max() < 65


# Standardization


@pytest.mark.parametrize("chunk", [1, 50, 1 << 22])
def test_standardization_agrees_with_numpy(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.data.sequences.standardization.CHUNK_NUMBERS", chunk)
    x = torch.randn(50, 7, 3) * torch.tensor([1.0, 1e-3, 1e5]) + 7
    lengths = torch.randint(1, 8, (50,))
    inside = torch.arange(7) < lengths.unsqueeze(1)
    x[~inside] = 0
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
    assert Standardization.model_validate(json.loads(standard.model_dump_json())) == standard
    with pytest.raises(DataError, match="data has 3 channels a step and the training data had 1; give data of the"):
        Standardization(mean=(0.0,), scale=(1.0,)).apply(x, lengths)
    with pytest.raises(DataError, match="data: its numbers are too far from those of the training data"):
        Standardization(mean=(0.0,) * 3, scale=(1e-300,) * 3).apply(x, lengths)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e30, 16777217.0])
def test_a_constant_channel_keeps_its_scale_and_a_large_offset_costs_no_precision(constant: float) -> None:
    x, lengths = torch.full((1001, 3, 1), constant), torch.full((1001,), 3)
    standard = Standardization.fit(x, lengths)
    assert standard == Standardization(mean=(x[0, 0, 0].item(),), scale=(1.0,))
    assert (standard.apply(x, lengths) == 0).all()
    x = (1e6 + torch.arange(1000.0) % 2).reshape(1000, 1, 1)
    found = Standardization.fit(x, torch.ones(1000, dtype=torch.int64))
    assert found == Standardization(mean=(1e6 + 0.5,), scale=(0.5,))


# Predictions


def test_predictions_are_written_exactly_and_atomically(tmp_path: Path) -> None:
    names = ("plain", 'a, "b"', "=1+1", "-1+1", "＝1", "'tis", "-1", "+2.5", "a=b", "\ud800")
    probabilities = torch.eye(10) * 0.7 + torch.rand(10, 10, generator=torch.Generator().manual_seed(0)) / 10
    path = tmp_path / "out.csv"
    write_predictions(path, table_of(None, 10), names, probabilities)
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert header[:7] == ["row", "class", "probability", "p(plain)", 'p(a, "b")', "p(=1+1)", "p(-1+1)"]
    cells = ["plain", 'a, "b"', "'=1+1", "'-1+1", "'＝1", "''tis", "-1", "+2.5", "a=b", "\\ud800"]
    assert [row[:2] for row in rows] == [[str(row), cell] for row, cell in enumerate(cells, 2)], "none is a formula"
    assert torch.equal(torch.tensor([[float(cell) for cell in row[3:]] for row in rows]), probabilities)
    assert [float(row[2]) for row in rows] == [max(map(float, row[3:])) for row in rows]
    with pytest.raises(RunFolderError, match="cannot be written"):
        write_predictions(path / "x.csv", table_of(None, 10), names, probabilities)
    path.write_text("old")
    with pytest.raises(AssertionError):
        write_predictions(path, table_of(None, 1), names, probabilities)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.csv", "old")]
