"""A table of labeled sequences of numbers, and its construction from the rows of a file.

Shapes: N sequences, T steps of the longest, I channels per step.
"""

import array
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reviver.text import short_repr

# Limits of files. These are not trusted, so each reader checks them before it allocates memory.
MAX_BYTES = 4 << 30
"""Maximum size of the padded table of numbers, and of the array `x` of an .npz file: 4 GiB."""
MAX_ROWS = 10_000_000
MAX_LABEL = 200
"""Maximum number of characters of a label."""
MAX_FIELD = 1 << 24
"""Maximum number of characters of a CSV field or a text of a Parquet file: about two million numbers."""
MAX_ROW = MAX_FIELD + (1 << 20)
"""Maximum number of characters of a CSV row, over all its columns and lines."""
MAX_COLUMNS = 10_000
"""Maximum number of columns of a CSV file."""
MAX_NPZ_SIDE = 1 << 30
"""Maximum size of the arrays `y` and `lengths` of an .npz file, in bytes."""

MAX_LISTED = 3
"""Maximum number of bad rows, unknown labels and the like that an error names; it counts the others."""
CHUNK_CHARACTERS = 1 << 16
"""Number of characters of a long text that are split at a time."""
NUMBERS_REMEDY = "give numbers separated by spaces or by commas, or take the row out"
FINITE_REMEDY = "give numbers within ±3.4e38, or take the row out"
LENGTH_REMEDY = "save long sequences as .npz"
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which a terminal would obey, and lone surrogates, which no file can hold."""


class FileError(Exception):
    """An error in a file, without the name of the file. `read_sequences` adds the name."""


@dataclass(frozen=True, eq=False)
class SequenceTable:
    """Sequences of a file, padded to the same length."""

    x: Tensor
    """Numbers, [N, T, I] float32, padded with 0."""
    lengths: Tensor
    """Number of steps of each sequence, from 1 to T, [N] int64."""
    labels: tuple[str, ...] | None
    """Label of each sequence; None if they were read without."""
    rows: tuple[int, ...]
    """Position of each sequence in the file."""
    row_format: str
    """Format of such a position in messages: `row {}` of a CSV file, counted as in a spreadsheet (the header is row 1),
    `row index {}` of a Parquet file, counted as in pandas (from 0), `x[{}]` of an .npz file."""
    name: str
    """Name of the file."""

    def __len__(self) -> int:
        return len(self.rows)

    def row_name(self, index: int) -> str:
        """Return the position of sequence `index` as messages give it."""
        return self.row_format.format(self.rows[index])


def join_listed(items: Sequence[str], count: int, limit: int = MAX_LISTED) -> str:
    """Return the first `limit` of `count` items with commas between, and the number of the others."""
    text = ", ".join(items[:limit])
    return f"{text}, and {count - limit} more" if count > limit else text


class TableBuilder:
    """A table under construction. It collects sequences, labels and errors, row by row.

    `table` raises the first few errors of rows together, so that a user can correct several at once. The formats are
    those of the position of a row and of a label in messages, see `SequenceTable.row_format`.
    """

    def __init__(self, name: str, row_format: str, label_format: str = "") -> None:
        self.name, self.row_format, self.label_format = name, row_format, label_format or row_format
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
        if len(text) > MAX_FIELD:
            self.add_error(row, f"the sequence has more than {MAX_FIELD} characters", LENGTH_REMEDY)
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
        elif len(label) > MAX_LABEL:
            problem = f"the label {short_repr(label)} has {len(label)} characters"
            remedy = f"give a label of at most {MAX_LABEL}, and check that the column is the right one"
        elif label not in self._known_labels and UNPRINTABLE.search(label):
            problem, remedy = f"the label {short_repr(label)} has characters that cannot be shown", "take them out"
        if problem:
            self.add_error(row, problem, remedy, self.label_format)
        else:
            self.labels.append(self._known_labels.setdefault(label, label))

    def padded_table(self) -> SequenceTable:
        """Return a table of the one-channel sequences that were added; raise as `table` does."""
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
        labels = tuple(self.labels) or None
        return SequenceTable(
            torch.from_numpy(x), torch.from_numpy(lengths), labels, tuple(self.rows), self.row_format, self.name
        )


def check_size(rows: int, steps: int, channels: int) -> None:
    """Raise `FileError` if a table would have more than `MAX_ROWS` rows or `MAX_BYTES` bytes."""
    if rows > MAX_ROWS:
        raise FileError(f"it has more than {MAX_ROWS} rows; give fewer, in a file of their own")
    size = rows * steps * channels * 4
    if size > MAX_BYTES:
        raise FileError(
            f"{rows} sequences of {channels} channels, padded to the {steps} steps of the longest, would take "
            f"{size / 2**30:.3g} GiB, more than {MAX_BYTES / 2**30:.3g} GiB; cut or take out the longest, or give "
            "fewer"
        )


def parse_numbers(text: str) -> NDArray[np.float64]:
    """Return the numbers of a text that are separated by commas or, without commas, by whitespace.

    Raises:
        ValueError: if a part is not a number, or empty. The message names the part and its step, counted from 1.
    """
    with suppress(ValueError):
        if "_" not in text:  # float() would ignore it
            return np.fromiter(map(float, _split(text)), np.float64)
    for step, part in enumerate(map(str.strip, _split(text)), 1):
        if not part:
            raise ValueError(f"there is nothing at step {step}, between two commas")
        try:
            float(part.replace("_", "?"))
        except ValueError as error:
            raise ValueError(f"{short_repr(part)} at step {step} is no number") from error
    raise AssertionError(text)


def _split(text: str) -> Iterable[str]:
    """Return the parts of a text, chunk by chunk, since a list of all takes fifty times the memory of the text."""

    def chunks(separator: str | None, ends: re.Pattern[str]) -> Iterator[list[str]]:
        start = 0
        while found := ends.search(text, start + CHUNK_CHARACTERS):
            yield text[start : found.start()].split(separator)
            start = found.end()
        yield text[start:].split(separator)

    separator = "," if "," in text else None
    return chain.from_iterable(chunks(separator, re.compile(separator or r"\s")))
