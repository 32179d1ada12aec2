"""The tasks of the LSTM by name. Each is one class with all that anybody asks of it: words, allowed lengths, sequences.

Settings, presets, model cards, explorer and docs read it. A new task is a class and an entry of `DEFINITIONS`. torch is imported
where it is needed, since `--help` reads the classes, too.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field

from reviver.settings.parts import CustomClass, explaining, name_or_reference
from reviver.settings.validation import check, refuse
from reviver.text import short_repr

if TYPE_CHECKING:
    import torch

TargetKind = Literal["class", "class at every step", "number"]
"""Kind of the targets of a batch.

- `class`: one of C classes after the last step. Targets [B] int64, outputs [B, C]; the loss is the cross-entropy.
- `class at every step`: targets [B, T] int64, outputs [B, T, C]; the loss is the mean cross-entropy of all steps.
- `number`: a real number after the last step. Targets [B] float32, outputs [B, 1]; the loss is the squared error.
"""
Rule = Literal["palindrome", "parity", "marked sum", "copy", "order"]
"""How the target of any sequence follows from it, for the explorer, where a user types sequences.

- `palindrome`: the class with the number of the first symbol.
- `parity`: whether the sum is odd.
- `marked sum`: the sum of the numbers before a 1 in the second channel.
- `copy`: the ten first symbols once more, at the end.
- `order`: the order of the two symbols that are 2 or 3.
"""
TOLERANCE = 0.04
"""Maximum error of a correct number (Hochreiter & Schmidhuber 1997, for the adding problem)."""
MAX_SYMBOLS = 255
"""Maximum number of symbols, and of their classes, which are bytes."""
DIGITS = tuple("0123456789")


def memory_preset(**changes: Any) -> Mapping[str, Any]:
    """Return the preset of a memory task: what they have in common, with `changes`."""
    same = {"curriculum": True, "data_size": 4000, "train_fraction": 0.9, "epochs": 400, "hidden_dropout": 0.0}
    return same | {"optimizer": "adam", "max_norm": 1.0} | changes


def mnist_preset(**changes: Any) -> Mapping[str, Any]:
    """Return the preset of a task that reads images, likewise."""
    same = {"data_size": 60_000, "train_fraction": 0.95, "hidden_dropout": 0.0, "optimizer": "adam", "max_norm": 1.0}
    return same | {"lr_schedule": "cosine", "checkpoint_every": 1} | changes


class TaskDefinition:
    """Definition of a task: what it asks for, and its sequences of any allowed length T.

    A subclass names its `classes` or has the target `number`, names the `symbols` or the `channels` that it reads, and
    has `generate`, or `build` for data that are not generated. All else has a default.
    """

    name: str
    """Name, as `--task` takes it; this module and `build_definition` set it."""
    goal: str = "solve its task"
    """What a network has learned, after "trained to"."""
    inputs: str = "numbers"
    """Meaning of the input."""
    target: TargetKind = "class"
    classes: tuple[str, ...] | None = None
    """Names of the C classes, in the order of their indices; None for numbers."""
    symbols: tuple[str, ...] | None = None
    """Names of the symbols that a sequence has, in the order of their numbers; None if it has numbers."""
    channels: tuple[str, ...] = ("value",)
    """Names of the numbers of a step, of a task without symbols."""
    noun: str = "symbol"
    """Name of a symbol in texts."""
    rule: Rule | None = None
    """How a target follows from the sequence; None if a user has to choose it."""
    data_set: str | None = None
    """Name of the built-in images that it reads."""
    min_length: int = 2
    """Minimum T."""
    lengths: tuple[int, ...] | None = None
    """Allowed T; None: all from `min_length`."""
    has_curriculum: bool = True
    """Whether there are sequences of several lengths."""
    mixes_lengths: bool = True
    """Whether a batch may have sequences of different lengths."""
    preset: Mapping[str, Any] = MappingProxyType({})
    """Settings of the preset of this name; empty if there is none."""
    purpose: str = ""
    """A sentence on that preset."""
    seconds: float = 0.0
    """Seconds of its training on two cores of an AMD EPYC server."""

    @property
    def chance(self) -> float:
        """Accuracy of the best constant guess: by default of equally frequent classes."""
        return 1 / len(self.classes) if self.classes else math.nan

    def baseline(self, length: int) -> float:
        """Return the loss of the best prediction without memory at a length: by default of equally frequent classes."""
        return math.log(len(self.classes)) if self.classes else math.nan

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Return new sequences of lengths T [N]: symbols [N, T] from 0, or numbers [N, T, I], and their targets.

        Steps after the end of a sequence may hold anything. For the targets see `TargetKind`.
        """
        raise NotImplementedError

    def build(self, config: Any) -> Any:
        """Return the `Task` of a run with the settings `config`; None: its sequences are generated."""
        return None

    def check_length(self, length: int) -> None:
        """Raise a ConfigError with the allowed lengths unless `length` is allowed."""
        if self.lengths is None:
            check("length", length, Annotated[int, Field(ge=self.min_length)])
        elif length not in self.lengths:
            values = " or ".join(map(str, self.lengths))
            refuse("length", f"must be {values} for the task {self.name}, got {short_repr(length)}")


