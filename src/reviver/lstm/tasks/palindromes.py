"""Palindromes, the report's task: the last digit of a palindrome from all digits before it.

Shapes: N sequences, B batch, T the length of a whole palindrome, I input size.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reviver.config import Count
from reviver.errors import ConfigError
from reviver.lstm.config import LSTMConfig, check_length
from reviver.lstm.tasks.task import Sequences, Task
from reviver.runs.rng import make_rng
from reviver.validation import check

NUM_DIGITS = 10
"""Digits 0 ... 9: the classes of the palindrome task, and the base of its numbers."""

PERMUTATION_LIMIT = 10**7
"""Up to this many palindromes are sampled by a permutation of all; beyond it by drawing until none repeats."""

MAX_COUNTED_HALF = 18
"""Halves of up to this many digits are numbers that an int64 holds."""


@dataclass(frozen=True)
class Palindromes(Sequences):
    """A set of palindromes, all of one length or of several.

    Only the first half of each is stored, since it fixes the rest: [N, ⌈T/2⌉] bytes. The input of an
    example is all its digits but the last, its class the last, which equals the first: the network must carry
    one digit across T - 2 steps of distractors.

    Attributes:
        halves: first halves, [N, ⌈T/2⌉] uint8; of a shorter palindrome only the first digits count.
        length: T, of the longest.
        whole_lengths: the length of each, [N] int64, or None where all have T.
        encoding: how a digit enters the network, see `encode_digits`.
    """

    halves: Tensor
    length: int
    whole_lengths: Tensor | None = None
    encoding: str = "scalar"

    def __post_init__(self) -> None:
        assert self.halves.shape[1] == half_length(self.length)

    @property
    def steps(self) -> int:
        """T - 1, the steps of the longest input."""
        return self.length - 1

    @property
    def lengths(self) -> Tensor | None:
        """The steps of each input, [N], or None where all are equal."""
        return None if self.whole_lengths is None else self.whole_lengths - 1

    @property
    def targets(self) -> Tensor:
        """The digit to predict, [N] int64."""
        return self.halves[:, 0].long()

    def digits(self, begin: int = 0, end: int | None = None) -> Tensor:
        """The digits at the places begin <= t < end (T by default), [N, end - begin] uint8; beyond a palindrome, 0."""
        t = torch.arange(begin, self.length if end is None else end, device=self.halves.device)
        if self.whole_lengths is None:
            return self.halves[:, torch.minimum(t, self.length - 1 - t)]
        from_end = self.whole_lengths[:, None] - 1 - t  # [N, end - begin]
        digits = self.halves.gather(1, torch.minimum(t, from_end).clamp(min=0))
        return torch.where(from_end >= 0, digits, 0)

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """The input at the steps begin <= t < end (T - 1 by default), [N, end - begin, I]."""
        return encode_digits(self.digits(begin, self.steps if end is None else end), self.encoding)


class Split(NamedTuple):
    """Disjoint parts of one set."""

    train: Palindromes
    validation: Palindromes


class PalindromeTask(Task):
    """Palindromes of one length, all of them or a sample, divided once; or, with `config.curriculum`, fresh ones of growing length.

    While the length grows each epoch draws its own palindromes, with lengths from `config.min_length_fraction` T to T. The validation part
    of a length is fixed, and none of it is ever trained on at that length.
    """

    output_size = NUM_DIGITS
    chance = 1 / NUM_DIGITS

    def __init__(self, config: LSTMConfig) -> None:
        self.config = config
        self.input_size = 1 if config.encoding == "scalar" else NUM_DIGITS

    def baseline(self, length: int) -> float:
        """Loss of the best answer without memory, see `Task`."""
        return math.log(NUM_DIGITS)

    @cached_property
    def split(self) -> Split:
        """The two parts of the palindromes of the run's own length."""
        palindromes = self._make(self.config.length, self.config.data_size, "data")
        return split_palindromes(palindromes, self.config.train_fraction, self.config.seed)

    def epoch_size(self, length: int) -> int:
        """How many palindromes an epoch trains on, see `Task`."""
        return self.config.epoch_size_at(length) if self.config.curriculum else len(self.split.train)

    def training(self, epoch: int, length: int) -> Palindromes:
        """What an epoch trains on, see `Task`."""
        if not self.config.curriculum:
            return self.split.train
        generator = make_rng(self.config.seed, f"data/{epoch}")
        shortest = max(2, math.ceil(self.config.min_length_fraction * length))
        lengths = torch.randint(shortest, length + 1, (self.epoch_size(length),), generator=generator)
        halves = _draw_digits(len(lengths), half_length(length), generator)
        held_out = _keys(self.validation(length).halves)
        while len(again := (torch.isin(_keys(halves), held_out) & (lengths == length)).nonzero()[:, 0]):
            halves[again] = _draw_digits(len(again), halves.shape[1], generator)
        return Palindromes(halves, length, lengths, self.config.encoding)

    def validation(self, length: int) -> Palindromes:
        """Palindromes of `length` that are not trained on, see `Task`."""
        if not self.config.curriculum:
            return self.split.validation
        size = max(1, round((1 - self.config.train_fraction) * min(self.config.data_size, count_palindromes(length))))
        return self._make(length, size, f"validation/{length}")

    def evaluation(self, length: int, size: int) -> tuple[Palindromes, str]:
        """Palindromes of `length` for a trained network, see `Task`."""
        if length == self.config.length and not self.config.curriculum:
            return self.split.validation, "the run's validation part"
        return self._make(length, size, f"evaluation/{length}"), "fresh palindromes"

    def _make(self, length: int, size: int, purpose: str) -> Palindromes:
        return make_palindromes(length, size, make_rng(self.config.seed, purpose), self.config.encoding)


