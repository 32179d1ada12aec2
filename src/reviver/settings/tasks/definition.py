"""The definition of a task of the LSTM: its words, its allowed lengths, and its sequences.

It imports torch where it needs it, in a function, since `--help` reads the classes, too.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from reviver.settings.parts import CustomClass, explaining
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
    """Name, as `--task` takes it; `find_task` and `build_definition` set it."""
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


class CustomData(TaskDefinition):
    """Definition of the task `custom`, whose classes and channels are those of a file, see `data.sequences.custom`."""

    goal = "classify sequences of numbers"
    inputs = "numbers as in the training file, not standardized"
    has_curriculum = False


def build_definition(name: str, part: CustomClass) -> TaskDefinition:
    """Return the definition of a user-defined task, whose reference is `name`.

    Raises:
        ConfigError: if the class is no definition, or its code fails.
    """
    with explaining("task", part, f"{part.name}()"):
        task = part.build()
    if not isinstance(task, TaskDefinition):
        refuse("task", f"{part.name} must be a subclass of reviver.settings.tasks.TaskDefinition")
    if task.target != "number" and len(task.classes or ()) < 2:
        refuse("task", f"{part.name} must have at least 2 names in `classes`, got {task.classes!r}")
    if max(len(task.symbols or ()), len(task.classes or ()) if task.symbols else 0) > MAX_SYMBOLS:
        refuse("task", f"{part.name} must have at most {MAX_SYMBOLS} symbols, and as many classes")
    task.name = name
    return task


def random_steps(first: "torch.Tensor | int", last: "torch.Tensor", rng: "torch.Generator") -> "torch.Tensor":
    """Return a random step from `first` to `last` for each sequence, [N] int64."""
    import torch

    fraction = torch.rand(len(last), dtype=torch.float64, generator=rng)
    return first + (fraction * (last - first + 1)).long()
