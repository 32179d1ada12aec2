"""A table of labeled sequences of numbers, its construction from the rows of a file, and predictions for it.

Shapes: N sequences, T steps of the longest, I channels per step, C classes.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
    """Sequences of a file or folder, padded to the same length."""

    x: Tensor
    """Numbers, [N, T, I] float32, padded with 0; of a folder as they are there."""
    lengths: Tensor
    """Number of steps of each sequence, from 1 to T, [N] int64."""
    labels: tuple[str, ...] | None
    """Label of each sequence; None if they were read without."""
    rows: Sequence[int]
    """Position of each sequence in the file."""
    row_format: str
    """Format of such a position in messages: `row {}` of a CSV file, counted as in a spreadsheet (the header is row 1),
    `row index {}` of a Parquet file, counted as in pandas (from 0), `x[{}]` of arrays."""
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


class RowProblem(NamedTuple):
    """What is wrong with a field of a row."""

    problem: str
    remedy: str
    place: str = ""
    """Format of the position in the message; empty: that of the field."""


def build_table(path: Path, rows: Iterable[Sequence[Any]], formats: Sequence[str], min_steps: int = 0) -> SequenceTable:
    """Return the table of rows: the position in the file, the sequence and, if they are read, the label, or a `RowProblem`.

    A sequence is text, or numbers [T] or [T, I]. The `formats` are those of the position of a sequence and of a label in
    messages, see `SequenceTable.row_format`; `min_steps` is the least T of the table.

    Raises:
        DataError: with the first few errors, so that a user can correct several at once; or if there are no rows.
    """
    columns: tuple[list[Any], list[Any]] = ([], [])
    positions, errors, first_remedy = [], [], ""
    with np.errstate(all="ignore"):  # overflow becomes inf, which is an error below
        for position, *fields in rows:
            positions.append(position)
            for field, read, column, place in zip(fields, (read_numbers, read_label), columns, formats, strict=False):
                found = field if isinstance(field, RowProblem) else read(field)
                if isinstance(found, RowProblem):
                    errors.append(f"{(found.place or place).format(position)}: {found.problem}")
                    first_remedy = first_remedy or found.remedy
                    found = np.zeros((1, 1), np.float32)
                column.append(found)
    if not positions:
        raise DataError(f"{path}: it holds no rows; give a file with sequences")
    sequences, labels = columns
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    channels = max(sequence.shape[1] for sequence in sequences)
    x = np.zeros((len(lengths), max(min_steps, int(lengths.max())), channels), np.float32)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    for index in np.flatnonzero(~np.isfinite(x).all((1, 2))).tolist():
        step, channel = np.argwhere(~np.isfinite(x[index]))[0].tolist()
        place = f"step {step + 1}" + (f" of channel {channel + 1}" if channels > 1 else "")
        problem = "not a number (NaN)" if np.isnan(x[index, step, channel]) else "infinite, or too large for float32"
        errors.append(f"{formats[0].format(positions[index])}: {place} is {problem}")
        first_remedy = first_remedy or FINITE_REMEDY
    if errors:
        raise DataError(f"{path}: {join_listed(errors, len(errors))}; {first_remedy}")
    return SequenceTable(torch.from_numpy(x), lengths, tuple(labels) or None, tuple(positions), formats[0], path.name)


def read_numbers(field: Any) -> NDArray[np.float32] | RowProblem:
    """Return the sequence of a row, [T, I]: text, in brackets or not, is separated by commas, or without any by whitespace."""
    numbers = [] if field is None else field
    if isinstance(field, str):
        text = field.strip()
        text = text[1:-1].strip() if text.startswith("[") and text.endswith("]") else text
        numbers = []
        for step, part in enumerate(text.split("," if "," in text else None), 1):
            try:
                numbers.append(float(part.replace("_", "?")))  # float() would ignore it
            except ValueError:
                found = f"{short_repr(part.strip())} at step {step} is not a number"
                problem = found if part.strip() else f"there is nothing at step {step}, between two commas"
                return RowProblem(problem, NUMBERS_REMEDY)
    if len(numbers) == 0:
        return RowProblem("the sequence is empty", NUMBERS_REMEDY)
    return np.asarray(numbers).astype(np.float32).reshape(len(numbers), -1)


def read_label(field: Any) -> str | RowProblem:
    """Return the label of a row."""
    try:
        label = str(field.decode() if isinstance(field, bytes) else "" if field is None else field).strip()
    except UnicodeDecodeError:
        return RowProblem(f"{field[:20]!r} is not UTF-8", "save y as text, not as bytes")
    if not label:
        return RowProblem("the label is missing", "give one, or take the row out")
    if UNPRINTABLE.search(label):
        return RowProblem(f"the label {short_repr(label)} has characters that cannot be shown", "take them out")
    return label


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
