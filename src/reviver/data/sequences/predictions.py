"""Predictions for custom sequences as a CSV file.

Shapes: N sequences, C classes.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from reviver.data.sequences.table import SequenceTable
from reviver.files.atomic import atomic_write

FORMULA_START = re.compile(r"['=+\-@＝＋－＠\t\r\n]")
"""First character of a cell that a spreadsheet takes for a formula, and the apostrophe that escapes it."""
PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def write_predictions(path: Path, table: SequenceTable, classes: Sequence[str], probabilities: Tensor) -> None:
    """Write the row, the most probable class, its probability and all probabilities [N, C] of each sequence, atomically.

    A spreadsheet executes a cell that begins with =, +, - or @ as a formula. Therefore an apostrophe precedes a class
    that begins with one of these and is not a plain number, or with an apostrophe: removing one restores every class.
    The columns of the probabilities are named `p(CLASS)`, which is no formula.

    Raises:
        RunFolderError: if the file cannot be written. An existing file stays as it is.
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