def random_steps(first: "torch.Tensor | int", last: "torch.Tensor", rng: "torch.Generator") -> "torch.Tensor":
    """Return a random step from `first` to `last` for each sequence, [N] int64."""
    import torch

    fraction = torch.rand(len(last), dtype=torch.float64, generator=rng)
    return first + (fraction * (last - first + 1)).long()


class Palindrome(TaskDefinition):
    """The last digit of a palindrome of length T, which equals the first, from its T - 1 others, C = 10."""

    goal = "predict the last digit of a palindrome from all digits before it"
    inputs = "digits of a palindrome, all but the last"
    symbols = classes = DIGITS
    noun = "digit"
    rule = "palindrome"


class Adding(TaskDefinition):
    """Adding problem. A sequence has T steps.

        x_t = (u_t, m_t),  u_t ~ U[0, 1],  m_t = 1 at t = a and t = b, else 0
        a ~ U{0 ... ⌊T/2⌋ - 1},  b ~ U{⌊T/2⌋ ... T - 1}
        y = u_a + u_b, a number

    Hochreiter & Schmidhuber (1997); this form is that of Arjovsky, Shah & Bengio (2016). A prediction is correct within
    0.04, as in the former. Chance and baseline are those of always predicting 1, the mean of the sum:
    1 - 0.96² = 7.84 %, and the variance of the sum, 1/6.
    """

    goal = "add the two marked numbers of a sequence"
    inputs = "pairs: a number from 0 to 1, and 1 if it is marked, else 0"
    target = "number"
    channels = ("number", "marker")
    rule = "marked sum"
    chance = 1 - (1 - TOLERANCE) ** 2
    preset = memory_preset(
        length=750,
        length_factor=3.0,
        threshold=0.4,
        last_threshold=0.3,
        data_size=2000,
        init="chrono",
        epochs=80,
        batch_size=32,
        learning_rate=2e-3,
        lr_schedule="cosine",
    )
    purpose = "Add the two marked numbers of 750."
    seconds = 73

    def baseline(self, length: int) -> float:
        """Return the loss without memory, see the class."""
        return 1 / 6

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        steps, half = int(lengths.max()), lengths // 2
        numbers = torch.rand(len(lengths), steps, generator=rng)
        marked = torch.stack([random_steps(0, half - 1, rng), random_steps(half, lengths - 1, rng)], dim=1)  # a and b
        marks = torch.zeros_like(numbers).scatter_(1, marked, 1.0)
        return torch.stack([numbers, marks], dim=-1), numbers.gather(1, marked).sum(1)


COUNT, NUM_SYMBOLS = 10, 8
BLANK, DELIMITER = 0, NUM_SYMBOLS + 1


