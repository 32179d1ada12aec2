"""Sequences from people's own files, .csv, .parquet or .npz, and predictions into a .csv.

Shapes: N sequences, T steps of the longest, I channels a step.

Files are not trusted: what they claim is compared with what they hold and with stated limits before memory is
taken, nothing is unpickled, and whatever is wrong is a DataError that names the row.
"""

import array
import csv
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from reviver.errors import ConfigError, DataError
from reviver.lstm.sequences import SHOWN, SequenceTable, listed
from reviver.npz import npz_names, read_npz
from reviver.parquet import read_sizes
from reviver.runs.files import replacing
from reviver.untrusted import one_line, open_file, shown

ENDINGS = (".csv", ".parquet", ".npz")
MAX_BYTES = 4 << 30
"""Largest table of padded numbers, and largest array of an .npz file, that is read: 4 GiB."""
MAX_NPZ_SIDE = 1 << 30
"""Largest `y` or `lengths` of an .npz file, in bytes."""
MAX_ROWS = 10_000_000
MAX_FIELD = 1 << 24
"""Characters of one field of a CSV file: a sequence of some two million numbers."""
PIECE = 1 << 16
"""Characters of a long field that are split into numbers at a time."""
MAX_ROW = MAX_FIELD + (1 << 20)
"""Characters of a row of a CSV file, over all its columns and lines."""
MAX_COLUMNS = 10_000
MAX_LABEL = 200
"""Characters of one label."""
PARQUET_ROWS, PARQUET_BYTES = 4096, 1 << 25
"""A Parquet file is read so many rows, and about so many bytes, at a time."""
PARQUET_SMALL, PARQUET_RATIO = 1 << 22, 1032
"""It may take so many bytes whatever its own size is, and so many times its size, as deflate can give, besides."""
PARQUET_LIMITS = {"thrift_string_size_limit": 1 << 20, "thrift_container_size_limit": 1 << 20}
"""Of texts and lists in a Parquet file's description of itself."""

