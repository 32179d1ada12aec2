"""Palindromes, and their sets for training and validation.

Shapes: N sequences, B batch, T length of a palindrome (T - 1 steps), I input size.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from reviver.data.generated import encode_symbols
from reviver.data.task import Sequences, SplitName, Task
from reviver.rng import make_rng
from reviver.settings.tasks import DEFINITIONS, DIGITS
from reviver.settings.validation import refuse

NUM_DIGITS = len(DIGITS)
PERMUTATION_LIMIT = 10**7
"""Maximum number of palindromes for which a sample comes from a permutation of all; above, duplicates are rejected."""
MAX_INT64_DIGITS = 18
"""Maximum number of digits that fit into an int64."""


@dataclass(frozen=True)
class Palindromes(Sequences):
    """A set of palindromes, all of one length or of several.

    Only the first half of each is stored, because it determines the rest. The input of a sequence is all its digits but
    the last. The target is the last digit, which equals the first: the network must remember one digit over T - 2 steps
    of distractors.
    """

    halves: Tensor
    """First halves, [N, ⌈T/2⌉] uint8; a shorter palindrome uses only its first digits."""
    length: int
    """T of the longest palindrome."""
    palindrome_lengths: Tensor | None = None
    """Length of each palindrome, [N] int64; None if all have T."""
    encoding: str = "scalar"
    """`scalar` or `onehot`, see `encode_symbols`."""

    @property
    def steps(self) -> int:
        """T - 1, number of steps of the longest input."""
        return self.length - 1

    @property
    def lengths(self) -> Tensor | None:
        """Number of steps of each input, [N]; None if all are equal."""
        return None if self.palindrome_lengths is None else self.palindrome_lengths - 1

    @property
    def typed(self) -> Tensor:
        """Digits that the network reads, see `Sequences`."""
        return self.digits(0, self.steps)

    @property
    def targets(self) -> Tensor:
        """Digit to predict, [N] int64."""
        return self.halves[:, 0].long()

    def digits(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the digits of the steps begin ≤ t < end (T by default), [N, end - begin] uint8, padded with 0."""
        t = torch.arange(begin, self.length if end is None else end, device=self.halves.device)
        if self.palindrome_lengths is None:
            return self.halves[:, torch.minimum(t, self.length - 1 - t)]
        from_end = self.palindrome_lengths[:, None] - 1 - t  # [N, end - begin]
        digits = self.halves.gather(1, torch.minimum(t, from_end).clamp(min=0))
        return torch.where(from_end >= 0, digits, 0)

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the input of the steps begin ≤ t < end (T - 1 by default), [N, end - begin, I]."""
        return encode_symbols(self.digits(begin, self.steps if end is None else end), NUM_DIGITS, self.encoding)


class PalindromeTask(Task):
    """The task `palindrome`: prediction of the last digit.

    Without a curriculum the data are all palindromes of length T, or a sample of them, split once. With one, every epoch
    has fresh palindromes with lengths from `min_length_fraction` T to T; the validation set of each length is fixed and
    disjoint from the training data of that length.
    """

    @cached_property
    def splits(self) -> dict[SplitName, Palindromes]:
        """Training and validation set without a curriculum; if one would be empty, getting them is a `ConfigError`."""
        palindromes = self._make(self.config.length, self.config.data_size, "data")
        train_fraction, size = self.config.train_fraction, len(palindromes)
        train_size = round(train_fraction * size)
        if not 0 < train_size < size:
            problem = f"leaves the training or validation set of {size} sequences empty"
            refuse("train_fraction", f"{train_fraction} {problem}; give one nearer to 0.5, or more data")
        order = torch.randperm(size, generator=make_rng(self.config.seed, "split"))
        return {"train": palindromes[order[:train_size]], "validation": palindromes[order[train_size:]]}

    def epoch_size(self, length: int) -> int:
        """Return the number of training palindromes per epoch, see `Task`."""
        return self.config.epoch_size_at(length) if self.config.curriculum else len(self.splits["train"])

    def training(self, epoch: int, length: int) -> Palindromes:
        """Return the training palindromes of an epoch, see `Task`."""
        if not self.config.curriculum:
            return self.splits["train"]
        rng = make_rng(self.config.seed, f"data/{epoch}")
        min_length = max(2, math.ceil(self.config.min_length_fraction * length))
        lengths = torch.randint(min_length, length + 1, (self.epoch_size(length),), generator=rng)
        halves = _random_digits(len(lengths), half_length(length), rng)
        held_out = _keys(self.validation(length).halves)
        while len(rejected := (torch.isin(_keys(halves), held_out) & (lengths == length)).nonzero()[:, 0]):
            halves[rejected] = _random_digits(len(rejected), halves.shape[1], rng)
        return Palindromes(halves, length, lengths, self.config.encoding)

    def validation(self, length: int) -> Palindromes:
        """Return the validation palindromes of `length`, see `Task`."""
        if not self.config.curriculum:
            return self.splits["validation"]
        count = count_palindromes(length)
        size = round((1 - self.config.train_fraction) * min(self.config.data_size, count))
        return self._make(length, max(1, min(size, count - 1)), f"validation/{length}")  # one is left to train on

    def evaluation(self, length: int, size: int) -> tuple[Palindromes, str]:
        """Return palindromes of `length` to evaluate a network on, see `Task`."""
        if length == self.config.length and not self.config.curriculum:
            return self.splits["validation"], "validation set of the run"
        return self._make(length, size, f"evaluation/{length}"), "fresh palindromes"

    def _make(self, length: int, size: int, purpose: str) -> Palindromes:
        return make_palindromes(length, size, make_rng(self.config.seed, purpose), self.config.encoding)


def half_length(length: int) -> int:
    """Return ⌈T/2⌉, the number of digits that determine a palindrome of length T."""
    return (length + 1) // 2


def count_palindromes(length: int) -> int:
    """Return the number of palindromes of `length` digits: 10^⌈T/2⌉, leading zeros allowed, but at most 10^18."""
    return int(NUM_DIGITS ** min(half_length(length), MAX_INT64_DIGITS))


def make_palindromes(length: int, size: int, rng: torch.Generator, encoding: str = "scalar") -> Palindromes:
    """Return all palindromes of `length` digits in order if there are at most `size`, else `size` distinct random ones."""
    DEFINITIONS["palindrome"].check_length(length)
    half, count = half_length(length), count_palindromes(length)
    if count <= size and half <= MAX_INT64_DIGITS:
        halves = _to_digits(torch.arange(count), half)
    elif count <= PERMUTATION_LIMIT:
        halves = _to_digits(torch.randperm(count, generator=rng)[:size], half)
    else:
        halves = _random_distinct(size, half, rng)
    return Palindromes(halves, length, encoding=encoding)


def _to_digits(numbers: Tensor, width: int) -> Tensor:
    """Return the `width` decimal digits of numbers [N], most significant first, [N, width] uint8."""
    powers = NUM_DIGITS ** torch.arange(width - 1, -1, -1)
    return (numbers.unsqueeze(1) // powers % NUM_DIGITS).to(torch.uint8)


def _random_digits(size: int, width: int, rng: torch.Generator) -> Tensor:
    return torch.randint(NUM_DIGITS, (size, width), dtype=torch.uint8, generator=rng)


def _random_distinct(size: int, width: int, rng: torch.Generator) -> Tensor:
    """Return `size` distinct rows of random digits, [size, width] uint8; rows with different keys differ."""
    rows = torch.empty(0, width, dtype=torch.uint8)
    while len(rows) < size:
        rows = torch.cat([rows, _random_digits(size - len(rows), width, rng)])
        _, first = np.unique(_keys(rows).numpy(), return_index=True)
        rows = rows[torch.from_numpy(first).sort().values]
    return rows


def _keys(rows: Tensor) -> Tensor:
    """Return a key of each row of digits, [N] int64: the number of its first 18 digits."""
    compared = min(rows.shape[1], MAX_INT64_DIGITS)
    return (rows[:, :compared].long() * NUM_DIGITS ** torch.arange(compared)).sum(1)
