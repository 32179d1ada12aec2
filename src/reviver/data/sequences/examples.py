"""Standardized sequences with their classes, as the LSTM reads them: in memory, or packed without padding and mapped.

Shapes: N sequences, n of them, T steps of the longest, S steps of all sequences, I channels per step.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from reviver.data.generated import Numbers
from reviver.data.packed import REMEDY, map_array, open_packed, refuse_existing, unequal_blocks, write_packed
from reviver.data.sequences.labels import class_indices, class_names
from reviver.data.sequences.reader import read_sequences
from reviver.data.sequences.standardization import Standardization, chunk_size
from reviver.data.sequences.table import SequenceTable
from reviver.data.task import Sequences
from reviver.files.file_errors import reading


def pack_sequences(
    path: Path, out: Path, *, sequence_column: str = "sequence", label_column: str = "label", progress: bool = False
) -> dict[str, list[int]]:
    """Write the labeled sequences of a file, see `read_sequences`, to a new packed folder; return the shape of each array."""
    refuse_existing(out)
    table = PackedTable.of(read_sequences(path, sequence_column=sequence_column, label_column=label_column))
    offsets = torch.cat([table.begins, torch.tensor([len(table.values)])])
    found = {"sequences": table.values, "offsets": offsets, "labels": table.labels}
    arrays = {name: (array.shape, array.split(1 << 20)) for name, array in found.items()}
    kept: Any = {"classes": table.classes, "max_length": table.max_length}
    return write_packed(out, "sequences", path.name, arrays, **kept, progress=progress)


@dataclass(frozen=True)
class Examples(Numbers):
    """Standardized sequences of any lengths with the indices of their classes; those that are chosen lose common padding."""

    lengths: Tensor

    def __getitem__(self, index: Tensor | slice) -> "Examples":
        lengths = self.lengths[index]
        longest = int(lengths.max()) if len(lengths) else self.steps
        return Examples(self.x[index][:, :longest], lengths, self.targets[index])

    @property
    def block_edges(self) -> Tensor:
        """First sequence of each block, see `Sequences`; the blocks are those without the padding."""
        return unequal_blocks(self.lengths.cpu().cumsum(0) * 4 * self.x.shape[2])


class PackedTable(NamedTuple):
    """Labeled sequences without padding, in memory, or mapped from a packed folder."""

    name: str
    classes: tuple[str, ...]
    values: Tensor
    """Steps of all sequences, [S, I] float32."""
    begins: Tensor
    """First step of each sequence, [N] int64."""
    lengths: Tensor
    """Number of steps of each sequence, [N] int64."""
    labels: Tensor
    """Indices of the classes, [N] int64."""
    max_length: int
    """T, at least the length of the longest sequence."""

    @classmethod
    def of(cls, table: SequenceTable) -> Self:
        """Return the sequences of a table with labels; raise `DataError` if it has fewer than two classes."""
        classes, begins = class_names(table), table.lengths.cumsum(0) - table.lengths
        values = table.x[torch.arange(table.x.shape[1]) < table.lengths.unsqueeze(1)]
        labels = class_indices(table, classes)
        return cls(table.name, classes, values, begins, table.lengths, labels, table.x.shape[1])

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a packed folder; raise `DataError` if it is damaged or holds other data."""
        record = open_packed(path, "sequences")
        values, offsets, labels = (map_array(path, name) for name in ("sequences", "offsets", "labels"))
        lengths, max_length, count = offsets.diff(), record.max_length or 0, len(record.classes)
        with reading(path, REMEDY):
            problem = ""
            if offsets[0] or offsets[-1] != len(values) or not 1 <= lengths.min() <= lengths.max() <= max_length:
                problem = f"offsets must increase from 0 to {len(values)} by 1 to {max_length}"
            elif len(lengths) != len(labels) or labels.unique().tolist() != list(range(count)) or count < 2:
                problem = f"labels must be {len(lengths)} indices of the {count} classes, 2 or more"
            if problem:
                raise ValueError(problem)
        return cls(record.name, record.classes, values, offsets[:-1], lengths, labels, max_length)

    def take(self, rows: Tensor) -> Tensor:
        """Return the steps of the sequences `rows`, one sequence after another, [n, I]."""
        lengths = self.lengths[rows]
        first = self.begins[rows] - (lengths.cumsum(0) - lengths)  # less the steps of the sequences before
        return self.values[torch.arange(int(lengths.sum())) + first.repeat_interleave(lengths)]

    def chunks(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield the steps of the sequences `rows`, in the chunks in which a table in memory is standardized."""
        return map(self.take, rows.split(chunk_size(self.max_length, self.values.shape[1])))

    def load(self, rows: Tensor, standardization: Standardization, steps: int) -> Examples:
        """Return the sequences `rows`, standardized and padded to `steps` steps."""
        lengths = self.lengths[rows]
        x = torch.zeros(len(rows), steps, self.values.shape[1])
        x[torch.arange(steps) < lengths.unsqueeze(1)] = self.take(rows)
        return Examples(standardization.apply(x, lengths), lengths, self.labels[rows])


@dataclass(frozen=True, eq=False)
class PackedExamples(Sequences):
    """Sequences of a packed folder with their classes; indices load some of them, to `device`, as `Examples`."""

    rows: Tensor
    """Index of each sequence in `table`, [N] int64."""
    table: PackedTable
    standardization: Standardization
    device: torch.device | str = "cpu"

    @property
    def lengths(self) -> Tensor:
        """Number of steps of each sequence, [N] int64."""
        return self.table.lengths[self.rows]

    @property
    def targets(self) -> Tensor:
        """Index of the class of each sequence, [N] int64."""
        return self.table.labels[self.rows]

    def __getitem__(self, index: Tensor | slice) -> Examples:  # type: ignore[override]
        rows = self.rows[index.cpu() if isinstance(index, Tensor) else index]
        longest = int(self.table.lengths[rows].max()) if len(rows) else self.steps
        return self.table.load(rows, self.standardization, longest).to(torch.device(self.device))

    def to(self, device: torch.device) -> Self:
        """Return the same sequences, which will be loaded to `device`."""
        return replace(self, device=device)

    @property
    def steps(self) -> int:
        """T, as of the sequences in memory, whose splits are padded alike."""
        return self.table.max_length

    @property
    def block_edges(self) -> Tensor:
        """First sequence of each block, see `Sequences`."""
        return unequal_blocks(self.lengths.cumsum(0) * 4 * self.table.values.shape[1])