NUMBERS = "give numbers separated by spaces or by commas, or take the row out"
NPZ = (
    "save plain arrays with numpy.savez: x [N, T] or [N, T, I] padded to one length, y [N] whole numbers or text, "
    "and lengths [N] if the sequences differ in length"
)
FORMULA_START = re.compile(r"['=+\-@＝＋－＠\t\r\n]")
NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which a terminal obeys, and halves of characters, which no file can hold."""
PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def read_sequences(
    path: Path, *, sequence_column: str = "sequence", label_column: str = "label", labelled: bool = True
) -> SequenceTable:
    """Read sequences and, unless `labelled` is False, their labels.

    A `.csv` file (UTF-8, a header, commas between columns) holds each sequence as text in `sequence_column`:
    numbers separated by spaces or by commas, in brackets or not, each number one step of one channel. A
    `.parquet` file holds it in the same way or as a list of numbers. Labels are text or whole numbers. An
    `.npz` file holds `x` [N, T] or [N, T, I], `y` [N] and, if sequences differ in length, `lengths` [N]; the
    column names do not matter to it, and what stands beyond a sequence's end is not looked at. Blank rows of a
    CSV file are passed over.

    Numbers become float32, which has 7 digits: take an offset such as a date's off larger ones before.

    Raises:
        ConfigError: if both columns are called the same.
        DataError: if the file is missing, malformed, or too large.
    """
    path = Path(path)
    if labelled and sequence_column == label_column:
        raise ConfigError(f"label_column: {shown(label_column)} is the column of sequences too; name another column")
    columns = (sequence_column, label_column) if labelled else (sequence_column,)
    lack = "is of an unknown kind" if path.is_file() else "is no file" if path.exists() else "does not exist"
    try:
        match path.suffix.lower() if path.is_file() else "":
            case ".csv":
                return _read_csv(path, columns)
            case ".parquet":
                return _read_parquet(path, columns)
            case ".npz":
                return _read_npz(path, labelled)
        raise _ProblemError(f"{lack}; give a {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]} file")
    except _ProblemError as error:
        raise DataError(f"{path}: {error}") from error.__cause__


def write_predictions(path: Path, table: SequenceTable, names: Sequence[str], probabilities: Tensor) -> None:
    """Write a CSV file: each sequence's row, its most probable class, that probability, and those of all classes.

    `probabilities` is [N, C] for the C classes `names`. A spreadsheet runs a cell that begins with =, +, - or @ as
    a formula. So a class that begins with one of these, and is no plain number, gets an apostrophe before it; one
    that begins with an apostrophe gets another, so that taking one off gives the class back. The columns of
    probabilities are called `p(CLASS)`, which is no formula.

    Raises:
        RunFolderError: if the file cannot be written; an older one is then still there.
    """
    assert probabilities.shape == (len(table), len(names))
    numbers = probabilities.detach().cpu().float()
    best = numbers.argmax(1).tolist()
    cells = [_not_a_formula(name) for name in names]
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["row", "class", "probability", *(f"p({name})" for name in names)])
        for index, row in enumerate(table.rows):
            texts = numbers[index].numpy().astype(str).tolist()  # as many digits as give the float32 back
            writer.writerow([row, cells[best[index]], texts[best[index]], *texts])


def _not_a_formula(name: str) -> str:
    return f"'{name}" if FORMULA_START.match(name) and not PLAIN_NUMBER.fullmatch(name) else name


# What all kinds of file share


class _ProblemError(Exception):
    """What is wrong with a file, without its name."""


class _Rows:
    """Sequences of one channel and their labels as they are read, one after the other; bad rows are noted.

    Only the first few bad rows are spelled out, with the remedy of the first.
    """

    def __init__(self, name: str, row_format: str) -> None:
        self.name = name
        self.row_format = row_format
        self.numbers = array.array("f")
        self.counts = array.array("q")
        self.rows = array.array("q")
        self.labels: list[str] = []
        self.longest = 0
        self._known: dict[str, str] = {}
        self._problems: list[str] = []
        self._problem_count = 0
        self._remedy = ""

    def problem(self, row: int, what: str, remedy: str) -> None:
        self._remedy = self._remedy or remedy
        self._problem_count += 1
        if len(self._problems) < SHOWN:
            self._problems.append(f"{self.row_format.format(row)}: {what}")

    def add_text(self, row: int, text: str) -> None:
        """Add the numbers of one field."""
        if len(text) > MAX_FIELD:
            self.problem(row, f"the sequence has more than {MAX_FIELD} characters", "save long sequences as .npz")
            text = "0"
        text = text.strip()
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1].strip()
        numbers = np.empty(0)
        try:
            if "_" in text:  # which float() reads over
                raise ValueError
            numbers = np.fromiter(map(float, _parts(text)), np.float64)
        except ValueError:
            if text:
                self.problem(row, _first_bad_number(text), NUMBERS)
        with np.errstate(all="ignore"):  # what is too large becomes infinite, and is told with the infinite
            self.numbers.frombytes(numbers.astype(np.float32).tobytes())
        self.end(row, len(numbers), is_empty=not text)

    def end(self, row: int, count: int, *, is_empty: bool) -> None:
        """Note that the last `count` numbers are the sequence of `row`."""
        if is_empty:
            self.problem(row, "the sequence is empty", NUMBERS)
        self.counts.append(count)
        self.rows.append(row)
        self.longest = max(self.longest, count)
        _check_size(len(self.rows), self.longest, 1)

    def add_label(self, row: int, label: str) -> None:
        """Add the label of `row`; equal ones are kept once."""
        label = label.strip()
        if label in self._known:
            self.labels.append(self._known[label])
        elif not label:
            self.problem(row, "the label is missing", "give one, or take the row out")
        elif len(label) > MAX_LABEL:
            what = f"the label {shown(label)} has {len(label)} characters"
            self.problem(row, what, f"give a label of at most {MAX_LABEL}, and check that the column is the right one")
        elif NOT_SHOWN.search(label):
            self.problem(row, f"the label {shown(label)} has characters that cannot be shown", "take them out")
        else:
            self._known[label] = label
            self.labels.append(label)

    def check(self) -> None:
        """Refuse the file if a row was bad.

        Raises:
            _ProblemError: naming the first such rows.
        """
        if self._problem_count:
            raise _ProblemError(f"{listed(self._problems, self._problem_count)}; {self._remedy}")

    def table(self, *, labelled: bool) -> SequenceTable:
        """All rows as one table."""
        numbers = np.frombuffer(self.numbers, dtype=np.float32)
        counts = np.frombuffer(self.counts, dtype=np.int64)
        if not np.isfinite(numbers).all():
            self._note_not_finite(numbers, np.cumsum(counts) - counts)
        self.check()
        if not self.rows:
            raise _ProblemError("it holds no rows; give a file with sequences")
        x = np.zeros((len(counts), self.longest), dtype=np.float32)
        if (counts == self.longest).all():
            x.reshape(-1)[:] = numbers
        else:
            x[np.arange(self.longest) < counts[:, None]] = numbers
        return SequenceTable(
            torch.from_numpy(x).unsqueeze(2),
            torch.from_numpy(counts.copy()),
            tuple(self.labels) if labelled else None,
            tuple(self.rows),
            self.row_format,
            self.name,
        )

    def _note_not_finite(self, numbers: np.ndarray[Any, Any], starts: np.ndarray[Any, Any]) -> None:
        bad = np.flatnonzero(~np.isfinite(numbers))
        rows = np.searchsorted(starts, bad, side="right") - 1  # an empty row starts where the next does: the last is it
        _, firsts = np.unique(rows, return_index=True)
        for first in firsts.tolist():
            index, row = int(bad[first]), int(rows[first])
            self.problem(self.rows[row], _not_finite(numbers[index], f"step {index - starts[row] + 1}"), FINITE)


FINITE = "give numbers within ±3.4e38, or take the row out"


def _not_finite(number: float, where: str) -> str:
    return f"{where} is {'not a number (NaN)' if np.isnan(number) else 'infinite, or too large for float32'}"


def _first_bad_number(text: str) -> str:
    """Why a text is no list of numbers."""
    for step, part in enumerate(_parts(text), 1):
        if not part.strip():
            return f"there is nothing at step {step}, between two commas"
        try:
            if "_" in part:
                raise ValueError
            float(part)
        except ValueError:
            return f"{shown(part.strip())} at step {step} is no number"
    return "the numbers cannot be read"


def _parts(text: str) -> Iterable[str]:
    """The parts of a text between commas if it has any, else between blanks."""
    separator = "," if "," in text else None
    return text.split(separator) if len(text) <= PIECE else chain.from_iterable(_split_pieces(text, separator))


def _split_pieces(text: str, separator: str | None) -> Iterator[list[str]]:
    """Split a long text piece by piece: its parts, as texts of their own, take fifty times as much memory as it does."""
    ends = re.compile(separator or r"\s")
    start = 0
    while found := ends.search(text, start + PIECE):
        yield text[start : found.start()].split(separator)
        start = found.end()
    yield text[start:].split(separator)


def _check_size(rows: int, steps: int, channels: int) -> None:
    """Refuse a table before memory is taken for it."""
    if rows > MAX_ROWS:
        raise _ProblemError(f"it has more than {MAX_ROWS} rows; give fewer, in a file of their own")
    size = rows * steps * channels * 4
    if size > MAX_BYTES:
        raise _ProblemError(
            f"{rows} sequences of {channels} channels, padded to the {steps} steps of the longest, would take "
            f"{size / 2**30:.3g} GiB, more than {MAX_BYTES / 2**30:.3g} GiB; cut or take out the longest, or give fewer"
        )


def _find_columns(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where the wanted columns stand among `names`."""
    for column in wanted:
        if column not in names:
            near = difflib.get_close_matches(column, [name for name in names[:100] if len(name) < 100], 1, 0.5)
            hint = f"did you mean {shown(near[0])}? Name" if near else "name"
            there = listed([shown(name) for name in names[:10]], len(names), 10) or "none"
            raise _ProblemError(f"there is no column {shown(column)} among {there}; {hint} the right one")
        if names.count(column) > 1:
            raise _ProblemError(f"{names.count(column)} columns are called {shown(column)}; rename all but one of them")
    return [names.index(column) for column in wanted]


