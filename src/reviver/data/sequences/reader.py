"""Reader of custom sequences: a .csv, .parquet or .npz file becomes a `SequenceTable`.

Files are not trusted. The readers compare claimed sizes with the file and with `limits` before they allocate memory,
and unpickle nothing. Every error of a file is a DataError that names the row.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from reviver.data.sequences.builder import FileError, MissingColumnError
from reviver.data.sequences.csv_reader import read_csv
from reviver.data.sequences.npz_reader import read_npz_sequences
from reviver.data.sequences.parquet_reader import read_parquet
from reviver.data.sequences.table import SequenceTable
from reviver.errors import ConfigError, DataError
from reviver.text import short_repr

READERS: Mapping[str, Callable[[Path, Sequence[str]], SequenceTable]] = MappingProxyType(
    {".csv": read_csv, ".parquet": read_parquet, ".npz": read_npz_sequences}
)
"""Reader of each suffix."""


def read_sequences(
    path: Path, *, sequence_column: str = "sequence", label_column: str = "label", labeled: bool = True
) -> SequenceTable:
    """Read sequences and, if `labeled`, their labels from a file.

    - `.csv` (UTF-8, with a header, columns separated by commas): `sequence_column` has each sequence as text. The
      numbers are separated by spaces or by commas, in brackets or not; each is one step of one channel. Blank rows are
      skipped.
    - `.parquet`: the same, or `sequence_column` has lists of numbers.
    - `.npz`: x [N, T] or [N, T, I], y [N] and, if the sequences differ in length, lengths [N]. The names of the columns
      do not matter. Values of x after the end of a sequence are ignored.

    Labels are text or integers. Numbers become float32, which has about 7 digits: subtract a large offset, such as that
    of a date, before.

    Args:
        path: file.
        sequence_column: column of the sequences.
        label_column: column of the labels.
        labeled: read the labels, too.

    Raises:
        ConfigError: if both columns have the same name.
        DataError: if the file is missing, malformed or too large.
    """
    path = Path(path)
    if labeled and sequence_column == label_column:
        raise ConfigError(
            f"label_column must not be sequence_column, got {short_repr(label_column)} for both; name another column",
            field="label_column",
        )
    columns = (sequence_column, label_column) if labeled else (sequence_column,)
    read = READERS.get(path.suffix.lower())
    if read is None or not path.is_file():
        problem = "is of an unknown kind" if path.is_file() else "is no file" if path.exists() else "does not exist"
        *others, last = READERS
        raise DataError(f"{path}: {problem}; give a {', '.join(others)} or {last} file")
    try:
        return read(path, columns)
    except FileError as error:
        raise DataError(f"{path}: {error}") from error.__cause__


def read_if_labelled(path: Path, *, sequence_column: str, label_column: str) -> tuple[SequenceTable, str]:
    """Read sequences and, if the file has them, their labels.

    Args:
        path: file.
        sequence_column: column of the sequences.
        label_column: column of the labels.

    Returns:
        The table, and what is wrong with the labels: the table has none then. The text is empty if nothing is wrong or
        the file has no labels.

    Raises:
        ConfigError, DataError: see `read_sequences`, except for the labels.
    """
    problem = ""
    try:
        return read_sequences(path, sequence_column=sequence_column, label_column=label_column), problem
    except DataError as error:
        if not isinstance(error.__context__, MissingColumnError):
            problem = str(error)
    return read_sequences(path, sequence_column=sequence_column, labeled=False), problem
