"""Order of the examples of an epoch: a full permutation, or a permutation of blocks and then within a window of them.

It depends on the seed and the epoch alone, through the random number generator, and not on the number of processes. So a
run resumes at any index of it. Data in memory and packed data have the same order.

Shapes: N examples, B blocks.
"""

import torch
from torch import Tensor

from reviver.config import DataOrder

WINDOW_BLOCKS = 16
"""Blocks whose examples are permuted together by the order `blocks`: 64 MiB."""


def epoch_order(order: DataOrder, edges: Tensor, rng: torch.Generator) -> Tensor:
    """Return the indices of the N examples in the order of an epoch, [N] int64 on the CPU.

    Args:
        order: `full` for a permutation of all examples. `blocks` permutes the blocks, and then the examples of each
            window of `WINDOW_BLOCKS` blocks, so that an epoch reads the data block by block.
        edges: first example of each block, and N, [B + 1]; see `blocks`.
        rng: random number generator of the epoch.
    """
    if order == "full":
        return torch.randperm(int(edges[-1]), generator=rng)
    parts = []
    for window in torch.randperm(len(edges) - 1, generator=rng).split(WINDOW_BLOCKS):
        bounds = zip(edges[window].tolist(), edges[window + 1].tolist(), strict=True)
        examples = torch.cat([torch.arange(begin, end) for begin, end in bounds])
        parts.append(examples[torch.randperm(len(examples), generator=rng)])
    return torch.cat(parts)
