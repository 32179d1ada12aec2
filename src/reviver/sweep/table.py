"""Results of a sweep as a table: a row per cell, as Parquet or CSV."""

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

from reviver.errors import ConfigError
from reviver.io.atomic import atomic_write
from reviver.sweep.cell import Cell, Outcome

FORMATS = (".parquet", ".csv")
FIXED_COLUMNS = ("key", "status", "error", "seconds", "attempts", "host")
"""Columns that are neither axes nor results."""

_log = logging.getLogger(__name__)


def table_rows(cells: Sequence[Cell], outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """Return a row for each cell, all with the same columns: axes, `FIXED_COLUMNS`, numbers of the results.

    The numbers of nested results have paths as names, such as `best.validation_accuracy`. A result with the name of
    another column has `result.` before its name. What a cell does not have is None. A cell without an outcome has the
    status `waiting`.

    Args:
        cells: the cells of a sweep.
        outcomes: their outcomes, by key.
    """
    axes = list(dict.fromkeys(name for cell in cells for name in cell.axes))
    taken = {*axes, *FIXED_COLUMNS}
    rows = []
    for cell in cells:
        outcome = outcomes.get(cell.key)
        row: dict[str, Any] = {name: cell.axes.get(name) for name in axes}
        row |= {name: None if outcome is None else getattr(outcome, name) for name in FIXED_COLUMNS}
        row |= {"key": cell.key, "status": "waiting" if outcome is None else outcome.status}
        for name, number in numbers_in((outcome.result if outcome else None) or {}):
            row[f"result.{name}" if name in taken else name] = number
        rows.append(row)
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in columns} for row in rows]


def numbers_in(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | bool]]:
    """Yield the path and value of each number and truth value in a result, such as `results.0.accuracy`.

    Texts and lists of numbers are left out.
    """
    for name, value in result.items():
        if isinstance(value, (bool, int, float)):
            yield prefix + name, value
        elif isinstance(value, Mapping):
            yield from numbers_in(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            objects = {str(index): item for index, item in enumerate(value) if isinstance(item, Mapping)}
            yield from numbers_in(objects, f"{prefix}{name}.")


def check_table_path(path: Path) -> None:
    """Check, before a long computation, that `write_table` can write the format of `path`.

    Raises:
        ConfigError: if the suffix is not that of a supported format.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"table must end in one of {', '.join(FORMATS)}, got {path}", field="table")


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write rows atomically in the format of the path's suffix.

    Parquet needs the library pyarrow. Without it the table is written as CSV, and a warning is logged.

    Returns:
        The path of the file.

    Raises:
        ConfigError: if the suffix is not that of a supported format.
        RunFolderError: if the file cannot be written.
    """
    check_table_path(path)
    columns = {name: [_scalar(row[name]) for row in rows] for name in (rows[0] if rows else FIXED_COLUMNS)}
    pyarrow = _import_pyarrow() if path.suffix.lower() == ".parquet" else None
    if pyarrow is None and path.suffix.lower() == ".parquet":
        path = path.with_suffix(".csv")
        _log.warning("Parquet needs the library pyarrow (pip install pyarrow, the extra data); wrote %s", path)
    content = _to_csv(columns) if pyarrow is None else _to_parquet(pyarrow, columns)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path


def _scalar(value: Any) -> Any:
    """Return a value of a column; lists and objects as JSON text."""
    return json.dumps(value) if isinstance(value, (list, tuple, Mapping)) else value


def _import_pyarrow() -> ModuleType | None:
    try:
        import pyarrow.parquet
    except ImportError:
        return None
    module: ModuleType = pyarrow
    return module


def _to_csv(columns: Mapping[str, Sequence[Any]]) -> bytes:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _to_parquet(pyarrow: ModuleType, columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Return a Parquet file. A column of mixed types, such as numbers and `auto`, is text."""
    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pyarrow.array(values)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
            arrays[name] = pyarrow.array(texts)
    content = BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), content)
    return content.getvalue()
