"""Random number generators: an independent one for each purpose, and the rows of a global batch that a process computes.

So another batch of samples does not change training, and the initial weights do not depend on the dropout masks. Every
process draws the random numbers of the whole batch from the same stream, and takes those of its rows: a checkpoint holds one
state of each generator, and a run resumes with another number of processes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


def make_rng(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator on `device`, seeded by a hash of `seed` and `purpose`, on which saved results depend."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    rng = torch.Generator(device=device)
    rng.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return rng


@contextmanager
def seeding_default_rngs(seed: int, device: torch.device) -> Iterator[dict[str, torch.Generator]]:
    """Seed the default generators of torch, from which user-defined code draws, and yield them by name; restore them after."""
    is_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        torch.manual_seed(make_rng(seed, "default").initial_seed())
        rngs = {"default": torch.default_generator}
        if is_cuda:
            index = torch.cuda.current_device() if device.index is None else device.index
            rngs["default-cuda"] = torch.cuda.default_generators[index]
        yield rngs


@dataclass(frozen=True)
class BatchRows:
    """The rows of a global batch that one process computes, `begin` to `end` - 1, perhaps none."""

    begin: int
    end: int
    total: int
    """Rows of the global batch."""

    def __len__(self) -> int:
        """Return the number of rows of this process."""
        return self.end - self.begin

    @property
    def fraction(self) -> float:
        """Fraction of the global batch: the mean over it is the sum over processes of fraction times local mean."""
        return len(self) / self.total

    def take(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """Return the rows of this process of a tensor that has `total` rows along `dim`."""
        return tensor if len(self) == self.total else tensor.narrow(dim, self.begin, len(self))


@dataclass(frozen=True)
class RowsRng:
    """The random number generator of a batch, in a process that computes some of its rows; alone, it has a `torch.Generator`."""

    generator: torch.Generator | None
    """Generator of the whole batch, in the same state in all processes; torch's default one if None."""
    rows: BatchRows
    blocks: int = 1
    """Batches of `rows.total` rows that follow one another, such as real images and then as many generated ones."""

    def repeated(self, blocks: int) -> "RowsRng":
        """Return the same for `blocks` batches that follow one another."""
        return replace(self, blocks=blocks)


Rng = torch.Generator | RowsRng | None
"""Source of the random numbers of a batch; torch's default generator if None."""


def rand(shape: Sequence[int], rng: Rng, *, dim: int = 0, **options: Any) -> Tensor:
    """Return uniform random numbers in [0, 1) of `shape`; `dim` is that of the batch, `options` those of `torch.rand`."""
    if not isinstance(rng, RowsRng):
        return torch.rand(shape, generator=rng, **options)
    sizes = list(shape)
    assert sizes[dim] == rng.blocks * len(rng.rows), "the rows are those of the batch"
    sizes[dim] = rng.blocks * rng.rows.total
    blocks = torch.rand(sizes, generator=rng.generator, **options).chunk(rng.blocks, dim)
    return torch.cat([rng.rows.take(block, dim) for block in blocks], dim)
