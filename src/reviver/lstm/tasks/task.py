"""What a task is: sequences to learn from, and how an answer to one is judged.

Shapes: N sequences, B batch, T time, I input size, C classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional


class Sequences(Protocol):
    """A set of sequences with what is right for each. They are encoded batch by batch, since that takes much more room.

    Attributes:
        steps: T of the longest.
        lengths: steps of each, [N] int64; None where all have T.
        targets: what is right; its shape depends on the task's `Target`.
    """

    @property
    def steps(self) -> int: ...  # noqa: D102

    @property
    def lengths(self) -> Tensor | None: ...  # noqa: D102

    @property
    def targets(self) -> Tensor: ...  # noqa: D102

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, index: Tensor | slice) -> Self:
        """Some of the sequences, by their numbers or by a slice."""

    def to(self, device: torch.device) -> Self:
        """The same sequences on `device`."""

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """The input at the steps begin <= t < end (T by default), [N, end - begin, I] float32; 0 beyond a sequence."""


@dataclass(frozen=True)
class StoredSequences:
    """Base of `Sequences` whose tensors are [N, ...], the first of them [N, T, ...]; other fields hold for all sequences."""

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


Target = Literal["class", "class at every step", "number"]
"""What is asked for.

- `class`: one of C classes after the last step; targets [B] int64, outputs [B, C], the loss is cross-entropy.
- `class at every step`: targets [B, T] int64, outputs [B, T, C], the loss is cross-entropy averaged over the steps.
- `number`: a number after the last step; targets [B] float32, outputs [B, 1], the loss is the squared error.
"""


class Task(Protocol):
    """A task at a length T, which may grow from one epoch to the next.

    Attributes:
        target: what is asked for.
        input_size: I.
        output_size: C, or 1 for a number.
        chance: fraction of answers that are right by the best guess without looking at the input.
        facts: what run.json keeps of the data; None where the settings say it all.
    """

    target: Target

    @property
    def input_size(self) -> int: ...  # noqa: D102

    @property
    def output_size(self) -> int: ...  # noqa: D102

    @property
    def chance(self) -> float: ...  # noqa: D102

    @property
    def facts(self) -> Mapping[str, Any] | None: ...  # noqa: D102

    def baseline(self, length: int) -> float:
        """Loss of the best answer without memory at a length, to be beaten."""

    def epoch_size(self, length: int) -> int:
        """How many sequences an epoch trains on."""

    def training(self, epoch: int, length: int) -> Sequences:
        """What an epoch trains on: the same set each time, or fresh sequences as a function of the seed and `epoch`."""

    def validation(self, length: int) -> Sequences:
        """Sequences of `length` that no epoch trains on, always the same ones."""

    def evaluation(self, length: int, size: int) -> tuple[Sequences, str]:
        """At most `size` sequences of `length` to measure a trained network on, and where they come from, in words."""


LOSSES: Mapping[Target, str] = MappingProxyType(
    {"class": "cross-entropy", "class at every step": "cross-entropy a step", "number": "squared error"}
)
"""What `mean_loss` is, in words."""


def mean_loss(target: Target, outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of a batch, see `Target`; a scalar."""
    if target == "number":
        return functional.mse_loss(outputs.squeeze(-1), targets)
    return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


CLOSE = 0.04
"""A number counts as right within this distance (Hochreiter & Schmidhuber 1997, for the adding problem)."""

ANSWERS: Mapping[Target, str] = MappingProxyType(
    {"class": "the class", "class at every step": "all steps of a sequence", "number": f"numbers within {CLOSE}"}
)
"""What `correct` counts, in words."""


def correct(target: Target, outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether each answer of a batch is right, [B] bool; a class at every step must be right at all steps that differ from 0."""
    if target == "number":
        return (outputs.squeeze(-1) - targets).abs() <= CLOSE
    right = outputs.argmax(-1) == targets
    if target == "class":
        return right
    return (right | (targets == 0)).all(1)
