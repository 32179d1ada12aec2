"""Records of a run as columns, which are smaller in the page and easier to plot."""

from collections.abc import Mapping, Sequence
from typing import Any

MAX_ROWS = 1000
"""Maximum rows of a chart; of more, every k-th and the last are kept."""
DIGITS = 6
"""Significant digits of a number."""


def to_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return the numbers of records by name, thinned to at most about MAX_ROWS rows; other values are left out."""
    stride = -(-len(records) // MAX_ROWS) or 1
    kept = [record for index, record in enumerate(records) if index % stride == 0 or index == len(records) - 1]
    names = dict.fromkeys(name for record in kept for name, value in record.items() if isinstance(value, int | float))
    return {name: [_number(record.get(name)) for record in kept] for name in names}


def _number(value: object) -> float | None:
    if not isinstance(value, int | float):
        return None
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
