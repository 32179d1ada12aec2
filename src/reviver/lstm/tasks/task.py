"""What a task is: sequences to learn from, and how an answer to one is judged.

Shapes: N sequences, B batch, T time, I input size, C classes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional


class Sequences:
    """A set of sequences with what is right for each. They are encoded batch by batch, since that takes much more room.

    A subclass is a frozen dataclass. Its tensors are [N, ...], the first of them [N, T, ...]; other fields hold for
    all sequences.

    Attributes:
        steps: T of the longest.
        lengths: steps of each, [N] int64; None where all have T.
        targets: what is right; its shape depends on the task's `TargetKind`.
    """

    if TYPE_CHECKING:  # a dataclass would take these for the defaults of its fields

        @property
        def lengths(self) -> Tensor | None: ...  # noqa: D102

        @property
        def targets(self) -> Tensor: ...  # noqa: D102

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """The input at the steps begin <= t < end (T by default), [N, end - begin, I] float32; 0 beyond a sequence."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._first)

    @property
    def steps(self) -> int:
        """T."""
        return self._first.shape[1]

    def __getitem__(self, index: Tensor | slice) -> Self:
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device) -> Self:
        """The same sequences on `device`."""
        return self._map(lambda tensor: tensor.to(device))

    @property
    def _first(self) -> Tensor:
        first: Tensor = next(iter(vars(self).values()))
        return first

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        fields = vars(self).items()
        return type(self)(**{name: change(value) if isinstance(value, Tensor) else value for name, value in fields})


Part = Literal["train", "validation"]
"""A part of a fixed set."""

TargetKind = Literal["class", "class at every step", "number"]
"""What is asked for.

- `class`: one of C classes after the last step; targets [B] int64, outputs [B, C], the loss is cross-entropy.
- `class at every step`: targets [B, T] int64, outputs [B, T, C], the loss is cross-entropy averaged over the steps.
- `number`: a number after the last step; targets [B] float32, outputs [B, 1], the loss is the squared error.
"""


class Task:
    """Base of tasks at a length T, which may grow from one epoch to the next.

    One whose data are a fixed set defines `part`, others all of the methods below.

    Attributes:
        target: what is asked for.
        input_size: I.
        output_size: C, or 1 for a number.
        chance: fraction of answers that are right by the best guess without looking at the input.
        data_record: what run.json keeps of the data; None where the settings say it all.
    """

    target: TargetKind = "class"
    input_size: int
    output_size: int
    chance: float
    data_record: Mapping[str, Any] | None = None

    def baseline(self, length: int) -> float:
        """Loss of the best answer without memory at a length, to be beaten."""
        raise NotImplementedError

    def part(self, part: Part, length: int) -> Sequences:
        """A part of a fixed set, at a length."""
        raise NotImplementedError

    def epoch_size(self, length: int) -> int:
        """How many sequences an epoch trains on."""
        return len(self.training(0, length))

    def training(self, epoch: int, length: int) -> Sequences:
        """What an epoch trains on: the same set each time, or fresh sequences as a function of the seed and `epoch`."""
        return self.part("train", length)

    def validation(self, length: int) -> Sequences:
        """Sequences of `length` that no epoch trains on, always the same ones."""
        return self.part("validation", length)

    def evaluation(self, length: int, size: int) -> tuple[Sequences, str]:
        """At most `size` sequences of `length` to measure a trained network on, and where they come from, in words."""
        raise NotImplementedError


LOSSES: Mapping[TargetKind, str] = MappingProxyType(
    {"class": "cross-entropy", "class at every step": "cross-entropy a step", "number": "squared error"}
)
"""What `mean_loss` is, in words."""


def mean_loss(target: TargetKind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of a batch, see `TargetKind`; a scalar."""
    if target == "number":
        return functional.mse_loss(outputs.squeeze(-1), targets)
    return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


CLOSE = 0.04
"""A number counts as right within this distance (Hochreiter & Schmidhuber 1997, for the adding problem)."""

ANSWERS: Mapping[TargetKind, str] = MappingProxyType(
    {"class": "the class", "class at every step": "all steps of a sequence", "number": f"numbers within {CLOSE}"}
)
"""What `correct` counts, in words."""


def correct(target: TargetKind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether each answer of a batch is right, [B] bool; a class at every step must be right at all steps that differ from 0."""
    if target == "number":
        return (outputs.squeeze(-1) - targets).abs() <= CLOSE
    right = outputs.argmax(-1) == targets
    if target == "class":
        return right
    return (right | (targets == 0)).all(1)
