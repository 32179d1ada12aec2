"""Reader of sequences from a CSV file."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import TextIOWrapper
from pathlib import Path

from reviver.data.sequences import limits
from reviver.data.sequences.builder import LENGTH_REMEDY, FileError, TableBuilder, find_columns, unreadable
from reviver.data.sequences.table import SequenceTable
from reviver.files.read import open_file


def read_csv(path: Path, columns: Sequence[str]) -> SequenceTable:
    """Read the columns `columns` of a CSV file: sequences as text, then labels unless there is no second column.

    Rows are counted as a spreadsheet does: the header is row 1, and a row may have several lines.

    Raises:
        FileError: if the file is malformed or too large.
    """
    builder = TableBuilder(path.name, "row {}")
    header: list[str] = []
    number, remaining = 0, limits.MAX_ROW

    def lines() -> Iterator[str]:
        """Yield the lines of the file; raise an error if the lines of a row are too long together."""
        nonlocal remaining
        while line := file.readline(remaining + 1):
            remaining -= len(line)
            if remaining < 0:
                raise csv.Error(f"it has more than {limits.MAX_ROW} characters; {LENGTH_REMEDY}")
            yield line

    try:
        with ExitStack() as stack:
            # The limit is global in Python: restore it afterwards.
            stack.callback(csv.field_size_limit, csv.field_size_limit(limits.MAX_FIELD))
            file = stack.enter_context(TextIOWrapper(open_file(path), encoding="utf-8-sig", newline=""))
            for record in csv.reader(lines(), strict=True):
                number += 1  # not enumerate, so that after an error of the reader the next row is the broken one
                remaining = limits.MAX_ROW
                if not any(record):
                    continue
                if not header:
                    header = _read_header(record)
                    indices = find_columns(header, columns)
                elif len(record) != len(header):
                    problem = f"it has {len(record)} fields and the header has {len(header)}"
                    builder.add_error(number, problem, 'put a sequence that contains commas in quotes: "1, 2, 3"')
                else:
                    builder.add_text(number, record[indices[0]])
                    for index in indices[1:]:
                        builder.add_label(number, record[index])
    except UnicodeDecodeError as error:
        with open_file(path) as damaged:
            line = next(k for k, text in enumerate(damaged, 1) if text.decode("utf-8", "ignore").encode() != text)
        raise FileError(f"line {line} is not UTF-8; save it as UTF-8 (in a spreadsheet: “CSV UTF-8”)") from error
    except csv.Error as error:
        problem = str(error)
        if "field limit" in problem:
            problem = f"a field has more than {limits.MAX_FIELD} characters; {LENGTH_REMEDY}"
        elif LENGTH_REMEDY not in problem:
            problem += "; check the quotes there"
        raise FileError(f"row {number + 1}: {problem}") from error
    except OSError as error:
        raise unreadable(error) from error
    if not header:
        raise FileError(f"it is empty; give a file with a header ({', '.join(columns)}) and rows")
    return builder.padded_table()


def _read_header(record: Sequence[str]) -> list[str]:
    """Return the names of the columns; raise a FileError if the separator is another than a comma."""
    header = [name.strip() for name in record]
    if len(header) > limits.MAX_COLUMNS:
        raise FileError(f"it has {len(header)} columns; put each sequence into one column")
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise FileError(f"its columns are separated by {name}; save it with commas")
    return header
