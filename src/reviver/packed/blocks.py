"""Blocks of an array: rows that follow one another, about `BLOCK_BYTES` together.

A block has a checksum, and the order `blocks` permutes blocks. Their edges are the index of the first row of each block,
and at the end the number of rows: block b holds the rows edges[b] ≤ row < edges[b + 1].

Shapes: N rows, B blocks.
"""

import torch
from torch import Tensor

BLOCK_BYTES = 4 << 20
"""Size of a block: 4 MiB."""


def equal_blocks(num_rows: int, row_bytes: int, block_bytes: int = BLOCK_BYTES) -> Tensor:
    """Return the edges [B + 1] of blocks of equal rows: as many in each as fit, at least one; the last has the rest."""
    rows = max(1, block_bytes // max(1, row_bytes))
    inner = torch.arange(0, num_rows, rows)
    return torch.cat([inner, torch.tensor([num_rows])])


def unequal_blocks(ends: Tensor, block_bytes: int = BLOCK_BYTES) -> Tensor:
    """Return the edges [B + 1] of blocks of rows of different sizes.

    A block ends with the row that reaches the next multiple of `block_bytes`, so that a long row makes a larger block.

    Args:
        ends: position in bytes after each row, ascending, [N] with N ≥ 1.
        block_bytes: size of a block.
    """
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    block = starts // block_bytes
    inner = torch.nonzero(block[1:] != block[:-1]).flatten() + 1
    return torch.cat([torch.tensor([0]), inner, torch.tensor([len(ends)])])
