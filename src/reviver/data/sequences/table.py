"""A table of labeled sequences of numbers.

Shapes: N sequences, T steps of the longest, I channels per step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

MAX_LISTED = 3
"""Maximum number of bad rows, unknown labels and the like that an error names; it counts the others."""


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

    def __getitem__(self, index: Tensor) -> "SequenceTable":
        """Return the sequences at `index`, [n] int64, with the same padding."""
        indices = index.tolist()
        labels = None if self.labels is None else tuple(self.labels[k] for k in indices)
        rows = tuple(self.rows[k] for k in indices)
        return SequenceTable(self.x[index], self.lengths[index], labels, rows, self.row_format, self.name)

    def row_name(self, index: int) -> str:
        """Return the position of sequence `index` as messages give it."""
        return self.row_format.format(self.rows[index])


def join_listed(items: Sequence[str], count: int, limit: int = MAX_LISTED) -> str:
    """Return the first `limit` of `count` items with commas between, and the number of the others."""
    text = ", ".join(items[:limit])
    return f"{text}, and {count - limit} more" if count > limit else text
