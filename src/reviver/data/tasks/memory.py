"""Memory tasks of the literature: copy, adding, temporal order, parity.

Each task is a function that generates random sequences; its docstring defines the task. Every epoch has fresh sequences,
which depend on the seed and the epoch; the validation sequences are fixed. Nothing is held out: a long sequence hardly
ever occurs twice, and there are few very short ones (2^T of bits).

Shapes: N sequences, T time, I input size, C classes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from reviver.data.tasks.task import TOLERANCE, Sequences, TargetKind, Task
from reviver.rng import make_rng
from reviver.settings.lstm import LSTMConfig, check_length, min_length

COPY_LENGTH, COPY_SYMBOLS = 10, 8
COPY_BLANK, COPY_DELIMITER = 0, COPY_SYMBOLS + 1
ORDER_START, ORDER_END, ORDER_X, ORDER_Y, ORDER_FIRST_DISTRACTOR = 0, 1, 2, 3, 4
ORDER_DISTRACTORS = 4
PADDING = 255
"""Symbol after the end of a sequence that is shorter than the longest."""


@dataclass(frozen=True)
class Symbols(Sequences):
    """Sequences of symbols from 0 to `num_symbols` - 1."""

    symbols: Tensor
    """[N, T] uint8, padded with `PADDING`."""
    classes: Tensor
    """Target classes, [N], or [N, T] for one at every step, uint8."""
    lengths: Tensor | None
    num_symbols: int
    encoding: str
    """`scalar`, the symbol as a number (I = 1), or `onehot` (I = num_symbols)."""

    @property
    def targets(self) -> Tensor:
        """Target classes, [N] or [N, T] int64."""
        return self.classes.long()

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the input of the steps begin ≤ t < end, [N, end - begin, I], padded with 0."""
        symbols = self.symbols[:, begin:end]
        if self.encoding == "scalar":
            return torch.where(symbols == PADDING, 0, symbols).unsqueeze(-1).float()
        return (symbols.unsqueeze(-1) == torch.arange(self.num_symbols, device=symbols.device)).float()


