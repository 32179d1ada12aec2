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
from contextlib import ExitStack, suppress
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from reviver.errors import ConfigError, DataError
from reviver.io.atomic import atomic_write
from reviver.io.files import open_file
from reviver.io.npz import npz_names, read_npz
from reviver.io.parquet import read_page_sizes
from reviver.lstm.tasks.custom.table import SHOWN, SequenceTable, listed
from reviver.text import one_line, short_repr

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
    "save plain arrays with numpy.savez: x [N, T] or [N, T, I] padded to one length, y [N] integers or text, "
    "and lengths [N] if the sequences differ in length"
)
FINITE = "give numbers within ±3.4e38, or take the row out"
LONG = "save long sequences as .npz"
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
    `.parquet` file holds it in the same way or as a list of numbers. Labels are text or integers. An
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
        raise ConfigError(
            f"label_column: {short_repr(label_column)} is the column of sequences too; name another column"
        )
    columns = (sequence_column, label_column) if labelled else (sequence_column,)
    read = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}.get(path.suffix.lower())
    if read is None or not path.is_file():
        lack = "is of an unknown kind" if path.is_file() else "is no file" if path.exists() else "does not exist"
        raise DataError(f"{path}: {lack}; give a {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]} file")
    try:
        return read(path, columns)
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
    cells = [f"'{name}" if FORMULA_START.match(name) and not PLAIN_NUMBER.fullmatch(name) else name for name in names]
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["row", "class", "probability", *(f"p({name})" for name in names)])
        for index, row in enumerate(table.rows):
            texts = numbers[index].numpy().astype(str).tolist()  # as many digits as give the float32 back
            writer.writerow([row, cells[best[index]], texts[best[index]], *texts])


# What all kinds of file share


class _ProblemError(Exception):
    """What is wrong with a file, without its name."""


