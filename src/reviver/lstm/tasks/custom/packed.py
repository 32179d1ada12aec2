"""Sequences of a packed folder: mapped, and standardised batch by batch.

Shapes: N sequences, n of them, T steps of the longest, S steps of all sequences, I channels per step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reviver.config import DataOrder
from reviver.io.errors import damaged_data_file
from reviver.lstm.tasks.custom.examples import Examples
from reviver.lstm.tasks.custom.standardisation import Standardisation, chunk_size
from reviver.lstm.tasks.task import Sequences
from reviver.packed.ahead import read_ahead
from reviver.packed.blocks import unequal_blocks
from reviver.packed.format import REMEDY, open_packed
from reviver.packed.load import load_side, map_sequences
from reviver.packed.mapped import MappedArray
from reviver.packed.verify import verify_all


@dataclass(frozen=True, eq=False)
class PackedTable:
    """All sequences of a packed folder."""

    name: str
    """Name of the packed data."""
    sha256: str
    """Checksum of packed.json, which depends on all data."""
    classes: tuple[str, ...]
    """Names of the classes."""
    values: MappedArray
    """Steps of all sequences, [S, I] float32."""
    offsets: Tensor
    """First step of each sequence, and S, [N + 1] int64."""
    labels: Tensor
    """Indices of the classes, [N] int64."""
    max_length: int
    """T, at least the length of the longest sequence."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a packed folder.

        Raises:
            DataError: if it is damaged or holds other data.
        """
        folder = open_packed(path, "sequences")
        record, classes, max_length = folder.record, folder.record.classes, folder.record.max_length
        assert classes is not None, "PackedRecord checks it"
        assert max_length is not None, "PackedRecord checks it"
        values, offsets = map_sequences(folder)
        labels = torch.from_numpy(load_side(folder, "labels"))
        present = labels.unique()
        if len(classes) != len(set(classes)) or present.tolist() != list(range(len(classes))) or len(classes) < 2:
            problem = f"labels must be the indices of the {len(classes)} distinct classes, 2 or more"
            raise damaged_data_file(folder.file("labels"), problem, REMEDY)
        starts = torch.from_numpy(offsets)
        if int(starts.diff().max()) > max_length:
            raise damaged_data_file(folder.file("offsets"), f"a sequence is longer than {max_length} steps", REMEDY)
        return cls(record.name, record.checksum, classes, values, starts, labels, max_length)

    def steps(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield the steps of the sequences `rows`, [n, I], in the chunks in which a table in memory is standardised."""
        for chunk in rows.split(chunk_size(self.max_length, self.values.rows.shape[1])):
            steps = step_indices(self.offsets[chunk].numpy(), self.offsets[chunk + 1].numpy())
            yield torch.from_numpy(self.values.take(steps, in_blocks=True))

    def verify(self) -> None:
        """Verify all blocks of the sequences.

        Raises:
            DataError: if a block has another checksum than when it was packed.
        """
        verify_all(self.values, self.name)


@dataclass(frozen=True)
class PackedExamples(Sequences):
    """Sequences of a packed folder with their classes; `read` and indices load some of them as `Examples`.

    Attributes:
        begins: first step of each sequence in `values`, [N] int64.
        lengths: number of steps of each sequence, [N] int64.
        targets: index of the class of each sequence, [N] int64.
        values: steps of all sequences, [S, I] float32.
        max_length: T of all sequences of the folder.
        standardisation: standardisation of the channels.
        device: device of the loaded sequences; the CPU if None.
    """

    begins: Tensor
    lengths: Tensor
    targets: Tensor
    values: MappedArray
    max_length: int
    standardisation: Standardisation
    device: torch.device | None = None

    @classmethod
    def of(cls, table: PackedTable, rows: Tensor, standardisation: Standardisation) -> Self:
        """Return the sequences `rows` of a table."""
        begins = table.offsets[rows]
        lengths = table.offsets[rows + 1] - begins
        return cls(begins, lengths, table.labels[rows], table.values, table.max_length, standardisation)

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the values of the steps begin ≤ t < end of all sequences, which are loaded for that."""
        return self[:].encode(begin, end)

    def __getitem__(self, index: Tensor | slice) -> Examples:  # type: ignore[override]
        """Load some of the sequences, padded to the longest of them."""
        in_sequence = isinstance(index, slice)
        rows = torch.arange(len(self))[index] if isinstance(index, slice) else index.cpu()
        return self._examples(rows, self._take(rows, in_blocks=in_sequence))

    def to(self, device: torch.device) -> Self:
        """Return the same sequences, which will be loaded to `device`."""
        return replace(self, device=device)

    @property
    def steps(self) -> int:
        """T, as of the sequences in memory, whose splits are padded alike."""
        return self.max_length

    @property
    def block_edges(self) -> Tensor:
        """First sequence of each block, see `Sequences`."""
        return unequal_blocks(self.lengths.cumsum(0) * 4 * self.values.rows.shape[1])

    def read(self, batches: Sequence[Tensor], order: DataOrder = "full") -> Iterator[Examples]:  # type: ignore[override]
        """Yield the sequences of each batch; a thread reads ahead, see `Sequences`.

        Raises:
            DataError: if a block has another checksum than when it was packed.
        """
        rows = [indices.cpu() for indices in batches]
        batch_bytes = (
            max((int(self.lengths[batch].sum()) for batch in rows[:8]), default=0) * self.values.rows.shape[1] * 4
        )
        loaded = read_ahead(rows, partial(self._take, in_blocks=order == "blocks"), batch_bytes)
        return (self._examples(batch, values) for batch, values in zip(rows, loaded, strict=True))

    def _take(self, rows: Tensor, *, in_blocks: bool = False) -> NDArray[np.float32]:
        """Return the steps of sequences one after another, as they are in the file."""
        begins, lengths = self.begins[rows], self.lengths[rows]
        return self.values.take(step_indices(begins.numpy(), (begins + lengths).numpy()), in_blocks=in_blocks)

    def _examples(self, rows: Tensor, values: NDArray[np.float32]) -> Examples:
        """Return sequences with the steps `values`, padded and standardised."""
        lengths = self.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else self.steps
        x = torch.zeros(len(rows), longest, values.shape[1])
        x[torch.arange(longest) < lengths.unsqueeze(1)] = torch.from_numpy(values)
        examples = Examples(self.standardisation.apply(x, lengths), lengths, self.targets[rows])
        return examples if self.device is None else examples.to(self.device)


def step_indices(begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices begin ≤ step < end of each sequence, one after another."""
    lengths = ends - begins
    steps: NDArray[np.int64] = np.arange(lengths.sum()) + np.repeat(begins - (lengths.cumsum() - lengths), lengths)
    return steps
