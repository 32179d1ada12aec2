"""Fixtures of the tests of data."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes rows to a CSV file."""

    def write(name: str, rows: Iterable[Sequence[Any]], **options: Any) -> Path:
        with (tmp_path / name).open("w", newline="", **{"encoding": "utf-8", **options}) as file:
            csv.writer(file).writerows(rows)
        return tmp_path / name

    return write


@pytest.fixture
def payload(tmp_path: Path) -> Any:
    """Return an object that writes the file `was-run` when it is unpickled."""

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "was-run",)

    return Payload()
