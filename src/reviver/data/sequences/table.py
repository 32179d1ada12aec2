"""A table of labeled sequences of numbers, its construction from the rows of a file, and predictions for it.

Shapes: N sequences, T steps of the longest, I channels per step, C classes.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reviver.errors import DataError
from reviver.files.atomic import atomic_write
from reviver.text import short_repr

MAX_LISTED = 3
"""Maximum number of bad rows, unknown labels and the like that an error names; it counts the others."""
NUMBERS_REMEDY = "give numbers separated by spaces or by commas, or take the row out"
FINITE_REMEDY = "give numbers within ±3.4e38, or take the row out"
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which a terminal would obey, and lone surrogates, which no file can hold."""
FORMULA_START = re.compile(r"['=+\-@＝＋－＠\t\r\n]")
"""First character of a cell that a spreadsheet takes for a formula, and the apostrophe that escapes it."""
PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


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
    """A table under construction: sequences, labels and errors, row by row, of which `table` raises the first few together.

    The formats are those of the position of a row and of a label in messages, see `SequenceTable.row_format`.
    """

    def __init__(self, path: Path, row_format: str, label_format: str = "") -> None:
        self.path, self.row_format, self.label_format = path, row_format, label_format or row_format
        self.sequences: list[NDArray[np.float32]] = []
        self.rows: list[int] = []
        self.labels: list[str] = []
        self._errors: list[str] = []
        self._remedy = ""

    def add_error(self, row: int, problem: str, remedy: str, row_format: str = "") -> None:
        """Record an error of a row. The message of `table` has the remedy of the first one."""
        self._remedy = self._remedy or remedy
        self._errors.append(f"{(row_format or self.row_format).format(row)}: {problem}")

    def add_text(self, row: int, text: str) -> None:
        """Add the sequence of `row` from a text with numbers, in brackets or not."""
        text = text.strip()
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1].strip()
        try:
            self.add_numbers(row, parse_numbers(text) if text else [])
        except ValueError as error:
            self.add_error(row, str(error), NUMBERS_REMEDY)

    def add_numbers(self, row: int, numbers: Any) -> None:
        """Add the sequence of `row`."""
        if len(numbers) == 0:
            self.add_error(row, "the sequence is empty", NUMBERS_REMEDY)
        with np.errstate(all="ignore"):  # overflow becomes inf, which `table` reports
            self.sequences.append(np.asarray(numbers).astype(np.float32))
        self.rows.append(row)

    def add_label(self, row: int, label: str) -> None:
        """Add the label of `row`."""
        label = label.strip()
        problem = remedy = ""
        if not label:
            problem, remedy = "the label is missing", "give one, or take the row out"
        elif UNPRINTABLE.search(label):
            problem, remedy = f"the label {short_repr(label)} has characters that cannot be shown", "take them out"
        if problem:
            self.add_error(row, problem, remedy, self.label_format)
        self.labels.append(label)

    def padded_table(self) -> SequenceTable:
        """Return a table of the one-channel sequences that were added; raise as `table` does."""
        lengths = np.array([len(sequence) for sequence in self.sequences], dtype=np.int64)
        x = np.zeros((len(lengths), max(lengths, default=0)), dtype=np.float32)
        for row, sequence in zip(x, self.sequences, strict=True):
            row[: len(sequence)] = sequence
        return self.table(x[:, :, None], lengths)

    def table(self, x: NDArray[np.float32], lengths: NDArray[np.int64]) -> SequenceTable:
        """Return a table of padded sequences x [N, T, I], their lengths [N] and the labels; DataError if a row has an error."""
        for index in np.flatnonzero(~np.isfinite(x).all((1, 2))).tolist():
            step, channel = np.argwhere(~np.isfinite(x[index]))[0].tolist()
            position = f"step {step + 1}" + (f" of channel {channel + 1}" if x.shape[2] > 1 else "")
            is_nan = np.isnan(x[index, step, channel])
            problem = "not a number (NaN)" if is_nan else "infinite, or too large for float32"
            self.add_error(self.rows[index], f"{position} is {problem}", FINITE_REMEDY)
        if self._errors:
            raise DataError(f"{self.path}: {join_listed(self._errors, len(self._errors))}; {self._remedy}")
        if not self.rows:
            raise DataError(f"{self.path}: it holds no rows; give a file with sequences")
        rows, labels = tuple(self.rows), tuple(self.labels) or None
        return SequenceTable(
            torch.from_numpy(x), torch.from_numpy(lengths), labels, rows, self.row_format, self.path.name
        )


def parse_numbers(text: str) -> list[float]:
    """Return the numbers of a text that are separated by commas or, without commas, by whitespace; ValueError names a wrong one."""
    numbers = []
    for step, part in enumerate(text.split("," if "," in text else None), 1):
        try:
            numbers.append(float(part.replace("_", "?")))  # float() would ignore it
        except ValueError as error:
            found = f"{short_repr(part.strip())} at step {step} is not a number"
            raise ValueError(
                found if part.strip() else f"there is nothing at step {step}, between two commas"
            ) from error
    return numbers


def write_predictions(path: Path, table: SequenceTable, classes: Sequence[str], probabilities: Tensor) -> None:
    """Write the row, the most probable class, its probability and all probabilities [N, C] of each sequence, atomically.

    A spreadsheet executes a cell that begins with =, +, - or @ as a formula. Therefore an apostrophe precedes a class
    that begins with one of these and is not a plain number, or with an apostrophe: removing one restores every class.
    """
    assert probabilities.shape == (len(table), len(classes))
    values = probabilities.detach().cpu().float()
    predicted = values.argmax(1).tolist()
    is_formula = [FORMULA_START.match(name) and not PLAIN_NUMBER.fullmatch(name) for name in classes]
    cells = [f"'{name}" if escaped else name for name, escaped in zip(classes, is_formula, strict=True)]
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["row", "class", "probability", *(f"p({name})" for name in classes)])
        for index, row in enumerate(table.rows):
            texts = values[index].numpy().astype(str).tolist()  # enough digits to restore the float32
            writer.writerow([row, cells[predicted[index]], texts[predicted[index]], *texts])
