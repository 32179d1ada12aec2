"""Construction of a `SequenceTable` from the rows of a file, with the checks that all file formats share.

Shapes: N sequences, T steps of the longest, I channels per step.
"""

import array
import difflib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reviver.data.sequences import limits
from reviver.data.sequences.numbers import parse_numbers
from reviver.data.sequences.table import MAX_LISTED, SequenceTable, join_listed
from reviver.text import one_line, short_repr

NUMBERS_REMEDY = "give numbers separated by spaces or by commas, or take the row out"
FINITE_REMEDY = "give numbers within ±3.4e38, or take the row out"
LENGTH_REMEDY = "save long sequences as .npz"
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which a terminal would obey, and lone surrogates, which no file can hold."""


class FileError(Exception):
    """An error in a file, without the name of the file. `read_sequences` adds the name."""


class MissingColumnError(FileError):
    """A file lacks a wanted column.

    Attributes:
        column: the column.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class TableBuilder:
    """A table under construction. It collects sequences, labels and errors, row by row.

    `table` raises the first few errors of rows together, so that a user can correct several at once.

    Args:
        name: name of the file.
        row_format: format of the position of a row in messages, see `SequenceTable.row_format`.
        label_format: format of the position of a label; `row_format` if empty.
    """

    def __init__(self, name: str, row_format: str, label_format: str = "") -> None:
        self.name = name
        self.row_format = row_format
        self.label_format = label_format or row_format
        self.numbers = array.array("f")  # of all sequences, one after another
        self.counts = array.array("q")  # steps of each sequence
        self.rows = array.array("q")  # position of each sequence in the file
        self.labels: list[str] = []
        self.max_count = 0
        self._known_labels: dict[str, str] = {}
        self._errors: list[str] = []
        self._error_count = 0
        self._remedy = ""

    def add_error(self, row: int, problem: str, remedy: str, row_format: str = "") -> None:
        """Record an error of a row. The message of `table` has the remedy of the first one."""
        self._remedy = self._remedy or remedy
        self._error_count += 1
        if len(self._errors) < MAX_LISTED:
            self._errors.append(f"{(row_format or self.row_format).format(row)}: {problem}")

    def add_text(self, row: int, text: str) -> None:
        """Add the sequence of `row` from a text with numbers, in brackets or not."""
        if len(text) > limits.MAX_FIELD:
            self.add_error(row, f"the sequence has more than {limits.MAX_FIELD} characters", LENGTH_REMEDY)
            text = "0"
        text = text.strip()
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1].strip()
        numbers = np.empty(0)
        try:
            numbers = parse_numbers(text)
        except ValueError as error:
            if text:
                self.add_error(row, str(error), NUMBERS_REMEDY)
        self.add_numbers(numbers)
        self.end_sequence(row, len(numbers), is_empty=not text)

    def add_numbers(self, numbers: NDArray[Any]) -> None:
        """Append numbers of one or several sequences."""
        with np.errstate(all="ignore"):  # overflow becomes inf, which `table` reports
            self.numbers.frombytes(numbers.astype(np.float32).tobytes())

    def end_sequence(self, row: int, count: int, *, is_empty: bool) -> None:
        """Record that the sequence of `row` has the next `count` numbers."""
        if is_empty:
            self.add_error(row, "the sequence is empty", NUMBERS_REMEDY)
        self.counts.append(count)
        self.rows.append(row)
        self.max_count = max(self.max_count, count)
        check_size(len(self.rows), self.max_count, 1)

    def add_label(self, row: int, label: str) -> None:
        """Add the label of `row`. Equal labels share one string."""
        label = label.strip()
        problem = remedy = ""
        if not label:
            problem, remedy = "the label is missing", "give one, or take the row out"
        elif len(label) > limits.MAX_LABEL:
            problem = f"the label {short_repr(label)} has {len(label)} characters"
            remedy = f"give a label of at most {limits.MAX_LABEL}, and check that the column is the right one"
        elif label not in self._known_labels and UNPRINTABLE.search(label):
            problem, remedy = f"the label {short_repr(label)} has characters that cannot be shown", "take them out"
        if problem:
            self.add_error(row, problem, remedy, self.label_format)
        else:
            self.labels.append(self._known_labels.setdefault(label, label))

    def padded_table(self) -> SequenceTable:
        """Return a table of the one-channel sequences that were added.

        Raises:
            FileError: see `table`.
        """
        counts = np.array(self.counts)
        x = np.zeros((len(counts), self.max_count), dtype=np.float32)
        x[np.arange(self.max_count) < counts[:, None]] = np.frombuffer(self.numbers, dtype=np.float32)
        return self.table(x[:, :, None], counts)

    def table(self, x: NDArray[np.float32], lengths: NDArray[np.int64]) -> SequenceTable:
        """Return a table of padded sequences x [N, T, I], their lengths [N] and the labels that were added.

        Raises:
            FileError: if a row has an error, or there are no rows.
        """
        infinite = np.flatnonzero(~np.isfinite(x).all((1, 2)))
        for index in infinite[:MAX_LISTED].tolist():
            step, channel = np.argwhere(~np.isfinite(x[index]))[0].tolist()
            position = f"step {step + 1}" + (f" of channel {channel + 1}" if x.shape[2] > 1 else "")
            is_nan = np.isnan(x[index, step, channel])
            problem = "not a number (NaN)" if is_nan else "infinite, or too large for float32"
            self.add_error(self.rows[index], f"{position} is {problem}", FINITE_REMEDY)
        self._error_count += len(infinite[MAX_LISTED:])
        if self._error_count:
            raise FileError(f"{join_listed(self._errors, self._error_count)}; {self._remedy}")
        if not self.rows:
            raise FileError("it holds no rows; give a file with sequences")
        return SequenceTable(
            x=torch.from_numpy(x),
            lengths=torch.from_numpy(lengths),
            labels=tuple(self.labels) or None,
            rows=tuple(self.rows),
            row_format=self.row_format,
            name=self.name,
        )


