"""Truncated backpropagation through time (Williams & Peng 1990): the state is carried from one update to the next.

An update reads a segment of at most `bptt_steps` steps of every palindrome of a batch, and its gradient reaches back to
the start of the segment. So an update costs the same however long the palindromes are.

Shapes: B batch, S steps of a segment, H hidden size, D directions · L layers, T length of a palindrome.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.data.generated import encode_symbols
from reviver.data.palindromes import NUM_DIGITS, Palindromes, half_length
from reviver.recurrent.custom_cells import States

LOST = 0.2
"""Probability of the correct digit below which a palindrome is given up. Its state is then nearer to that of another digit,
and a loss on it would teach that other state to answer this digit."""


class Segment(NamedTuple):
    """Input of an update."""

    x: Tensor
    """Next steps of each palindrome, [B, S, I], padded with 0."""
    lengths: Tensor
    """Number of these steps, [B] int64."""
    state: States
    """Entries of the state of the network before them, [D·L, B, ...] each."""
    fresh: Tensor
    """Whether they are the first steps of the palindrome, [B] bool."""
    targets: Tensor
    """First digit of each palindrome, [B] int64."""


class CarriedBatch:
    """B palindromes that are read segment by segment, each at its own position; `shapes` are those of a state, [D·L, B, ...] each.

    A palindrome that ends, or whose digit is lost, is replaced by a fresh one before the next update. Thus one batch has
    palindromes of all ages. `tensors` is the state that a checkpoint needs, changed in place only.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        max_length: int,
        bptt_steps: int,
        encoding: str,
        device: torch.device,
    ) -> None:
        self.bptt_steps, self.encoding, size = bptt_steps, encoding, shapes[0][1]
        self.state = tuple(torch.zeros(shape, device=device) for shape in shapes)
        self.halves = torch.zeros(size, half_length(max_length), dtype=torch.uint8, device=device)
        self.remaining = torch.zeros(size, dtype=torch.int64, device=device)  # steps to read; 0 if it needs a fresh one
        self.lengths = torch.ones_like(self.remaining)  # T of each palindrome
        self.started = torch.zeros((), dtype=torch.int64, device=device)
        names = ["h", "c", *(f"state{index}" for index in range(2, len(shapes)))]
        self.tensors = {f"carried/{name}": entry for name, entry in zip(names, self.state, strict=False)}
        self.tensors |= {
            f"carried/{name}": getattr(self, name) for name in ("halves", "remaining", "lengths", "started")
        }

    def __len__(self) -> int:
        return len(self.remaining)

    def start(self, fresh: Palindromes) -> None:
        """Replace the palindromes that have ended by those of the same rows of `fresh`, repeated if there are fewer than B."""
        ended = (self.remaining == 0).nonzero()[:, 0]
        rows = ended % len(fresh)
        for entry in self.state:
            entry[:, ended] = 0
        self.halves[ended, : fresh.halves.shape[1]] = fresh.halves[rows]
        lengths = fresh.palindrome_lengths
        self.lengths[ended] = fresh.length if lengths is None else lengths[rows]
        self.remaining[ended] = self.lengths[ended] - 1
        self.started += len(ended)

    def segment(self, rng: torch.Generator) -> Segment:
        """Return the next segment of every palindrome: of half to all of `bptt_steps` steps, so that the positions spread."""
        size, steps = len(self.remaining), self.bptt_steps
        limit = torch.randint((steps + 1) // 2, steps + 1, (size,), generator=rng).to(self.remaining.device)
        limit[self.lengths - 1 <= steps] = steps
        lengths = torch.minimum(self.remaining, limit)
        position = self.lengths - 1 - self.remaining
        t = position[:, None] + torch.arange(int(lengths.max()), device=position.device)  # [B, S]
        digits = self.halves.gather(1, torch.minimum(t, self.lengths[:, None] - 1 - t).clamp(min=0))
        digits = torch.where(t < (position + lengths)[:, None], digits, 0)
        x = encode_symbols(digits, NUM_DIGITS, self.encoding)
        state = tuple(entry.clone() for entry in self.state)
        return Segment(x, lengths, state, position == 0, self.halves[:, 0].long())

    def carry(self, segment: Segment, state: States, logits: Tensor) -> None:
        """Keep the state after a segment, [D·L, B, ...] each, and end the palindromes whose digit the logits [B, C] lost."""
        for entry, new in zip(self.state, state, strict=True):
            entry.copy_(new)
        confidence = logits.softmax(1).gather(1, segment.targets[:, None])[:, 0]  # [B]
        self.remaining -= segment.lengths
        self.remaining[confidence < LOST] = 0

    def take_started(self) -> int:
        """Return the number of palindromes started since the last call."""
        count = int(self.started)
        self.started.zero_()
        return count