@dataclass(frozen=True)
class MarkedNumbers(Sequences):
    """Sequences of numbers, two of which are marked. The target is the sum of the two."""

    numbers: Tensor
    """[N, T] float32, padded with 0."""
    marked: Tensor
    """Steps of the two marked numbers, [N, 2] int64."""
    lengths: Tensor | None

    @property
    def targets(self) -> Tensor:
        """Sums of the marked numbers, [N] float32."""
        return self.numbers.gather(1, self.marked).sum(1)

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the input of the steps begin ≤ t < end, [N, end - begin, 2]: the number, and 1 if it is marked, else 0."""
        numbers = self.numbers[:, begin:end]
        t = torch.arange(begin, begin + numbers.shape[1], device=numbers.device)
        is_marked = (t == self.marked[:, :1]) | (t == self.marked[:, 1:])  # [N, end - begin]
        return torch.stack([numbers, is_marked.float()], dim=-1)


def copy(lengths: Tensor, rng: torch.Generator, encoding: str) -> Symbols:
    """Generate the copy memory task: repeat ten symbols after T steps. A sequence has T + 20 steps.

        x = s_1 ... s_10, T - 1 blanks, the delimiter, 10 blanks        s_k ~ U{1 ... 8}, blank 0, delimiter 9
        y = T + 10 blanks, s_1 ... s_10                                 a class at every step, C = 9

    Hochreiter & Schmidhuber (1997) introduced this kind of task; this form is that of Arjovsky, Shah & Bengio (2016).
    A sequence is correct if all ten symbols are. Chance: 8^-10. Baseline: 10 ln 8 / (T + 20), the loss of blanks until
    the delimiter and then uniform probabilities of the 8 symbols. All sequences of a batch have the same length, with a
    curriculum, too.
    """
    length = int(lengths.max())
    assert int(lengths.min()) == length, "all sequences have the same length"
    symbols = torch.randint(1, COPY_SYMBOLS + 1, (len(lengths), COPY_LENGTH), generator=rng, dtype=torch.uint8)
    inputs = functional.pad(symbols, (0, length + COPY_LENGTH), value=COPY_BLANK)  # [N, T + 20]
    inputs[:, COPY_LENGTH + length - 1] = COPY_DELIMITER
    classes = functional.pad(symbols, (length + COPY_LENGTH, 0), value=COPY_BLANK)
    return Symbols(inputs, classes, None, COPY_SYMBOLS + 2, encoding)


def adding(lengths: Tensor, rng: torch.Generator, encoding: str) -> MarkedNumbers:
    """Generate the adding problem: the sum of the two marked numbers among T. A sequence has T steps.

        x_t = (u_t, m_t),  u_t ~ U[0, 1],  m_t = 1 at t = a and t = b, else 0
        a ~ U{0 ... ⌊T/2⌋ - 1},  b ~ U{⌊T/2⌋ ... T - 1}
        y = u_a + u_b, a number

    Hochreiter & Schmidhuber (1997); this form is that of Arjovsky, Shah & Bengio (2016). A prediction is correct within
    0.04, as in the former. Chance and baseline are those of always predicting 1, the mean of the sum:
    1 - 0.96² = 7.84 %, and the variance of the sum, 1/6.
    """
    steps, half = int(lengths.max()), lengths // 2
    numbers = torch.rand(len(lengths), steps, generator=rng)
    marked = torch.stack([_random_steps(0, half - 1, rng), _random_steps(half, lengths - 1, rng)], dim=1)
    numbers.masked_fill_(torch.arange(steps) >= lengths.unsqueeze(1), 0.0)
    return MarkedNumbers(numbers, marked, _none_if_equal(lengths))


def temporal_order(lengths: Tensor, rng: torch.Generator, encoding: str) -> Symbols:
    """Generate the temporal order task: in which order did X and Y occur? A sequence has T ≥ 10 steps.

        x = E, distractors ~ U{a, b, c, d}, B, with p at t = t_1 and q at t = t_2
        t_1 ~ U{⌊T/10⌋ ... ⌊T/5⌋},  t_2 ~ U{⌊T/2⌋ ... ⌊3T/5⌋},  p, q ~ U{X, Y}
        y = 2 [p = Y] + [q = Y], a class, C = 4

    Hochreiter & Schmidhuber (1997), experiment 6a, with T from 100 to 110, t_1 from 10 to 20 and t_2 from
    50 to 60. Chance: 1/4. Baseline: ln 4.
    """
    size, steps = len(lengths), int(lengths.max())
    symbols = torch.randint(ORDER_DISTRACTORS, (size, steps), generator=rng, dtype=torch.uint8)
    symbols += ORDER_FIRST_DISTRACTOR
    relevant = torch.randint(2, (size, 2), generator=rng, dtype=torch.uint8)  # 0 for X, 1 for Y
    first = _random_steps(lengths // 10, lengths // 5, rng)
    second = _random_steps(lengths // 2, lengths * 3 // 5, rng)
    symbols.scatter_(1, torch.stack([first, second], dim=1), ORDER_X + relevant)
    symbols[:, 0] = ORDER_START
    symbols.scatter_(1, lengths.unsqueeze(1) - 1, ORDER_END)
    symbols.masked_fill_(torch.arange(steps) >= lengths.unsqueeze(1), PADDING)
    classes = 2 * relevant[:, 0] + relevant[:, 1]
    return Symbols(symbols, classes, _none_if_equal(lengths), ORDER_FIRST_DISTRACTOR + ORDER_DISTRACTORS, encoding)


def parity(lengths: Tensor, rng: torch.Generator, encoding: str) -> Symbols:
    """Generate the parity task: is the number of ones among T bits odd? A sequence has T steps.

        x_t ~ U{0, 1},  y = (Σ x_t) mod 2, a class, C = 2

    Bengio, Simard & Frasconi (1994). The class depends on every bit; any T - 1 of them say nothing about it.
    Chance: 1/2. Baseline: ln 2.
    """
    steps = int(lengths.max())
    bits = torch.randint(2, (len(lengths), steps), generator=rng, dtype=torch.uint8)
    is_padding = torch.arange(steps) >= lengths.unsqueeze(1)
    classes = (bits.masked_fill(is_padding, 0).sum(1) % 2).to(torch.uint8)
    return Symbols(bits.masked_fill_(is_padding, PADDING), classes, _none_if_equal(lengths), 2, encoding)


@dataclass(frozen=True)
class MemoryProblem:
    """Definition of a generated task; for the other fields see `Task`."""

    generate: Callable[[Tensor, torch.Generator, str], Sequences]
    """Function of the lengths T of the sequences [N], a random number generator and the encoding."""
    target: TargetKind
    output_size: int
    chance: float
    baseline: Callable[[int], float]
    """Function of T."""
    input_size: int
    """I of one-hot symbols, or of numbers."""
    mixes_lengths: bool = True
    """Whether a batch may have sequences of different lengths."""


PROBLEMS: Mapping[str, MemoryProblem] = MappingProxyType(
    {
        "copy": MemoryProblem(
            copy,
            "class at every step",
            COPY_SYMBOLS + 1,
            chance=COPY_SYMBOLS**-COPY_LENGTH,
            baseline=lambda length: COPY_LENGTH * math.log(COPY_SYMBOLS) / (length + 2 * COPY_LENGTH),
            input_size=COPY_SYMBOLS + 2,
            mixes_lengths=False,
        ),
        "adding": MemoryProblem(
            adding, "number", 1, chance=1 - (1 - TOLERANCE) ** 2, baseline=lambda _: 1 / 6, input_size=2
        ),
        "temporal-order": MemoryProblem(
            temporal_order, "class", 4, chance=1 / 4, baseline=lambda _: math.log(4), input_size=8
        ),
        "parity": MemoryProblem(parity, "class", 2, chance=1 / 2, baseline=lambda _: math.log(2), input_size=2),
    }
)


class GeneratedTask(Task):
    """A task that generates the sequences of a `MemoryProblem`.

    An epoch has `data_size` × `train_fraction` fresh sequences; the validation set has the rest, of length T. With a
    curriculum the training sequences have lengths from T/2 to T if `MemoryProblem.mixes_lengths`.
    """

    def __init__(self, config: LSTMConfig) -> None:
        self.config = config
        problem = self.problem
        self.target, self.output_size, self.chance = problem.target, problem.output_size, problem.chance
        self.input_size = 1 if config.encoding == "scalar" and problem.target != "number" else problem.input_size

    @property
    def problem(self) -> MemoryProblem:
        """Definition of the task; no attribute, since its functions cannot be pickled, but a loaded run can be."""
        return PROBLEMS[self.config.task]

    def baseline(self, length: int) -> float:
        """Return the loss of the best prediction without memory, see `Task`."""
        return self.problem.baseline(length)

    def epoch_size(self, length: int) -> int:
        """Return the number of training sequences per epoch, see `Task`."""
        return self.config.epoch_size_at(length)

    def training(self, epoch: int, length: int) -> Sequences:
        """Return the fresh sequences of an epoch, see `Task`."""
        rng = make_rng(self.config.seed, f"data/{epoch}")
        lengths = torch.full((self.epoch_size(length),), length)
        if self.config.curriculum and self.problem.mixes_lengths:
            shortest = max(min_length(self.config.task), (length + 1) // 2)
            lengths = torch.randint(min(shortest, length), length + 1, lengths.shape, generator=rng)
        return self.problem.generate(lengths, rng, self.config.encoding)

    def validation(self, length: int) -> Sequences:
        """Return the fixed validation sequences of a length, see `Task`."""
        size = max(1, round((1 - self.config.train_fraction) * self.config.data_size))
        return self._fixed(length, size, "validation")

    def evaluation(self, length: int, size: int) -> tuple[Sequences, str]:
        """Return sequences to evaluate a network on, see `Task`."""
        return self._fixed(length, size, "evaluation"), "fresh sequences"

    def _fixed(self, length: int, size: int, purpose: str) -> Sequences:
        check_length(self.config.task, length)
        rng = make_rng(self.config.seed, f"{purpose}/{length}")
        return self.problem.generate(torch.full((size,), length), rng, self.config.encoding)


def _random_steps(first: Tensor | int, last: Tensor, rng: torch.Generator) -> Tensor:
    """Return a random step from `first` to `last` for each sequence, [N] int64."""
    fraction = torch.rand(len(last), dtype=torch.float64, generator=rng)
    return first + (fraction * (last - first + 1)).long()


def _none_if_equal(lengths: Tensor) -> Tensor | None:
    """Return the lengths, or None if all are equal."""
    return None if bool((lengths == lengths.max()).all()) else lengths
