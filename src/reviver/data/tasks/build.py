"""Construction of a task from the settings of a run."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from reviver.data.sequences.custom import CustomTask
from reviver.data.tasks.digits import DigitTask
from reviver.data.tasks.memory import PROBLEMS, GeneratedTask
from reviver.data.tasks.palindromes import PalindromeTask
from reviver.data.tasks.task import Task
from reviver.settings.lstm import LSTMConfig

BUILDERS: Mapping[str, Callable[[LSTMConfig], Task]] = MappingProxyType(
    {"palindrome": PalindromeTask, **dict.fromkeys(PROBLEMS, GeneratedTask)}
    | dict.fromkeys(("row-mnist", "pixel-mnist"), DigitTask)
)
"""Constructor of each task except `custom`."""


def build_task(config: LSTMConfig, record: Mapping[str, Any] | None = None) -> Task:
    """Return the task of a run; `record` is the entry `data` in run.json of an existing run with custom data.

    Raises:
        DataError: if the file with custom data is missing or malformed.
    """
    return CustomTask(config, record) if config.task == "custom" else BUILDERS[config.task](config)
