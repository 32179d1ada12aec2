"""Memory tasks: what the LSTM is asked to learn.

Shapes: N sequences, T the length of a whole palindrome, I input size.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from reviver.errors import ConfigError
from reviver.runs.randomness import stream

NUM_DIGITS = 10
"""Digits 0 ... 9: the classes of the palindrome task, and the base of its numbers."""

PERMUTATION_LIMIT = 10**7
"""Up to this many palindromes are sampled by a permutation of all; beyond it by drawing until none repeats."""

MAX_COUNTED_HALF = 18
"""Halves of up to this many digits are numbers that an int64 holds."""


class Palindromes:
    """A set of distinct palindromes of one length.

    Only the first half of each is stored, since it fixes the rest: [N, ⌈T/2⌉] bytes. The input of an
    example is its first T - 1 digits, the class its last, which equals the first: the network must carry
    one digit across T - 2 steps of distractors.
    """

    def __init__(self, halves: Tensor, length: int) -> None:
        assert halves.shape[1] == half_length(length)
        self.halves = halves  # [N, ⌈T/2⌉] uint8
        self.length = length

    def __len__(self) -> int:
        return len(self.halves)

    @property
    def digits(self) -> Tensor:
        """All digits of all palindromes, [N, T] uint8."""
        mirrored = self.halves[:, : self.length // 2].flip(1)
        return torch.cat([self.halves, mirrored], dim=1)

    @property
    def inputs(self) -> Tensor:
        """The digits that the network sees, [N, T - 1] uint8."""
        return self.digits[:, :-1]

    @property
    def classes(self) -> Tensor:
        """The digit to predict, [N] int64."""
        return self.halves[:, 0].long()

    def __getitem__(self, index: Tensor | slice) -> "Palindromes":
        return Palindromes(self.halves[index], self.length)

    def to(self, device: torch.device) -> "Palindromes":
        """The same palindromes with their digits on `device`."""
        return Palindromes(self.halves.to(device), self.length)


class Split(NamedTuple):
    """Disjoint parts of one set."""

    train: Palindromes
    validation: Palindromes


def half_length(length: int) -> int:
    """⌈T/2⌉, the digits that fix a palindrome of length T."""
    return (length + 1) // 2


def count_palindromes(length: int) -> int:
    """How many palindromes of `length` digits there are: 10^⌈T/2⌉, leading zeros allowed."""
    return int(NUM_DIGITS ** half_length(length))


def make_palindromes(length: int, size: int, generator: torch.Generator) -> Palindromes:
    """Return all palindromes of `length` digits in order if there are at most `size`, else `size` distinct random ones.

    Raises:
        ConfigError: if `length` is below 2 or `size` below 1.
    """
    if length < 2:
        raise ConfigError(f"length: {length} is not possible; give a whole number of at least 2")
    if size < 1:
        raise ConfigError(f"size: {size} is not possible; give a whole number of at least 1")
    half = half_length(length)
    if half > MAX_COUNTED_HALF:  # more palindromes than any size, and a number too long to be worth writing out
        return Palindromes(_draw_distinct(size, half, generator), length)
    count = count_palindromes(length)
    if count <= size:
        return Palindromes(_to_digits(torch.arange(count), half), length)
    if count <= PERMUTATION_LIMIT:
        return Palindromes(_to_digits(torch.randperm(count, generator=generator)[:size], half), length)
    return Palindromes(_draw_distinct(size, half, generator), length)


def split_palindromes(palindromes: Palindromes, train_fraction: float, seed: int) -> Split:
    """Divide `palindromes` at random into two disjoint parts, both of them non-empty.

    Raises:
        ConfigError: if there are too few for that.
    """
    train_size = round(train_fraction * len(palindromes))
    if not 0 < train_size < len(palindromes):
        raise ConfigError(
            f"train_fraction: {train_fraction} leaves a part of {len(palindromes)} sequences empty; choose one nearer to 0.5, or more data"
        )
    order = torch.randperm(len(palindromes), generator=stream(seed, "split"))
    return Split(palindromes[order[:train_size]], palindromes[order[train_size:]])


def encode_digits(digits: Tensor, encoding: str) -> Tensor:
    """Turn digits [N, T] into network input: [N, T, 1] floats 0 ... 9 (`scalar`) or [N, T, 10] (`onehot`)."""
    if encoding == "scalar":
        return digits.unsqueeze(-1).float()
    return functional.one_hot(digits.long(), NUM_DIGITS).float()


def _to_digits(numbers: Tensor, width: int) -> Tensor:
    """Write numbers [N] in base 10 with `width` digits: [N, width] uint8, most significant first."""
    powers = NUM_DIGITS ** torch.arange(width - 1, -1, -1)
    return (numbers.unsqueeze(1) // powers % NUM_DIGITS).to(torch.uint8)


def _draw_distinct(size: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw `size` distinct rows of `width` random digits, [size, width] uint8.

    Rows with different beginnings differ, so only the digits that fit an int64 are compared.
    """
    compared = min(width, MAX_COUNTED_HALF)
    powers = NUM_DIGITS ** torch.arange(compared)
    rows = torch.empty(0, width, dtype=torch.uint8)
    while len(rows) < size:
        fresh = torch.randint(NUM_DIGITS, (size - len(rows), width), dtype=torch.uint8, generator=generator)
        rows = torch.cat([rows, fresh])
        keys = (rows[:, :compared].long() * powers).sum(1)
        _, group = torch.unique(keys, return_inverse=True)
        first = torch.full((int(group.max()) + 1,), len(rows)).scatter_reduce_(
            0, group, torch.arange(len(rows)), "amin"
        )
        rows = rows[first.sort().values]
    return rows
