"""Sequences that are generated for every epoch, for tasks with `TaskDefinition.generate`.

The sequences of an epoch depend on the seed and the epoch; the validation sequences are fixed. Nothing is held out: a
long sequence hardly ever occurs twice, and there are few very short ones (2^T of bits).

Shapes: N sequences, T time, I input size.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reviver.data.task import Sequences, Task
from reviver.rng import make_rng
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import CustomClass, explaining
from reviver.settings.tasks import TaskDefinition
from reviver.settings.validation import refuse

PADDING = 255
"""Symbol after the end of a sequence that is shorter than the longest."""


@dataclass(frozen=True)
class Symbols(Sequences):
    """Sequences of symbols from 0 to `num_symbols` - 1."""

    symbols: Tensor
    """[N, T] uint8, padded with `PADDING`."""
    classes: Tensor
    """Target classes, [N], or [N, T] for one at every step, uint8; or numbers, [N] float32."""
    lengths: Tensor | None
    num_symbols: int
    encoding: str
    """`scalar`, the symbol as a number (I = 1), or `onehot` (I = num_symbols)."""

    @property
    def typed(self) -> Tensor:
        """The symbols, see `Sequences`."""
        return self.symbols

    @property
    def targets(self) -> Tensor:
        """Target classes, [N] or [N, T] int64, or numbers."""
        return self.classes if self.classes.is_floating_point() else self.classes.long()

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the input of the steps begin ≤ t < end, [N, end - begin, I], padded with 0."""
        return encode_symbols(self.symbols[:, begin:end], self.num_symbols, self.encoding)


def encode_symbols(symbols: Tensor, num_symbols: int, encoding: str) -> Tensor:
    """Return symbols [N, T] as numbers, [N, T, 1] (`scalar`), or one-hot, [N, T, num_symbols] (`onehot`); `PADDING` as 0."""
    if encoding == "scalar":
        return torch.where(symbols == PADDING, 0, symbols).unsqueeze(-1).float()
    return (symbols.unsqueeze(-1) == torch.arange(num_symbols, device=symbols.device)).float()


@dataclass(frozen=True)
class Numbers(Sequences):
    """Sequences of numbers."""

    x: Tensor
    """[N, T, I] float32, padded with 0, or pixels, uint8, from 0 (background) to 255."""
    lengths: Tensor | None
    targets: Tensor
    """[N], or [N, T] for one at every step; int64, or float32 for numbers."""

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the numbers of the steps begin ≤ t < end, [N, end - begin, I]; pixels become 0 to 1."""
        x = self.x[:, begin:end]
        return x if x.is_floating_point() else x.float() / 255


class GeneratedTask(Task):
    """A task whose definition generates the sequences.

    An epoch has `data_size` × `train_fraction` fresh sequences; the validation set has the rest, of length T. With a
    curriculum the training sequences have lengths from T/2 to T if `TaskDefinition.mixes_lengths`.
    """

    def epoch_size(self, length: int) -> int:
        """Return the number of training sequences per epoch, see `Task`."""
        return self.config.epoch_size_at(length)

    def training(self, epoch: int, length: int) -> Sequences:
        """Return the fresh sequences of an epoch, see `Task`."""
        rng = make_rng(self.config.seed, f"data/{epoch}")
        lengths = torch.full((self.epoch_size(length),), length)
        if self.config.curriculum and self.definition.mixes_lengths:
            shortest = max(self.definition.min_length, (length + 1) // 2)
            lengths = torch.randint(min(shortest, length), length + 1, lengths.shape, generator=rng)
        return generate(self.definition, lengths, rng, self.config.encoding)

    def validation(self, length: int) -> Sequences:
        """Return the fixed validation sequences of a length, see `Task`."""
        size = max(1, round((1 - self.config.train_fraction) * self.config.data_size))
        return self._fixed(length, size, "validation")

    def evaluation(self, length: int, size: int) -> tuple[Sequences, str]:
        """Return sequences to evaluate a network on, see `Task`."""
        return self._fixed(length, size, "evaluation"), "fresh sequences"

    def _fixed(self, length: int, size: int, purpose: str) -> Sequences:
        self.definition.check_length(length)
        rng = make_rng(self.config.seed, f"{purpose}/{length}")
        return generate(self.definition, torch.full((size,), length), rng, self.config.encoding)


def generate(task: TaskDefinition, lengths: Tensor, rng: torch.Generator, encoding: str) -> Symbols | Numbers:
    """Return new sequences of a task, of lengths T [N], padded."""
    x, targets = task.generate(lengths, rng)
    x = x.to(torch.uint8) if task.symbols else x
    mixed = None
    if bool((lengths != lengths.max()).any()):
        mixed, is_padding = lengths, torch.arange(x.shape[1]) >= lengths.unsqueeze(1)
        x.masked_fill_(is_padding if task.symbols else is_padding.unsqueeze(-1), PADDING if task.symbols else 0.0)
    if task.symbols is None:
        return Numbers(x, mixed, targets)
    classes = targets if task.target == "number" else targets.to(torch.uint8)
    return Symbols(x, classes, mixed, len(task.symbols), encoding)


def probe(task: TaskDefinition, part: CustomClass, config: LSTMConfig) -> None:
    """Raise a ConfigError unless the sequences of a user-defined task are those of the contract."""
    length = min(config.lengths)
    lengths = torch.tensor([length, max(task.min_length, length - 1) if task.mixes_lengths else length])
    with explaining("task", part, "generate(lengths, rng)"):
        x, targets = task.generate(lengths, torch.Generator().manual_seed(0))
    steps = x.shape[1] if isinstance(x, Tensor) and x.dim() > 1 else length
    classes = None if task.target == "number" else len(task.classes or ())
    symbols = None if task.symbols is None else len(task.symbols)
    expected = {
        "x": (x, [2, steps, *([] if symbols else [len(task.channels)])], symbols),
        "targets": (targets, [2, *([steps] if task.target == "class at every step" else [])], classes),
    }
    for name, (found, shape, limit) in expected.items():
        got = f"{[*found.shape]} {found.dtype}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        is_right = got.startswith(f"{shape} ") and found.is_floating_point() == (limit is None)
        if not is_right or not found.isfinite().all() or (limit and not 0 <= found.min() <= found.max() < limit):
            kind = f"integers below {limit}" if limit else "float32"
            problem = f"generate must return {name} of shape {shape}, finite {kind}, for lengths {lengths.tolist()}, got {got}"
            refuse("task", f"{part.name}: {problem}")
    if not (math.isfinite(task.chance) and math.isfinite(task.baseline(length))):
        refuse("task", f"{part.name} must have a number as `chance`, and `baseline(length)` must return one")
