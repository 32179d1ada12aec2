"""From a run's settings to its task."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from reviver.lstm.config import LSTMConfig
from reviver.lstm.tasks.custom.task import OwnTask
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


def build_task(config: LSTMConfig, facts: Mapping[str, Any] | None = None) -> Task:
    """Return the task of a run; `facts` are what an earlier session kept of its data, see `Task`."""
    if config.task == "own":
        return OwnTask(config, facts)
    return BUILDERS[config.task](config)