def check_size(rows: int, steps: int, channels: int) -> None:
    """Check the size of a table before memory is allocated.

    Raises:
        FileError: if it has more than `limits.MAX_ROWS` rows or `limits.MAX_BYTES` bytes.
    """
    if rows > limits.MAX_ROWS:
        raise FileError(f"it has more than {limits.MAX_ROWS} rows; give fewer, in a file of their own")
    size = rows * steps * channels * 4
    if size > limits.MAX_BYTES:
        raise FileError(
            f"{rows} sequences of {channels} channels, padded to the {steps} steps of the longest, would take "
            f"{format_gib(size)}, more than {format_gib(limits.MAX_BYTES)}; cut or take out the longest, or give fewer"
        )


def format_gib(size: int) -> str:
    """Return a number of bytes in GiB."""
    return f"{size / 2**30:.3g} GiB"


def find_columns(
    names: Sequence[str], wanted: Sequence[str], kind: str = "column", remedy: str = "name the right one"
) -> list[int]:
    """Return the indices of the wanted columns, or arrays, among `names`.

    Raises:
        MissingColumnError: if one is missing.
        FileError: if there are several of the same name.
    """
    for column in wanted:
        if column not in names:
            near = difflib.get_close_matches(column, [name for name in names[:100] if len(name) < 100], 1, 0.5)
            hint = f" (did you mean {short_repr(near[0])}?)" if near else ""
            found = join_listed([short_repr(name) for name in names[:10]], len(names), 10) or "none"
            raise MissingColumnError(f"there is no {kind} {short_repr(column)} among {found}{hint}; {remedy}", column)
        if names.count(column) > 1:
            raise FileError(
                f"{names.count(column)} columns are called {short_repr(column)}; rename all but one of them"
            )
    return [names.index(column) for column in wanted]


def unreadable(error: Exception) -> FileError:
    """Return the error of a file that cannot be read."""
    return FileError(f"it cannot be read ({one_line(error)}); check or replace the file")
