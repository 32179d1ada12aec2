"""Standardized sequences with their classes, as the LSTM reads them.

Shapes: N sequences, T steps of the longest, I channels per step.
"""

from dataclasses import dataclass

from torch import Tensor

from reviver.data.packed.order import unequal_blocks
from reviver.data.tasks.task import Sequences


@dataclass(frozen=True)
class Examples(Sequences):
    """Standardized sequences with their classes."""

    x: Tensor
    """[N, T, I] float32, padded with 0."""
    lengths: Tensor
    """Number of steps of each sequence, [N] int64."""
    targets: Tensor
    """Index of the class of each sequence, [N] int64."""

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the values of the steps begin ≤ t < end, [N, end - begin, I]."""
        return self.x[:, begin:end]

    def __getitem__(self, index: Tensor | slice) -> "Examples":
        """Return some of the sequences, padded to the longest of them."""
        lengths = self.lengths[index]
        longest = int(lengths.max()) if len(lengths) else self.steps
        return Examples(self.x[index][:, :longest], lengths, self.targets[index])

    @property
    def block_edges(self) -> Tensor:
        """First sequence of each block, see `Sequences`; the blocks are those without the padding."""
        return unequal_blocks(self.lengths.cpu().cumsum(0) * 4 * self.x.shape[2])
