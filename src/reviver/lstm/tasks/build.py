"""From a run's settings to its task."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from reviver.lstm.config import LSTMConfig
from reviver.lstm.tasks.custom.task import CustomTask
from reviver.lstm.tasks.digits import DigitTask
from reviver.lstm.tasks.memory import PROBLEMS, GeneratedTask
from reviver.lstm.tasks.palindromes import PalindromeTask
from reviver.lstm.tasks.task import Task

BUILDERS: Mapping[str, Callable[[LSTMConfig], Task]] = MappingProxyType(
    {
        "palindrome": PalindromeTask,
        **dict.fromkeys(PROBLEMS, GeneratedTask),
        **dict.fromkeys(("row-mnist", "pixel-mnist"), DigitTask),
    }
)


def build_task(config: LSTMConfig, record: Mapping[str, Any] | None = None) -> Task:
    """Return the task of a run; `record` are what an earlier session kept of its data, see `Task`."""
    if config.task == "custom":
        return CustomTask(config, record)
    return BUILDERS[config.task](config)