def _unreadable(error: Exception) -> _ProblemError:
    return _ProblemError(f"it cannot be read ({one_line(error)}); check or replace the file")


# CSV


def _read_csv(path: Path, columns: Sequence[str]) -> SequenceTable:
    rows = _Rows(path.name, "row {}")
    number = 0
    try:
        with _wide_fields(), TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="") as file:
            lines = _Lines(file, MAX_ROW)
            header: list[str] | None = None
            for record in csv.reader(lines, strict=True):
                number += 1  # here, so that an error of the reader's knows which record broke
                lines.left = MAX_ROW
                if not any(record):
                    continue
                if header is None:
                    header = _csv_header(record)
                    places = _find_columns(header, columns)
                elif len(record) != len(header):
                    what = f"it has {len(record)} fields and the header has {len(header)}"
                    rows.problem(number, what, 'put a sequence that contains commas in quotes: "1, 2, 3"')
                else:
                    rows.add_text(number, record[places[0]])
                    if len(columns) > 1:
                        rows.add_label(number, record[places[1]])
    except UnicodeDecodeError as error:
        with open_file(path) as damaged:
            line = next(k for k, text in enumerate(damaged, 1) if text.decode("utf-8", "ignore").encode() != text)
        raise _ProblemError(f"line {line} is not UTF-8; save it as UTF-8 (in a spreadsheet: “CSV UTF-8”)") from error
    except csv.Error as error:
        raise _ProblemError(f"row {number + 1}: {_csv_problem(error)}") from error
    except OSError as error:
        raise _unreadable(error) from error
    if header is None:
        raise _ProblemError(f"it is empty; give a file with a header ({', '.join(columns)}) and rows")
    return rows.table(labelled=len(columns) > 1)


