"""Construction of a task from the settings of a run, and the description of what a network reads and predicts on it.

Shapes: T time, I input size, C classes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from reviver.data.digits import DigitTask
from reviver.data.generated import GeneratedTask, probe
from reviver.data.palindromes import PalindromeTask
from reviver.data.sequences.custom import CustomTask
from reviver.data.sequences.standardization import Standardization
from reviver.data.task import Task
from reviver.settings.fields import Count
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import BUILT_IN, Parts, is_reference
from reviver.settings.tasks import TargetKind, TaskName, build_definition
from reviver.settings.validation import JSON_LIST, Record

BUILDERS: Mapping[str, Callable[[LSTMConfig], Task]] = MappingProxyType(
    {"palindrome": PalindromeTask, "row-mnist": DigitTask, "pixel-mnist": DigitTask}
)
"""Classes of the built-in tasks whose sequences are not generated anew for every epoch."""


def build_task(config: LSTMConfig, record: Mapping[str, Any] | None = None, parts: Parts = BUILT_IN) -> Task:
    """Return the task of a run; `record` is the entry `data` in run.json of an existing run with custom data."""
    if config.task == "custom":
        return CustomTask(config, record)
    if not is_reference(config.task):
        return BUILDERS.get(config.task, GeneratedTask)(config)
    part = parts.require("task", config.task)
    definition = build_definition(config.task, part)
    config.check_task(definition)
    task: Task | None = definition.build(config)
    if task is None:
        probe(definition, part, config)
        task = GeneratedTask(config, definition)
    return task


class SequenceData(Record):
    """What a network reads and predicts."""

    task: TaskName
    target: TargetKind
    encoding: Literal["scalar", "onehot"]
    """Encoding of a symbol: one number, or a one-hot vector."""
    length: Count
    """T, see `LSTMConfig.length`; of custom data the steps of the longest sequence."""
    classes: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], JSON_LIST, Field(min_length=2)] | None
    """Names of the C classes, in the order of their indices; null for a number."""
    standardization: Standardization | None
    """Standardization of raw numbers, part of the model; null if there is none."""

    @classmethod
    def of_task(cls, config: LSTMConfig, task: Task) -> Self:
        """Return the description of a run with these settings on this task."""
        return cls(
            task=config.task,
            target=task.target,
            encoding=config.encoding,
            length=task.max_length,
            classes=task.definition.classes,
            standardization=None if task.data is None else task.data.standardization,
        )
