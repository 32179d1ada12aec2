"""Order of the examples of an epoch: a full permutation, or a permutation of blocks and then within a window of them.

Blocks are examples that follow one another, about `BLOCK_BYTES` together: block b holds edges[b] ≤ n < edges[b + 1]. The
order depends on the seed and the epoch alone, so that a run resumes at any index of it, by any number of processes. Data
in memory and packed data have the same order.

Shapes: N examples, B blocks.
"""

import torch
from torch import Tensor

from reviver.settings.fields import DataOrder

BLOCK_BYTES = 4 << 20
"""Size of a block: 4 MiB."""
WINDOW_BLOCKS = 16
"""Blocks whose examples are permuted together by the order `blocks`: 64 MiB."""


def equal_blocks(num_rows: int, row_bytes: int, block_bytes: int = BLOCK_BYTES) -> Tensor:
    """Return the edges [B + 1] of blocks of equal rows: as many in each as fit, at least one; the last has the rest."""
    rows = max(1, block_bytes // max(1, row_bytes))
    return torch.cat([torch.arange(0, num_rows, rows), torch.tensor([num_rows])])


def unequal_blocks(ends: Tensor, block_bytes: int = BLOCK_BYTES) -> Tensor:
    """Return the edges [B + 1] of blocks of rows of different sizes, given the position in bytes after each, [N], N ≥ 1.

    A block ends with the row that reaches the next multiple of `block_bytes`, so that a long row makes a larger block.
    """
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    block = starts // block_bytes
    inner = torch.nonzero(block[1:] != block[:-1]).flatten() + 1
    return torch.cat([torch.tensor([0]), inner, torch.tensor([len(ends)])])


def epoch_order(order: DataOrder, edges: Tensor, rng: torch.Generator) -> Tensor:
    """Return the indices of the N examples, in blocks with `edges` [B + 1], in the order of an epoch, [N] int64.

    `full` is a permutation of all examples. `blocks` permutes the blocks, and then the examples of each window of
    `WINDOW_BLOCKS` blocks, so that an epoch reads the data block by block.
    """
    if order == "full":
        return torch.randperm(int(edges[-1]), generator=rng)
    parts = []
    for window in torch.randperm(len(edges) - 1, generator=rng).split(WINDOW_BLOCKS):
        bounds = zip(edges[window].tolist(), edges[window + 1].tolist(), strict=True)
        examples = torch.cat([torch.arange(begin, end) for begin, end in bounds])
        parts.append(examples[torch.randperm(len(examples), generator=rng)])
    return torch.cat(parts)