class Copy(TaskDefinition):
    """Copy memory task. A sequence has T + 20 steps.

        x = s_1 ... s_10, T - 1 blanks, the delimiter, 10 blanks        s_k ~ U{1 ... 8}, blank 0, delimiter 9
        y = T + 10 blanks, s_1 ... s_10                                 a class at every step, C = 9

    Hochreiter & Schmidhuber (1997) introduced this kind of task; this form is that of Arjovsky, Shah & Bengio (2016).
    A sequence is correct if all ten symbols are. Chance: 8^-10. Baseline: 10 ln 8 / (T + 20), the loss of blanks until
    the delimiter and then uniform probabilities of the 8 symbols. All sequences of a batch have the same length, with a
    curriculum, too.
    """

    goal = "repeat ten symbols after many blanks"
    inputs = "symbols: ten from 1 to 8, blanks (0), the delimiter (9), ten blanks"
    target = "class at every step"
    classes = ("blank", *map(str, range(1, NUM_SYMBOLS + 1)))
    symbols = (*classes, "delimiter")
    rule = "copy"
    mixes_lengths = False
    chance = NUM_SYMBOLS**-COUNT
    preset = memory_preset(
        length=500,
        encoding="onehot",
        start_length=2,
        length_factor=1.5,
        threshold=0.98,
        last_threshold=0.99,
        batch_size=32,
        learning_rate=5e-3,
    )
    purpose = "Repeat ten symbols after 500 steps."
    seconds = 70

    def baseline(self, length: int) -> float:
        """Return the loss without memory, see the class."""
        return COUNT * math.log(NUM_SYMBOLS) / (length + 2 * COUNT)

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, all of the same length, see `TaskDefinition.generate`."""
        import torch
        from torch.nn import functional

        length = int(lengths.max())
        assert int(lengths.min()) == length, "all sequences have the same length"
        symbols = torch.randint(1, NUM_SYMBOLS + 1, (len(lengths), COUNT), generator=rng, dtype=torch.uint8)
        inputs = functional.pad(symbols, (0, length + COUNT), value=BLANK)  # [N, T + 20]
        inputs[:, COUNT + length - 1] = DELIMITER
        classes = functional.pad(symbols, (length + COUNT, 0), value=BLANK)
        return inputs, classes


class Parity(TaskDefinition):
    """Parity of T bits. A sequence has T steps.

        x_t ~ U{0, 1},  y = (Σ x_t) mod 2, a class, C = 2

    Bengio, Simard & Frasconi (1994). The class depends on every bit; any T - 1 of them say nothing about it.
    """

    goal = "tell whether the number of ones among bits is odd"
    inputs = "bits"
    symbols, classes = ("0", "1"), ("even", "odd")
    noun = "bit"
    rule = "parity"
    preset = memory_preset(length=1000, encoding="onehot", start_length=2)
    purpose = "Tell whether the number of ones in 1000 bits is odd."
    seconds = 60

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        steps = int(lengths.max())
        bits = torch.randint(2, (len(lengths), steps), generator=rng, dtype=torch.uint8)
        is_padding = torch.arange(steps) >= lengths.unsqueeze(1)
        return bits, bits.masked_fill(is_padding, 0).sum(1) % 2


SIDE = 28


class RowMNIST(TaskDefinition):
    """MNIST digits (LeCun & Cortes), of which a step is a row from the top, T = 28, I = 28, C = 10.

    Chance is the fraction of ones, the most frequent digit, in the test set; the baseline is the entropy of the test
    digits, in nats.
    """

    goal = "classify handwritten digits that it reads row by row"
    inputs = "rows of an image, pixels from 0 (background) to 1"
    classes = DIGITS
    channels = tuple(f"column {index + 1}" for index in range(SIDE))
    data_set = "mnist"
    lengths: tuple[int, ...] | None = (SIDE,)
    has_curriculum = False
    chance = 0.1135
    preset = mnist_preset(length=SIDE, epochs=10, learning_rate=2e-3)
    purpose = "Recognize a digit, read row by row."
    seconds = 155

    def baseline(self, length: int) -> float:
        """Return the loss without memory, see the class."""
        return 2.300848


class PixelMNIST(RowMNIST):
    """MNIST digits, of which a step is a pixel, in row-major order, I = 1, C = 10 (Le, Jaitly & Hinton 2015).

    T = 784, or for images downsampled by averaging to 14 × 28, 14 × 14, 7 × 14 or 7 × 7, T = 392, 196, 98 or 49.
    Chance and baseline are those of `RowMNIST`.
    """

    goal = "classify handwritten digits that it reads pixel by pixel"
    inputs = "pixels of an image, row by row, from 0 (background) to 1"
    channels = ("pixel",)
    lengths = (49, 98, 196, 392, SIDE**2)
    has_curriculum = True
    preset = mnist_preset(
        length=SIDE**2,
        curriculum=True,
        start_length=49,
        threshold=0.94,
        last_threshold=0.98,
        lr_length_exponent=0.5,
        epochs=30,
        batch_size=32,
    )
    purpose = "Recognize a digit, read pixel by pixel."
    seconds = 2230


START, END, X, FIRST_DISTRACTOR = 0, 1, 2, 4
DISTRACTORS = "abcd"


class TemporalOrder(TaskDefinition):
    """Temporal order of two symbols. A sequence has T ≥ 10 steps.

        x = E, distractors ~ U{a, b, c, d}, B, with p at t = t_1 and q at t = t_2
        t_1 ~ U{⌊T/10⌋ ... ⌊T/5⌋},  t_2 ~ U{⌊T/2⌋ ... ⌊3T/5⌋},  p, q ~ U{X, Y}
        y = 2 [p = Y] + [q = Y], a class, C = 4

    Hochreiter & Schmidhuber (1997), experiment 6a, with T from 100 to 110, t_1 from 10 to 20 and t_2 from
    50 to 60.
    """

    goal = "tell in which order two symbols occurred"
    inputs = "symbols: the start (0), X (2) and Y (3) among distractors (4 to 7), the end (1)"
    symbols = ("start", "end", "X", "Y", *DISTRACTORS)
    classes = ("XX", "XY", "YX", "YY")
    rule = "order"
    min_length = 10
    preset = memory_preset(
        length=100, encoding="onehot", length_factor=1.5, hidden_dropout=0.5, batch_size=32, optimizer="rmsprop"
    )
    purpose = "Tell the order of two symbols in 100."
    seconds = 18

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        size, steps = len(lengths), int(lengths.max())
        symbols = torch.randint(len(DISTRACTORS), (size, steps), generator=rng, dtype=torch.uint8)
        symbols += FIRST_DISTRACTOR
        relevant = torch.randint(2, (size, 2), generator=rng, dtype=torch.uint8)  # 0 for X, 1 for Y
        first = random_steps(lengths // 10, lengths // 5, rng)
        second = random_steps(lengths // 2, lengths * 3 // 5, rng)
        symbols.scatter_(1, torch.stack([first, second], dim=1), X + relevant)
        symbols[:, 0] = START
        symbols.scatter_(1, lengths.unsqueeze(1) - 1, END)
        return symbols, 2 * relevant[:, 0] + relevant[:, 1]


class Modular(TaskDefinition):
    """Sum of T digits modulo 5. A sequence has T steps.

        x_t ~ U{0 ... 4},  y = (Σ x_t) mod 5, a class, C = 5

    Modular arithmetic without brackets of Delétang et al. (2022), with the one operation that has no priority.
    """

    goal = "add digits modulo 5"
    inputs = "digits from 0 to 4"
    symbols = classes = DIGITS[:5]
    noun = "digit"

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        digits = torch.randint(5, (len(lengths), int(lengths.max())), generator=rng, dtype=torch.uint8)
        return digits, digits.masked_fill(torch.arange(digits.shape[1]) >= lengths.unsqueeze(1), 0).sum(1) % 5


PERMUTATIONS = ("abc", "acb", "bac", "bca", "cab", "cba")


class Permutations(TaskDefinition):
    """Product of permutations of three things, the group S₃. A sequence has T steps.

        x_t ~ U(S₃),  y = x_1 x_2 ... x_T, a class, C = 6: after x_1, ..., x_t-1, x_t permutes the positions

    A word problem of a group that is not commutative (Merrill, Petty & Sabharwal 2024), so that the order counts.
    """

    goal = "tell how shuffles have ordered three things"
    inputs = "permutations of three things"
    symbols = classes = PERMUTATIONS
    noun = "permutation"

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        product = [["".join(p["abc".index(k)] for k in q) for q in PERMUTATIONS] for p in PERMUTATIONS]
        table = torch.tensor([[PERMUTATIONS.index(name) for name in row] for row in product])
        x = torch.randint(6, (len(lengths), int(lengths.max())), generator=rng, dtype=torch.uint8)
        state = torch.zeros_like(lengths)
        for t in range(x.shape[1]):
            state = torch.where(t < lengths, table[state, x[:, t].long()], state)
        return x, state


class Counting(TaskDefinition):
    """Comparison of two counts, aⁿbᵐ. A sequence has T steps.

        x = T - n - m blanks, n times a, m times b,  n ~ U{2 ... ⌊(T - 1)/2⌋},  m - n ~ U{-1, 0, 1},  y = m - n + 1, C = 3

    Whether n = m is the language aⁿbⁿ of Gers & Schmidhuber (2001).
    """

    goal = "tell whether as many b as a were read"
    inputs = "symbols: blanks (0), then a (1), then b (2)"
    symbols = ("blank", "a", "b")
    classes = ("fewer b", "equal", "more b")
    min_length = 5

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        n = random_steps(2, (lengths - 1) // 2, rng)
        more = torch.randint(-1, 2, (len(lengths),), generator=rng)
        left = lengths.unsqueeze(1) - torch.arange(int(lengths.max()))  # steps that are left, this one included
        x = (left <= (2 * n + more).unsqueeze(1)).to(torch.uint8) + (left <= (n + more).unsqueeze(1))
        return x.to(torch.uint8), more + 1


MAX_DEPTH = 5


class Nesting(TaskDefinition):
    """Depth of open brackets, the words that begin those of Dyck-1. A sequence has T steps.

        x_t = ( with probability 0.3, ) with 0.5, a letter with 0.2; if no bracket is open, ( or a letter with 0.5 each
        y = min(open brackets, 5), a class, C = 6

    Only the number of open brackets counts, so one counter is enough (Suzgun et al. 2019). Chance is the share of depth 0, and of
    depth 1, in long words, and the baseline the entropy of the depth, in nats.
    """

    goal = "tell how many brackets are open"
    inputs = "symbols: a letter (0), an opening bracket (1), a closing one (2)"
    symbols = ("letter", "(", ")")
    classes = (*DIGITS[:MAX_DEPTH], f"{MAX_DEPTH} or more")
    chance = 0.4 / 1.4  # depth k > 0 has 0.6 ** (k - 1) times the probability of depth 0

    def baseline(self, length: int) -> float:
        """Return the loss without memory, see the class."""
        shares = [self.chance * 0.6 ** max(0, depth - 1) for depth in range(MAX_DEPTH)]
        return -sum(share * math.log(share) for share in (*shares, 1 - sum(shares)))

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        u = torch.rand(len(lengths), int(lengths.max()), generator=rng)
        x, depth = torch.zeros_like(u, dtype=torch.uint8), torch.zeros_like(lengths)
        for t in range(u.shape[1]):
            opens, closes = u[:, t] < torch.where(depth > 0, 0.3, 0.5), (u[:, t] >= 0.5) & (depth > 0)
            x[:, t] = opens + 2 * closes
            depth += (t < lengths) * (opens.long() - closes.long())
        return x, depth.clamp(max=MAX_DEPTH)


PAIRS, NUM_KEYS = 3, 6


class AssociativeRecall(TaskDefinition):
    """Recall of the value of a key. A sequence has T ≥ 7 steps.

        x = k_1 v_1 ... k_3 v_3, T - 7 blanks, k_j        k_i: 3 of 6 keys, v_i ~ U{6 values},  y = v_j, a class, C = 6

    The configuration of multi-query associative recall (Arora et al. 2023) with one query, small.
    """

    goal = "recall the value that came with a key"
    inputs = "symbols: pairs of a key (1 to 6) and a value (7 to 12), blanks (0), a key"
    classes = tuple(f"value {index + 1}" for index in range(NUM_KEYS))
    symbols = ("blank", *(f"key {index + 1}" for index in range(NUM_KEYS)), *classes)
    min_length = 2 * PAIRS + 1

    def generate(self, lengths: "torch.Tensor", rng: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor]":
        """Generate sequences, see `TaskDefinition.generate`."""
        import torch

        size = len(lengths)
        keys = torch.rand(size, NUM_KEYS, generator=rng).argsort(1)[:, :PAIRS]
        values = torch.randint(NUM_KEYS, (size, PAIRS), generator=rng)
        asked = torch.randint(PAIRS, (size, 1), generator=rng)
        x = torch.zeros(size, int(lengths.max()), dtype=torch.uint8)
        x[:, : 2 * PAIRS] = torch.stack([1 + keys, 1 + NUM_KEYS + values], dim=2).flatten(1).to(torch.uint8)
        x.scatter_(1, lengths.unsqueeze(1) - 1, (1 + keys.gather(1, asked)).to(torch.uint8))
        return x, values.gather(1, asked).squeeze(1)


class CustomData(TaskDefinition):
    """Definition of the task `custom`, whose classes and channels are those of a file, see `data.sequences.custom`."""

    goal = "classify sequences of numbers"
    inputs = "numbers as in the training file, not standardized"
    has_curriculum = False


DEFINITIONS: Mapping[str, TaskDefinition] = MappingProxyType(
    {
        "palindrome": Palindrome(),
        "adding": Adding(),
        "copy": Copy(),
        "parity": Parity(),
        "pixel-mnist": PixelMNIST(),
        "row-mnist": RowMNIST(),
        "temporal-order": TemporalOrder(),
        "modular": Modular(),
        "permutations": Permutations(),
        "counting": Counting(),
        "nesting": Nesting(),
        "associative-recall": AssociativeRecall(),
        "custom": CustomData(),
    }
)
"""The built-in tasks; the first is the original's."""
for _name, _task in DEFINITIONS.items():
    _task.name = _name
TASKS = tuple(DEFINITIONS)
if TYPE_CHECKING:
    TaskName = str
else:
    TaskName = Annotated[Literal[TASKS] | str, name_or_reference(*TASKS)]


def build_definition(name: str, part: CustomClass) -> TaskDefinition:
    """Return the definition of a user-defined task, whose reference is `name`; one that breaks the contract is a ConfigError."""
    with explaining("task", part, f"{part.name}()"):
        task = part.build()
    if not isinstance(task, TaskDefinition):
        refuse("task", f"{part.name} must be a subclass of reviver.settings.tasks.TaskDefinition")
    if task.target != "number" and len(task.classes or ()) < 2:
        refuse("task", f"{part.name} must have at least 2 names in `classes`, got {task.classes!r}")
    if max(len(task.symbols or ()), len(task.classes or ()) if task.symbols else 0) > MAX_SYMBOLS:
        refuse("task", f"{part.name} must have at most {MAX_SYMBOLS} symbols, and as many classes")
    if task.rule not in (None, *get_args(Rule)):
        refuse("task", f"{part.name} must have one of {get_args(Rule)} or None as `rule`, got {task.rule!r}")
    task.name = name
    return task