class _Rows:
    """Sequences and their labels as they are read, one after the other; bad rows are noted.

    Only the first few bad rows are spelled out, with the remedy of the first.
    """

    def __init__(self, name: str, row_format: str, label_format: str = "") -> None:
        self.name = name
        self.row_format = row_format
        self.label_format = label_format or row_format
        self.numbers = array.array("f")
        self.counts = array.array("q")
        self.rows = array.array("q")
        self.labels: list[str] = []
        self.longest = 0
        self._known: dict[str, str] = {}
        self._problems: list[str] = []
        self._problem_count = 0
        self._remedy = ""

    def problem(self, row: int, what: str, remedy: str, row_format: str = "") -> None:
        self._remedy = self._remedy or remedy
        self._problem_count += 1
        if len(self._problems) < SHOWN:
            self._problems.append(f"{(row_format or self.row_format).format(row)}: {what}")

    def add_text(self, row: int, text: str) -> None:
        """Add the numbers of one field."""
        if len(text) > MAX_FIELD:
            self.problem(row, f"the sequence has more than {MAX_FIELD} characters", LONG)
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
        self.add_numbers(numbers)
        self.end(row, len(numbers), is_empty=not text)

    def add_numbers(self, numbers: np.ndarray[Any, Any]) -> None:
        with np.errstate(all="ignore"):  # overflow becomes infinite, which `table` reports
            self.numbers.frombytes(numbers.astype(np.float32).tobytes())

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
        what = remedy = ""
        if not label:
            what, remedy = "the label is missing", "give one, or take the row out"
        elif len(label) > MAX_LABEL:
            what = f"the label {short_repr(label)} has {len(label)} characters"
            remedy = f"give a label of at most {MAX_LABEL}, and check that the column is the right one"
        elif label not in self._known and NOT_SHOWN.search(label):
            what, remedy = f"the label {short_repr(label)} has characters that cannot be shown", "take them out"
        if what:
            self.problem(row, what, remedy, self.label_format)
        else:
            self.labels.append(self._known.setdefault(label, label))

    def pad(self) -> SequenceTable:
        """Make a table of sequences of one channel that were added one after the other."""
        counts = np.array(self.counts)
        x = np.zeros((len(counts), self.longest), dtype=np.float32)
        x[np.arange(self.longest) < counts[:, None]] = np.frombuffer(self.numbers, dtype=np.float32)
        return self.table(x[:, :, None], counts)

    def table(self, x: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> SequenceTable:
        """Make a table of padded sequences x [N, T, I], their lengths [N] and the labels that were added.

        Raises:
            _ProblemError: naming the first rows that are bad.
        """
        bad = np.flatnonzero(~np.isfinite(x).all((1, 2)))
        for index in bad[:SHOWN].tolist():
            step, channel = np.argwhere(~np.isfinite(x[index]))[0].tolist()
            where = f"step {step + 1}" + (f" of channel {channel + 1}" if x.shape[2] > 1 else "")
            is_nan = np.isnan(x[index, step, channel])
            what = "not a number (NaN)" if is_nan else "infinite, or too large for float32"
            self.problem(self.rows[index], f"{where} is {what}", FINITE)
        self._problem_count += len(bad[SHOWN:])
        if self._problem_count:
            raise _ProblemError(f"{listed(self._problems, self._problem_count)}; {self._remedy}")
        if not self.rows:
            raise _ProblemError("it holds no rows; give a file with sequences")
        tensors = torch.from_numpy(x), torch.from_numpy(lengths)
        return SequenceTable(*tensors, tuple(self.labels) or None, tuple(self.rows), self.row_format, self.name)


def _first_bad_number(text: str) -> str:
    """Why a text is no list of numbers."""
    for step, part in enumerate(_parts(text), 1):
        if not part.strip():
            return f"there is nothing at step {step}, between two commas"
        with suppress(ValueError):
            if "_" not in part:
                float(part)
                continue
        return f"{short_repr(part.strip())} at step {step} is no number"
    return "the numbers cannot be read"


def _parts(text: str) -> Iterable[str]:
    """The parts of a text between commas if it has any, else between blanks."""
    return chain.from_iterable(_split_pieces(text, "," if "," in text else None))


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
            f"{_gib(size)}, more than {_gib(MAX_BYTES)}; cut or take out the longest, or give fewer"
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"


def _find_columns(
    names: Sequence[str], wanted: Sequence[str], kind: str = "column", remedy: str = "name the right one"
) -> list[int]:
    """The indices of the wanted columns, or arrays, among `names`."""
    for column in wanted:
        if column not in names:
            near = difflib.get_close_matches(column, [name for name in names[:100] if len(name) < 100], 1, 0.5)
            hint = f" (did you mean {short_repr(near[0])}?)" if near else ""
            there = listed([short_repr(name) for name in names[:10]], len(names), 10) or "none"
            raise _ProblemError(f"there is no {kind} {short_repr(column)} among {there}{hint}; {remedy}")
        if names.count(column) > 1:
            raise _ProblemError(
                f"{names.count(column)} columns are called {short_repr(column)}; rename all but one of them"
            )
    return [names.index(column) for column in wanted]


def _unreadable(error: Exception) -> _ProblemError:
    return _ProblemError(f"it cannot be read ({one_line(error)}); check or replace the file")


# CSV


def _read_csv(path: Path, columns: Sequence[str]) -> SequenceTable:
    rows = _Rows(path.name, "row {}")
    header: list[str] = []
    number, left = 0, MAX_ROW

    def lines() -> Iterator[str]:
        """The lines of the file; those of one row have no more than the characters that are left to it."""
        nonlocal left
        while line := file.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise csv.Error(f"it has more than {MAX_ROW} characters; {LONG}")
            yield line

    try:
        with ExitStack() as stack:
            stack.callback(csv.field_size_limit, csv.field_size_limit(MAX_FIELD))  # Python has one for all readers
            file = stack.enter_context(TextIOWrapper(open_file(path), encoding="utf-8-sig", newline=""))
            for record in csv.reader(lines(), strict=True):
                number += 1  # here, so that an error of the reader's knows which record broke
                left = MAX_ROW
                if not any(record):
                    continue
                if not header:
                    header = _csv_header(record)
                    places = _find_columns(header, columns)
                elif len(record) != len(header):
                    what = f"it has {len(record)} fields and the header has {len(header)}"
                    rows.problem(number, what, 'put a sequence that contains commas in quotes: "1, 2, 3"')
                else:
                    rows.add_text(number, record[places[0]])
                    for place in places[1:]:
                        rows.add_label(number, record[place])
    except UnicodeDecodeError as error:
        with open_file(path) as damaged:
            line = next(k for k, text in enumerate(damaged, 1) if text.decode("utf-8", "ignore").encode() != text)
        raise _ProblemError(f"line {line} is not UTF-8; save it as UTF-8 (in a spreadsheet: “CSV UTF-8”)") from error
    except csv.Error as error:
        problem = str(error)
        if "field limit" in problem:
            problem = f"a field has more than {MAX_FIELD} characters; {LONG}"
        elif LONG not in problem:
            problem += "; check the quotes there"
        raise _ProblemError(f"row {number + 1}: {problem}") from error
    except OSError as error:
        raise _unreadable(error) from error
    if not header:
        raise _ProblemError(f"it is empty; give a file with a header ({', '.join(columns)}) and rows")
    return rows.pad()


def _csv_header(record: Sequence[str]) -> list[str]:
    header = [name.strip() for name in record]
    if len(header) > MAX_COLUMNS:
        raise _ProblemError(f"it has {len(header)} columns; put each sequence into one column")
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise _ProblemError(f"its columns are separated by {called}; save it with commas")
    return header


# Parquet


def _read_parquet(path: Path, columns: Sequence[str]) -> SequenceTable:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        remedy = "pip install 'reviver[data]', or save the file as .csv or .npz"
        raise _ProblemError(f"reading .parquet needs pyarrow; {remedy}") from error
    rows = _Rows(path.name, "row index {}")
    try:
        with open_file(path) as file, pq.ParquetFile(file, **PARQUET_LIMITS) as parquet:
            size, texts = _check_parquet(file, parquet, columns)
        # A text that is repeated takes little in the file; it is to take no more in memory.
        with open_file(path) as file, pq.ParquetFile(file, read_dictionary=texts, **PARQUET_LIMITS) as parquet:
            first = 0
            for batch in parquet.iter_batches(size, columns=list(columns), use_threads=False):
                if columns[0] in texts:
                    for row, text in enumerate(_values(batch.column(columns[0])), first):
                        rows.add_text(row, text or "")
                else:
                    _add_lists(rows, batch.column(columns[0]), first)
                for name in columns[1:]:
                    for row, label in enumerate(_values(batch.column(name)), first):
                        rows.add_label(row, "" if label is None else str(label))
                first += len(batch)
    except _ProblemError:
        raise
    except Exception as error:  # pyarrow raises whatever a damaged file makes it stumble over
        raise _unreadable(error) from error
    return rows.pad()


def _check_parquet(file: BinaryIO, parquet: Any, columns: Sequence[str]) -> tuple[int, list[str]]:
    """Look at names, types and the sizes of all pages before any is read.

    Returns how many rows to read at a time, and which columns hold text.
    """
    import pyarrow.types as kinds

    schema = parquet.schema_arrow
    _find_columns(list(schema.names), columns)
    texts: list[str] = []
    for name in columns:
        kind, wanted = schema.field(name).type, ""
        inner = kind.value_type if kinds.is_dictionary(kind) else kind
        if kinds.is_string(inner) or kinds.is_large_string(inner):
            texts.append(name)
        elif name == columns[0]:
            is_list = kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)
            if not is_list or not (kinds.is_integer(kind.value_type) or kinds.is_floating(kind.value_type)):
                wanted = "lists of numbers, or text such as '1 2 3'"
        elif not (kinds.is_integer(kind) or kinds.is_null(kind)):
            wanted = "labels as text or integers"
        if wanted:
            raise _ProblemError(f"column {short_repr(name)} holds {short_repr(str(kind))}; give {wanted}")
    count = int(parquet.metadata.num_rows)
    _check_size(count, 1, 1)
    leaves = [parquet.schema.column(place).path for place in range(len(parquet.schema))]
    places = {place for place, leaf in enumerate(leaves) if leaf in columns or leaf.split(".")[0] in columns}
    sizes = read_page_sizes(file, places)
    size = max(sizes.uncompressed_bytes, 4 * sizes.num_values)
    if size > MAX_BYTES:
        called = " and ".join(map(short_repr, columns))
        raise _ProblemError(f"the columns {called} take {_gib(size)}, more than {_gib(MAX_BYTES)}; give fewer rows")
    takes = max(sizes.uncompressed_bytes, 8 * sizes.num_values)
    if takes > PARQUET_SMALL + PARQUET_RATIO * file.seek(0, 2):
        raise ValueError(f"its pages claim {takes} bytes, more than {PARQUET_RATIO} times its size")
    return max(1, min(PARQUET_ROWS, PARQUET_BYTES * count // max(takes, 1))), texts


def _add_lists(rows: _Rows, column: Any, first: int) -> None:
    import pyarrow as pa

    lists = column.cast(pa.large_list(pa.float64()), safe=False)
    rows.add_numbers(lists.flatten().to_numpy(zero_copy_only=False))  # without null rows; a null number becomes NaN
    counts = np.diff(lists.offsets.to_numpy()) * ~lists.is_null().to_numpy(zero_copy_only=False)
    for row, count in enumerate(counts.tolist(), first):
        rows.end(row, count, is_empty=count == 0)


def _values(column: Any) -> Iterable[Any]:
    """A column's values; of a dictionary only those in use are made, and a text that is repeated is held once."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    places = column.indices.to_pylist()
    used = sorted({place for place in places if place is not None})
    values = column.dictionary.take(pa.array(used, pa.int64())).to_pylist()
    return map(dict(zip(used, values, strict=True)).get, places)


# NumPy


def _read_npz(path: Path, columns: Sequence[str]) -> SequenceTable:
    names = npz_names(path, remedy=NPZ)
    _find_columns(names, ("x", "y")[: len(columns)], "array", NPZ)
    raw = read_npz(path, "x", max_bytes=MAX_BYTES, remedy=NPZ)
    if raw.ndim not in (2, 3) or raw.dtype.kind not in "biuf":
        raise _ProblemError(f"x is {short_repr(str(raw.dtype))} of the shape {list(raw.shape)}; {NPZ}")
    if 0 in raw.shape:
        raise _ProblemError(f"x has the shape {list(raw.shape)} and so holds no numbers; {NPZ}")
    raw = raw.reshape(*raw.shape[:2], -1)
    count, steps, channels = raw.shape
    _check_size(count, steps, channels)
    rows = _Rows(path.name, "x[{}]", "y[{}]")
    rows.rows.extend(range(count))
    lengths = np.full(count, steps, dtype=np.int64)
    if "lengths" in names:
        claimed = _read_side(path, "lengths", count, "iu", "integers")
        for row in np.flatnonzero((claimed < 1) | (claimed > steps)).tolist():
            remedy = f"x has {steps} steps: give lengths from 1 to {steps}"
            rows.problem(row, f"{claimed[row]} steps", remedy, "lengths[{}]")
        lengths = claimed.astype(np.int64)
    if len(columns) > 1:
        y = _read_side(path, "y", count, "iuUS", "integers or text, such as y.astype(int)")
        try:
            labels = y.tolist()
        except Exception as error:  # NumPy may hold numbers that are no characters
            raise _ProblemError(f"y cannot be read as text ({error}); {NPZ}") from error
        for row, label in enumerate(labels):
            try:
                rows.add_label(row, label.decode() if isinstance(label, bytes) else str(label))
            except UnicodeDecodeError:
                rows.problem(row, f"{label[:20]!r} is not UTF-8", "save y as text, not as bytes", "y[{}]")
    with np.errstate(all="ignore"):
        x = np.array(raw, dtype=np.float32, order="C")
    x[np.arange(steps) >= lengths[:, None]] = 0
    return rows.table(x, lengths)


def _read_side(path: Path, name: str, count: int, kinds: str, wanted: str) -> np.ndarray[Any, Any]:
    """The array `name` [count], whose dtype must be one of `kinds`."""
    raw = read_npz(path, name, max_bytes=MAX_NPZ_SIDE, remedy=NPZ)
    if raw.shape != (count,) or raw.dtype.kind not in kinds:
        found = f"{short_repr(str(raw.dtype))} of the shape {list(raw.shape)}"
        raise _ProblemError(f"{name} is {found}; give [{count}] {wanted}, one for each row of x")
    return raw
