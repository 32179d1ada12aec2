"""Interface of a task: its sequences, its loss and its accuracy.

Shapes: N sequences, B batch, T time, I input size, C classes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from reviver.data.sequences.standardization import Standardization
from reviver.rng import BatchRows
from reviver.settings.fields import Count
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import DEFINITIONS, TOLERANCE, TargetKind, TaskDefinition
from reviver.settings.validation import JSON_LIST, Record

SplitName = Literal["train", "validation"]


class Sequences:
    """A set of N sequences with their targets, in a compact form; `encode` makes the input of a batch.

    A subclass is a frozen dataclass. Its tensors are [N, ...], the first of them [N, T, ...]; its other fields apply to
    all sequences. `lengths` is the number of steps of each sequence, [N] int64, or None if all have T; for the shape of
    `targets` see `TargetKind`.
    """

    if TYPE_CHECKING:  # at run time a dataclass would take these for the defaults of its fields

        @property
        def lengths(self) -> Tensor | None: ...  # noqa: D102

        @property
        def targets(self) -> Tensor: ...  # noqa: D102

    def encode(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Return the input of the steps begin ≤ t < end (T if None), [N, end - begin, I] float32, padded with 0."""
        raise NotImplementedError

    @property
    def typed(self) -> Tensor | None:
        """Symbols as a user would type them, [N, T] uint8; None for numbers."""
        return None

    def __len__(self) -> int:
        return len(self._first)

    @property
    def steps(self) -> int:
        """T, number of steps of the longest sequence."""
        return self._first.shape[1]

    def __getitem__(self, index: Tensor | slice) -> Self:
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device) -> Self:
        """Return the same sequences on `device`."""
        return self._map(lambda tensor: tensor.to(device))

    def take_rows(self, rows: BatchRows) -> Self:
        """Return some rows of a batch, padded to its longest sequence as the whole batch is."""
        return self._map(rows.take)

    @property
    def _first(self) -> Tensor:
        first: Tensor = next(iter(vars(self).values()))
        return first

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        fields = vars(self).items()
        return type(self)(**{name: function(value) if isinstance(value, Tensor) else value for name, value in fields})


class DataRecord(Record):
    """Description of custom data in run.json. With it a trained network can be used without the file."""

    name: str
    sha256: str
    """SHA-256 of the file, or of the digests of the files of a folder."""
    num_sequences: Count
    max_length: Count
    """T, number of steps of the longest sequence."""
    classes: Annotated[tuple[str, ...], JSON_LIST, Field(min_length=2)]
    """Names of the C classes, in the order of their indices."""
    class_fractions: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], JSON_LIST]
    """Fraction of each class among the training sequences, [C]."""
    standardization: Standardization


class Task:
    """Base class of tasks. A task has sequences of any allowed length T, because a length curriculum changes T.

    `definition` is by default that of the built-in task. A task with a fixed data set overrides `fixed_split`; other tasks
    override `training` and `validation`.
    """

    data: DataRecord | None = None
    """Custom data; None if the settings describe the data."""

    def __init__(self, config: LSTMConfig, definition: TaskDefinition | None = None) -> None:
        definition = definition or DEFINITIONS[config.task]
        self.config, self.definition = config, definition
        self.target: TargetKind = definition.target
        self.output_size = len(definition.classes or ("a number",))
        self.input_size = len(definition.symbols or definition.channels)  # I
        if definition.symbols and config.encoding == "scalar":
            self.input_size = 1
        self.chance = definition.chance

    @property
    def input_text(self) -> str:
        """Description of the input in words."""
        suffix = "; one-hot vectors" if self.config.encoding == "onehot" else ""
        return self.definition.inputs + suffix

    @property
    def max_length(self) -> int:
        """T of the longest sequence."""
        return self.config.length if self.data is None else self.data.max_length

    def baseline(self, length: int) -> float:
        """Return the loss of the best prediction without memory at a length."""
        return self.definition.baseline(length)

    def fixed_split(self, name: SplitName, length: int) -> Sequences:
        """Return a split of the fixed data set at a length."""
        raise NotImplementedError

    def epoch_size(self, length: int) -> int:
        """Return the number of training sequences per epoch."""
        return len(self.training(0, length))

    def training(self, epoch: int, length: int) -> Sequences:
        """Return the training sequences of an epoch: always the same, or fresh ones that depend on the seed and `epoch`."""
        return self.fixed_split("train", length)

    def validation(self, length: int) -> Sequences:
        """Return the validation sequences of a length: always the same, and none of them is in the training data."""
        return self.fixed_split("validation", length)

    def evaluation(self, length: int, size: int) -> tuple[Sequences, str]:
        """Return at most `size` sequences to evaluate a trained network on, and a text that describes their origin."""
        raise NotImplementedError


LOSS_NAMES: Mapping[TargetKind, str] = MappingProxyType(
    {"class": "cross-entropy", "class at every step": "cross-entropy per step", "number": "squared error"}
)


def mean_loss(target: TargetKind, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean loss of a batch, a scalar; see `TargetKind` for the loss and the shapes.

    `weights` is a factor of the loss of each sequence, [B]; the sum is divided by B all the same.
    """
    reduction = "mean" if weights is None else "none"
    if target == "number":
        losses = functional.mse_loss(outputs.squeeze(-1), targets, reduction=reduction)
    else:
        losses = functional.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction=reduction)
    return losses if weights is None else (losses.reshape(len(weights), -1).mean(1) * weights).mean()


ACCURACY_NAMES: Mapping[TargetKind, str] = MappingProxyType(
    {"class": "the class", "class at every step": "all steps of a sequence", "number": f"numbers within {TOLERANCE}"}
)
"""Meaning of the accuracy for each kind of target: "accuracy of ..."."""


def correct(target: TargetKind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return whether the prediction for each sequence of a batch is correct, [B] bool.

    A class must be the most probable one; of classes at every step all must be, except where the target is 0 (blank). A
    number must be within `TOLERANCE`.
    """
    if target == "number":
        return (outputs.squeeze(-1) - targets).abs() <= TOLERANCE
    is_correct = outputs.argmax(-1) == targets
    if target == "class":
        return is_correct
    return (is_correct | (targets == 0)).all(1)
