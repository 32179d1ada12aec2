"""Standardized sequences with their classes, as the LSTM reads them: in memory, or mapped from a folder.

Shapes: N sequences, M sequences of a folder, T steps of the longest, I channels per step.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from reviver.data.generated import Numbers
from reviver.data.sequences.standardization import Standardization
from reviver.data.task import Sequences


@dataclass(frozen=True)
class Examples(Numbers):
    """Standardized sequences of any lengths with the indices of their classes; those that are chosen lose common padding."""

    lengths: Tensor

    def __getitem__(self, index: Tensor | slice) -> "Examples":
        lengths = self.lengths[index]
        longest = int(lengths.max()) if len(lengths) else self.steps
        return Examples(self.x[index][:, :longest], lengths, self.targets[index])


@dataclass(frozen=True, eq=False)
class MappedExamples(Sequences):
    """Sequences that are mapped from a folder, with their classes; indices load some of them, to `device`, as `Examples`."""

    rows: Tensor
    """Index of each sequence in `x`, [N] int64."""
    x: Tensor
    """Numbers of all sequences of the folder, [M, T, I]; they must not be written to."""
    lengths: Tensor
    targets: Tensor
    standardization: Standardization
    device: torch.device | str = "cpu"

    def __getitem__(self, index: Tensor | slice) -> Examples:  # type: ignore[override]
        index = index.cpu() if isinstance(index, Tensor) else index
        lengths = self.lengths[index]
        longest = int(lengths.max()) if len(lengths) else self.steps
        x = self.standardization.apply(self.x[self.rows[index], :longest].float(), lengths)
        return Examples(x, lengths, self.targets[index]).to(torch.device(self.device))

    def to(self, device: torch.device) -> Self:
        """Return the same sequences, which will be loaded to `device`."""
        return replace(self, device=device)

    @property
    def steps(self) -> int:
        """T, as of the sequences in memory, whose splits are padded alike."""
        return self.x.shape[1]
