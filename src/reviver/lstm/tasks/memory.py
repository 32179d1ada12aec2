"""Memory tasks of the literature, generated without end: copy, adding, temporal order, parity.

Each is a function that draws sequences; its docstring is its definition. Every epoch draws its own, as a function
of the run's seed and the epoch, and validation has fixed ones from a stream of their own. Nothing is held out: of
long sequences none comes twice, and of very short ones there are few (of bits 2^T).

Shapes: N sequences, T steps, I input size, C classes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from reviver.lstm.config import LSTMConfig, check_length, shortest
from reviver.lstm.tasks.task import CLOSE, Sequences, TargetKind, Task
from reviver.runs.rng import make_rng

COPIED, COPY_SYMBOLS = 10, 8
COPY_BLANK, COPY_DELIMITER = 0, COPY_SYMBOLS + 1

ORDER_START, ORDER_END, ORDER_X, ORDER_Y, ORDER_FIRST_DISTRACTOR = 0, 1, 2, 3, 4
ORDER_DISTRACTORS = 4

NOTHING = 255
"""Stands beyond the end of a sequence that is shorter than the longest."""


@dataclass(frozen=True)
class Symbols(Sequences):
    """Sequences of symbols 0 ... count - 1.

    Attributes:
        symbols: [N, T] uint8; beyond a sequence `NOTHING`.
        answers: the classes, [N] or at every step [N, T], uint8.
        lengths: steps of each, [N] int64, or None where all have T.
        count: how many symbols there are.
        encoding: `scalar`, the symbol as a number (I = 1), or `onehot` (I = count).
    """

    symbols: Tensor
    answers: Tensor
    lengths: Tensor | None
    count: int
    encoding: str

    @property
    def targets(self) -> Tensor:
        """The classes, [N] or [N, T] int64."""
        return self.answers.long()

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """The input at the steps begin <= t < end, [N, end - begin, I]; beyond a sequence 0."""
        symbols = self.symbols[:, begin:end]
        if self.encoding == "scalar":
            return torch.where(symbols == NOTHING, 0, symbols).unsqueeze(-1).float()
        return (symbols.unsqueeze(-1) == torch.arange(self.count, device=symbols.device)).float()


@dataclass(frozen=True)
class MarkedNumbers(Sequences):
    """Sequences of numbers, two of which are marked and are to be added.

    Attributes:
        numbers: [N, T] float32; beyond a sequence 0.
        marked: the places of the two, [N, 2] int64.
        lengths: steps of each, [N] int64, or None where all have T.
    """

    numbers: Tensor
    marked: Tensor
    lengths: Tensor | None

    @property
    def targets(self) -> Tensor:
        """The sums, [N] float32."""
        return self.numbers.gather(1, self.marked).sum(1)

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """The input at the steps begin <= t < end, [N, end - begin, 2]: the number, and 1 where it is marked, else 0."""
        numbers = self.numbers[:, begin:end]
        t = torch.arange(begin, begin + numbers.shape[1], device=numbers.device)
        is_marked = (t == self.marked[:, :1]) | (t == self.marked[:, 1:])  # [N, end - begin]
        return torch.stack([numbers, is_marked.float()], dim=-1)


def copy(lengths: Tensor, generator: torch.Generator, encoding: str = "onehot") -> Symbols:
    """Copy memory: say ten symbols again after T steps. `length` is T, and a sequence has T + 20 steps.

        x = s_1 ... s_10, T - 1 blanks, the delimiter, 10 blanks        s_k ~ U{1 ... 8}, blank 0, delimiter 9
        y = T + 10 blanks, s_1 ... s_10                                 a class at every step, C = 9

    Hochreiter & Schmidhuber (1997) introduced its kind; this form is that of Arjovsky, Shah & Bengio (2016).
    An answer is right if all ten symbols are. Chance: 8^-10. Baseline, blanks until the delimiter and then any of
    the 8 symbols: 10 ln 8 / (T + 20). All sequences have the same length, also while it grows.
    """
    length = int(lengths.max())
    assert int(lengths.min()) == length
    symbols = torch.randint(1, COPY_SYMBOLS + 1, (len(lengths), COPIED), generator=generator, dtype=torch.uint8)
    inputs = functional.pad(symbols, (0, length + COPIED), value=COPY_BLANK)  # [N, T + 20]
    inputs[:, COPIED + length - 1] = COPY_DELIMITER
    answers = functional.pad(symbols, (length + COPIED, 0), value=COPY_BLANK)
    return Symbols(inputs, answers, None, COPY_SYMBOLS + 2, encoding)


def adding(lengths: Tensor, generator: torch.Generator, encoding: str = "scalar") -> MarkedNumbers:
    """The adding problem: the sum of the two marked numbers among T. `length` is T, the steps.

        x_t = (u_t, m_t),  u_t ~ U[0, 1],  m_t = 1 at t = a and t = b, else 0
        a ~ U{0 ... ⌊T/2⌋ - 1},  b ~ U{⌊T/2⌋ ... T - 1}
        y = u_a + u_b, a number

    Hochreiter & Schmidhuber (1997); this form is that of Arjovsky, Shah & Bengio (2016). An answer is right within
    0.04, as in the former. Chance, always saying 1: 1 - 0.96² = 7.84 %. Baseline, the same: the variance of the
    sum, 1/6.
    """
    steps, half = int(lengths.max()), lengths // 2
    numbers = torch.rand(len(lengths), steps, generator=generator)
    marked = torch.stack([_places(0, half - 1, generator), _places(half, lengths - 1, generator)], dim=1)
    numbers.masked_fill_(torch.arange(steps) >= lengths.unsqueeze(1), 0.0)
    return MarkedNumbers(numbers, marked, _unless_equal(lengths))


def temporal_order(lengths: Tensor, generator: torch.Generator, encoding: str = "onehot") -> Symbols:
    """Temporal order: which of X and Y came first, and which second? `length` is T, the steps, at least 10.

        x = E, distractors ~ U{a, b, c, d}, B, with p at t = t_1 and q at t = t_2
        t_1 ~ U{⌊T/10⌋ ... ⌊T/5⌋},  t_2 ~ U{⌊T/2⌋ ... ⌊3T/5⌋},  p, q ~ U{X, Y}
        y = 2 [p = Y] + [q = Y], a class, C = 4

    Hochreiter & Schmidhuber (1997), experiment 6a, whose sequences are these at T = 100 to 110 (there with t_1
    in 10 ... 20 and t_2 in 50 ... 60). Chance: 1/4. Baseline: ln 4.
    """
    size, steps = len(lengths), int(lengths.max())
    symbols = torch.randint(ORDER_DISTRACTORS, (size, steps), generator=generator, dtype=torch.uint8)
    symbols += ORDER_FIRST_DISTRACTOR
    relevant = torch.randint(2, (size, 2), generator=generator, dtype=torch.uint8)  # 0 for X, 1 for Y
    first = _places(lengths // 10, lengths // 5, generator)
    second = _places(lengths // 2, lengths * 3 // 5, generator)
    symbols.scatter_(1, torch.stack([first, second], dim=1), ORDER_X + relevant)
    symbols[:, 0] = ORDER_START
    symbols.scatter_(1, lengths.unsqueeze(1) - 1, ORDER_END)
    symbols.masked_fill_(torch.arange(steps) >= lengths.unsqueeze(1), NOTHING)
    answers = 2 * relevant[:, 0] + relevant[:, 1]
    return Symbols(symbols, answers, _unless_equal(lengths), ORDER_FIRST_DISTRACTOR + ORDER_DISTRACTORS, encoding)


def parity(lengths: Tensor, generator: torch.Generator, encoding: str = "onehot") -> Symbols:
    """Parity: whether the number of ones among T bits is odd. `length` is T, the steps.

        x_t ~ U{0, 1},  y = (Σ x_t) mod 2, a class, C = 2

    Bengio, Simard & Frasconi (1994). Every bit decides, and from fewer than all of them nothing follows.
    Chance: 1/2. Baseline: ln 2.
    """
    steps = int(lengths.max())
    bits = torch.randint(2, (len(lengths), steps), generator=generator, dtype=torch.uint8)
    beyond = torch.arange(steps) >= lengths.unsqueeze(1)
    answers = (bits.masked_fill(beyond, 0).sum(1) % 2).to(torch.uint8)
    return Symbols(bits.masked_fill_(beyond, NOTHING), answers, _unless_equal(lengths), 2, encoding)


@dataclass(frozen=True)
class Problem:
    """What there is to know of a generated task besides its sequences.

    Attributes:
        draw: draws sequences of the given lengths, with a generator and the encoding of symbols.
        target, output_size, chance: see `Task`.
        baseline: loss of the best answer without memory at a length.
        width: I with one-hot symbols, or of the numbers.
        is_ragged: a batch may have sequences of different lengths.
    """

    draw: Callable[[Tensor, torch.Generator, str], Sequences]
    target: TargetKind
    output_size: int
    chance: float
    baseline: Callable[[int], float]
    width: int
    is_ragged: bool = True


PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        "copy": Problem(
            copy,
            "class at every step",
            COPY_SYMBOLS + 1,
            chance=COPY_SYMBOLS**-COPIED,
            baseline=lambda length: COPIED * math.log(COPY_SYMBOLS) / (length + 2 * COPIED),
            width=COPY_SYMBOLS + 2,
            is_ragged=False,
        ),
        "adding": Problem(adding, "number", 1, chance=1 - (1 - CLOSE) ** 2, baseline=lambda _: 1 / 6, width=2),
        "temporal-order": Problem(temporal_order, "class", 4, chance=1 / 4, baseline=lambda _: math.log(4), width=8),
        "parity": Problem(parity, "class", 2, chance=1 / 2, baseline=lambda _: math.log(2), width=2),
    }
)


class GeneratedTask(Task):
    """A `Problem` with a run's settings.

    An epoch has `data_size` × `train_fraction` fresh sequences and validation the rest, fixed. With `config.curriculum`
    an epoch's sequences have lengths from T/2 to T where the problem allows it; validation's have T.
    """

    def __init__(self, config: LSTMConfig) -> None:
        self.config = config
        self.problem = problem = PROBLEMS[config.task]
        self.target, self.output_size, self.chance = problem.target, problem.output_size, problem.chance
        self.input_size = 1 if config.encoding == "scalar" and problem.target != "number" else problem.width

    def baseline(self, length: int) -> float:
        """Loss of the best answer without memory, see `Task`."""
        return self.problem.baseline(length)

    def epoch_size(self, length: int) -> int:
        """How many sequences an epoch draws, see `Task`."""
        return self.config.epoch_size_at(length)

    def training(self, epoch: int, length: int) -> Sequences:
        """An epoch's own sequences, see `Task`."""
        generator = make_rng(self.config.seed, f"data/{epoch}")
        lengths = torch.full((self.epoch_size(length),), length)
        if self.config.curriculum and self.problem.is_ragged:
            least = max(shortest(self.config.task), (length + 1) // 2)
            lengths = torch.randint(min(least, length), length + 1, lengths.shape, generator=generator)
        return self.problem.draw(lengths, generator, self.config.encoding)

    def validation(self, length: int) -> Sequences:
        """The same sequences every time, see `Task`."""
        size = max(1, round((1 - self.config.train_fraction) * self.config.data_size))
        return self._fixed(length, size, "validation")

    def evaluation(self, length: int, size: int) -> tuple[Sequences, str]:
        """Sequences for a trained network, see `Task`."""
        return self._fixed(length, size, "evaluation"), "fresh sequences"

    def _fixed(self, length: int, size: int, purpose: str) -> Sequences:
        check_length(self.config.task, length)
        generator = make_rng(self.config.seed, f"{purpose}/{length}")
        return self.problem.draw(torch.full((size,), length), generator, self.config.encoding)


def _places(first: Tensor | int, last: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a place from first ... last for each sequence, [N] int64."""
    share = torch.rand(len(last), dtype=torch.float64, generator=generator)
    return first + (share * (last - first + 1)).long()


def _unless_equal(lengths: Tensor) -> Tensor | None:
    """The lengths, or None if all sequences have the same."""
    return None if bool((lengths == lengths.max()).all()) else lengths