def half_length(length: int) -> int:
    """⌈T/2⌉, the digits that fix a palindrome of length T."""
    return (length + 1) // 2


def count_palindromes(length: int) -> int:
    """How many palindromes of `length` digits there are: 10^⌈T/2⌉, leading zeros allowed; beyond an int64, 10^18."""
    return int(NUM_DIGITS ** min(half_length(length), MAX_COUNTED_HALF))


def make_palindromes(length: int, size: int, generator: torch.Generator, encoding: str = "scalar") -> Palindromes:
    """Return all palindromes of `length` digits in order if there are at most `size`, else `size` distinct random ones.

    Raises:
        ConfigError: if `length` is below 2 or `size` below 1.
    """
    check_length("palindrome", length)
    check("size", size, Count)
    half, count = half_length(length), count_palindromes(length)
    if count <= size and half <= MAX_COUNTED_HALF:
        halves = _to_digits(torch.arange(count), half)
    elif count <= PERMUTATION_LIMIT:
        halves = _to_digits(torch.randperm(count, generator=generator)[:size], half)
    else:
        halves = _draw_distinct(size, half, generator)
    return Palindromes(halves, length, encoding=encoding)


def split_palindromes(palindromes: Palindromes, train_fraction: float, seed: int) -> Split:
    """Divide `palindromes` at random into two disjoint parts, both of them non-empty.

    Raises:
        ConfigError: if there are too few for that.
    """
    train_size = round(train_fraction * len(palindromes))
    if not 0 < train_size < len(palindromes):
        raise ConfigError(
            f"train_fraction {train_fraction} leaves a part of {len(palindromes)} sequences empty; "
            "choose one nearer to 0.5, or more data"
        )
    order = torch.randperm(len(palindromes), generator=make_rng(seed, "split"))
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


def _draw_digits(size: int, width: int, generator: torch.Generator) -> Tensor:
    return torch.randint(NUM_DIGITS, (size, width), dtype=torch.uint8, generator=generator)


def _draw_distinct(size: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw `size` distinct rows of `width` random digits, [size, width] uint8.

    Rows with different beginnings differ, so only those are compared, see `_keys`.
    """
    rows = torch.empty(0, width, dtype=torch.uint8)
    while len(rows) < size:
        rows = torch.cat([rows, _draw_digits(size - len(rows), width, generator)])
        _, first = np.unique(_keys(rows).numpy(), return_index=True)
        rows = rows[torch.from_numpy(first).sort().values]
    return rows


def _keys(rows: Tensor) -> Tensor:
    """A number for each row of digits, [N] int64, by its first digits, as many as an int64 holds."""
    compared = min(rows.shape[1], MAX_COUNTED_HALF)
    return (rows[:, :compared].long() * NUM_DIGITS ** torch.arange(compared)).sum(1)
