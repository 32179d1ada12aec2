"""From a run's settings to its task."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from reviver.lstm.presets import LSTMConfig
from reviver.lstm.tasks.palindromes import PalindromeTask
from reviver.lstm.tasks.task import Task

BUILDERS: Mapping[str, Callable[[LSTMConfig], Task]] = MappingProxyType({"palindrome": PalindromeTask})


def build_task(config: LSTMConfig) -> Task:
    """Return the task of a run."""
    return BUILDERS[config.task](config)
