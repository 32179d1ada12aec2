"""Descriptions of what a trained network reads and predicts, for those who use it elsewhere.

Shapes: T time, I input size, C classes.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reviver.data.sequences.custom import CustomTask
from reviver.data.sequences.standardization import Standardization
from reviver.data.tasks.memory import COPY_SYMBOLS
from reviver.data.tasks.palindromes import NUM_DIGITS
from reviver.data.tasks.task import TargetKind, Task
from reviver.settings.fields import Count
from reviver.settings.lstm import LSTMConfig, TaskName
from reviver.settings.validation import JSON_LIST, Record

DIGITS = tuple(map(str, range(NUM_DIGITS)))
CLASSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("palindrome", "row-mnist", "pixel-mnist"), DIGITS),
        "copy": ("blank", *map(str, range(1, COPY_SYMBOLS + 1))),
        "temporal-order": ("XX", "XY", "YX", "YY"),
        "parity": ("even", "odd"),
    }
)
"""Names of the classes of each task that has classes, in the order of their indices."""
GOALS: Mapping[str, str] = MappingProxyType(
    {
        "palindrome": "predict the last digit of a palindrome from all digits before it",
        "copy": "repeat ten symbols after many blanks",
        "adding": "add the two marked numbers of a sequence",
        "temporal-order": "tell in which order two symbols occurred",
        "parity": "tell whether the number of ones among bits is odd",
        "row-mnist": "classify handwritten digits that it reads row by row",
        "pixel-mnist": "classify handwritten digits that it reads pixel by pixel",
        "custom": "classify sequences of numbers",
    }
)
"""What a network of each task has learned, after "trained to"."""
MNIST_TASKS = ("row-mnist", "pixel-mnist")
INPUTS: Mapping[str, str] = MappingProxyType(
    {
        "palindrome": "digits of a palindrome, all but the last",
        "copy": "symbols: ten from 1 to 8, blanks (0), the delimiter (9), ten blanks",
        "adding": "pairs: a number from 0 to 1, and 1 if it is marked, else 0",
        "temporal-order": "symbols: the start (0), X (2) and Y (3) among distractors (4 to 7), the end (1)",
        "parity": "bits",
        "row-mnist": "rows of an image, pixels from 0 (background) to 1",
        "pixel-mnist": "pixels of an image, row by row, from 0 (background) to 1",
        "custom": "numbers as in the training file, not standardized",
    }
)
"""Meaning of the input of each task."""


class SequenceData(Record):
    """What a network reads and predicts."""

    task: TaskName
    """Task that it was trained on."""
    target: TargetKind
    """Kind of its outputs."""
    encoding: Literal["scalar", "onehot"]
    """Encoding of a symbol: one number, or a one-hot vector."""
    length: Count
    """T, see `LSTMConfig.length`; of custom data the steps of the longest sequence."""
    classes: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], JSON_LIST, Field(min_length=2)] | None
    """Names of the C classes, in the order of their indices; null for a number."""
    standardization: Standardization | None
    """Standardization of raw numbers, part of the model; null if there is none."""

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if (self.classes is None) != (self.target == "number"):
            raise ValueError("must have classes, or the target number")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("must have distinct classes")
        return self

    @classmethod
    def of_task(cls, config: LSTMConfig, task: Task) -> Self:
        """Return the description of a run with these settings on this task."""
        data = task.data if isinstance(task, CustomTask) else None
        return cls(
            task=config.task,
            target=task.target,
            encoding=config.encoding,
            length=config.length if data is None else data.max_length,
            classes=CLASSES.get(config.task) if data is None else data.classes,
            standardization=None if data is None else data.standardization,
        )

    @property
    def input_text(self) -> str:
        """Description of the input in words."""
        text = INPUTS[self.task]
        return f"{text}; one-hot vectors" if self.encoding == "onehot" else text
