"""Rows of a global batch: which of them a process computes, and random numbers that do not depend on that.

Every process draws the random numbers of the whole batch from the same stream, and takes those of its rows. So a
checkpoint holds one state of each random number generator, and a run resumes with another number of processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class BatchRows:
    """The rows of a global batch that one process computes, perhaps none: `begin` to `end` - 1 of each of its blocks."""

    begin: int
    end: int
    total: int
    """Rows of the global batch, or of each block."""
    blocks: int = 1
    """Batches of `total` rows that follow one another, such as real images and then as many generated ones."""

    def __len__(self) -> int:
        """Return the number of rows of this process, in all blocks."""
        return self.blocks * (self.end - self.begin)

    @property
    def fraction(self) -> float:
        """Fraction of the global batch: the mean over it is the sum over processes of fraction times local mean."""
        return (self.end - self.begin) / self.total

    def repeated(self, blocks: int) -> "BatchRows":
        """Return the same rows of `blocks` batches that follow one another."""
        return replace(self, blocks=blocks)

    def take(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """Return the rows of this process of a tensor that has blocks · total rows along `dim`."""
        if self.end - self.begin == self.total:
            return tensor
        parts = [part.narrow(dim, self.begin, self.end - self.begin) for part in tensor.chunk(self.blocks, dim)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim)

    def rand(self, shape: Sequence[int], *, dim: int = 0, rng: torch.Generator | None = None, **options: Any) -> Tensor:
        """Return uniform random numbers in [0, 1) of `shape`, with the rows of this process along `dim`.

        `options` are those of `torch.rand`, such as the device.
        """
        sizes = list(shape)
        sizes[dim] = self.blocks * self.total
        return self.take(torch.rand(sizes, generator=rng, **options), dim)


def all_rows(count: int) -> BatchRows:
    """Return all rows of a batch: those of a run by one process."""
    return BatchRows(0, count, count)