def _csv_problem(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a field has more than {MAX_FIELD} characters; save long sequences as .npz"
    remedy = "save long sequences as .npz" if isinstance(error, _RowLimitError) else "check the quotes there"
    return f"{error}; {remedy}"


class _RowLimitError(csv.Error):
    """A row is too long to be read."""


@dataclass
class _Lines:
    """The lines of a text file, of which those of one row have no more than the characters that are left to it."""

    file: TextIOWrapper
    left: int

    def __iter__(self) -> Iterator[str]:
        while line := self.file.readline(self.left + 1):
            self.left -= len(line)
            if self.left < 0:
                raise _RowLimitError(f"it has more than {MAX_ROW} characters")
            yield line


def _csv_header(record: Sequence[str]) -> list[str]:
    header = [name.strip() for name in record]
    if len(header) > MAX_COLUMNS:
        raise _ProblemError(f"it has {len(header)} columns; put each sequence into one column")
    if len(header) == 1:
        for separator, called in ((";", "semicolons"), ("\t", "tabs")):
            if separator in header[0]:
                raise _ProblemError(f"its columns are separated by {called}; save it with commas")
    return header


@contextmanager
def _wide_fields() -> Iterator[None]:
    """Let fields be as long as MAX_FIELD; Python has one limit for all readers, which is put back."""
    before = csv.field_size_limit(MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


# Parquet


def _read_parquet(path: Path, columns: Sequence[str]) -> SequenceTable:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        remedy = "pip install 'reviver[data]', or save the file as .csv or .npz"
        raise _ProblemError(f"reading .parquet needs pyarrow; {remedy}") from error
    rows = _Rows(path.name, "row index {}")
    try:
        with open_file(path) as file, pq.ParquetFile(file, **PARQUET_LIMITS) as parquet:
            size = _check_parquet(file, parquet, columns)
            texts = [name for name in columns if _is_text(parquet.schema_arrow.field(name).type)]
        # A text that is repeated takes little in the file; it is to take no more in memory.
        with open_file(path) as file, pq.ParquetFile(file, read_dictionary=texts, **PARQUET_LIMITS) as parquet:
            first = 0
            for batch in parquet.iter_batches(size, columns=list(columns), use_threads=False):
                _add_sequences(rows, batch.column(columns[0]), first, pa)
                if len(columns) > 1:
                    _add_labels(rows, batch.column(columns[1]), first)
                first += len(batch)
    except _ProblemError:
        raise
    except Exception as error:  # pyarrow raises whatever a damaged file makes it stumble over
        raise _unreadable(error) from error
    return rows.table(labelled=len(columns) > 1)


def _check_parquet(file: BinaryIO, parquet: Any, columns: Sequence[str]) -> int:
    """Look at names, kinds and the sizes of all pages before any is read; return how many rows to read at a time."""
    import pyarrow.types as kinds

    schema = parquet.schema_arrow
    _find_columns(list(schema.names), columns)
    kind, *label_kinds = (schema.field(name).type for name in columns)
    is_numbers = _is_list(kind) and (kinds.is_integer(kind.value_type) or kinds.is_floating(kind.value_type))
    if not (_is_text(kind) or is_numbers):
        what = f"column {shown(columns[0])} holds {shown(str(kind))}"
        raise _ProblemError(f"{what}; give lists of numbers, or text such as '1 2 3'")
    for kind in label_kinds:
        if not (_is_text(kind) or kinds.is_integer(kind) or kinds.is_null(kind)):
            what = f"column {shown(columns[1])} holds {shown(str(kind))}"
            raise _ProblemError(f"{what}; give labels as text or whole numbers")
    count = int(parquet.metadata.num_rows)
    _check_size(count, 1, 1)
    leaves = [parquet.schema.column(place).path for place in range(len(parquet.schema))]
    wanted = {place for place, leaf in enumerate(leaves) if leaf in columns or leaf.split(".")[0] in columns}
    sizes = read_sizes(file, wanted)
    size = max(sizes.unpacked, 4 * sizes.numbers)
    if size > MAX_BYTES:
        raise _ProblemError(
            f"the columns {' and '.join(map(shown, columns))} take "
            f"{size / 2**30:.3g} GiB, more than {MAX_BYTES / 2**30:.3g} GiB; give fewer rows"
        )
    takes = max(sizes.unpacked, 8 * sizes.numbers)
    if takes > PARQUET_SMALL + PARQUET_RATIO * file.seek(0, 2):
        raise ValueError(f"its pages claim {takes} bytes, more than {PARQUET_RATIO} times its size")
    return max(1, min(PARQUET_ROWS, PARQUET_BYTES * count // max(takes, 1)))


def _is_text(kind: Any) -> bool:
    import pyarrow.types as kinds

    if kinds.is_dictionary(kind):
        kind = kind.value_type
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind))


def _is_list(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _add_sequences(rows: _Rows, column: Any, first: int, pa: Any) -> None:
    if not _is_list(column.type):
        for row, text in enumerate(_texts(column), first):
            rows.add_text(row, text or "")
        return
    lists = column.cast(pa.large_list(pa.float64()), safe=False)
    values = lists.flatten()  # the values of rows that are null are left out
    counts = np.diff(lists.offsets.to_numpy()) * ~lists.is_null().to_numpy(zero_copy_only=False)
    numbers = values.to_numpy(zero_copy_only=False)  # a null becomes NaN
    with np.errstate(all="ignore"):
        rows.numbers.frombytes(numbers.astype(np.float32).tobytes())
    for row, count in enumerate(counts.tolist(), first):
        rows.end(row, count, is_empty=count == 0)


def _add_labels(rows: _Rows, column: Any, first: int) -> None:
    for row, label in enumerate(_texts(column), first):
        rows.add_label(row, "" if label is None else str(label))


def _texts(column: Any) -> Iterator[Any]:
    """A column's values; of a dictionary only those in use are made, and a text that is repeated is held once."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        yield from column.to_pylist()
        return
    places = column.indices.to_pylist()
    used = sorted({place for place in places if place is not None})
    values = dict(zip(used, column.dictionary.take(pa.array(used, pa.int64())).to_pylist(), strict=True))
    yield from map(values.get, places)


# NumPy


def _read_npz(path: Path, labelled: bool) -> SequenceTable:
    names = npz_names(path, remedy=NPZ)
    for name in ("x", "y") if labelled else ("x",):
        if name not in names:
            there = listed([shown(one) for one in names[:10]], len(names), 10) or "none"
            raise _ProblemError(f"there is no array '{name}' among {there}; {NPZ}")
    raw = read_npz(path, "x", limit=MAX_BYTES, remedy=NPZ)
    if raw.ndim not in (2, 3) or raw.dtype.kind not in "biuf":
        raise _ProblemError(f"x is {_described(raw)}; {NPZ}")
    count, steps, channels = raw.shape if raw.ndim == 3 else (*raw.shape, 1)
    if 0 in raw.shape:
        raise _ProblemError(f"x has the shape {list(raw.shape)} and so holds no numbers; {NPZ}")
    _check_size(count, steps, channels)
    lengths = _npz_lengths(path, count, steps) if "lengths" in names else np.full(count, steps, dtype=np.int64)
    labels = _npz_labels(path, count) if labelled else None
    with np.errstate(all="ignore"):
        x = np.array(raw.reshape(count, steps, channels), dtype=np.float32, order="C")
    x[np.arange(steps) >= lengths[:, None]] = 0
    rows = _Rows(path.name, "x[{}]")
    for row in np.flatnonzero(~np.isfinite(x).all((1, 2))).tolist():
        step, channel = np.argwhere(~np.isfinite(x[row]))[0].tolist()
        where = f"x[{row}, {step}]" if raw.ndim == 2 else f"x[{row}, {step}, {channel}]"
        rows.problem(row, _not_finite(x[row, step, channel], where), FINITE)
    rows.check()
    return SequenceTable(
        torch.from_numpy(x), torch.from_numpy(lengths), labels, tuple(range(count)), rows.row_format, path.name
    )


def _npz_lengths(path: Path, count: int, steps: int) -> np.ndarray[Any, Any]:
    raw = read_npz(path, "lengths", limit=MAX_NPZ_SIDE, remedy=NPZ)
    if raw.shape != (count,) or raw.dtype.kind not in "iu":
        raise _ProblemError(f"lengths is {_described(raw)}; give whole numbers [{count}], one for each row of x")
    rows = _Rows(path.name, "lengths[{}]")
    for row in np.flatnonzero((raw < 1) | (raw > steps)).tolist():
        rows.problem(row, f"{raw[row]} steps", f"x has {steps} steps: give lengths from 1 to {steps}")
    rows.check()
    return raw.astype(np.int64)


def _npz_labels(path: Path, count: int) -> tuple[str, ...]:
    raw = read_npz(path, "y", limit=MAX_NPZ_SIDE, remedy=NPZ)
    if raw.shape != (count,) or raw.dtype.kind not in "iuUS":
        wanted = f"whole numbers or text [{count}], one for each row of x (for instance y.astype(int))"
        raise _ProblemError(f"y is {_described(raw)}; give {wanted}")
    rows = _Rows(path.name, "y[{}]")
    try:
        labels = raw.tolist()
    except Exception as error:  # NumPy may hold numbers that are no characters
        raise _ProblemError(f"y cannot be read as text ({error}); {NPZ}") from error
    for row, label in enumerate(labels):
        try:
            rows.add_label(row, label.decode() if isinstance(label, bytes) else str(label))
        except UnicodeDecodeError:
            rows.problem(row, f"{label[:20]!r} is not UTF-8", "save y as text, not as bytes")
    rows.check()
    return tuple(rows.labels)


def _described(raw: np.ndarray[Any, Any]) -> str:
    return f"{shown(str(raw.dtype))} of the shape {list(raw.shape)}"
