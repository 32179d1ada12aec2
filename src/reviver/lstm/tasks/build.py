"""From a run's settings to its task."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from reviver.lstm.presets import LSTMConfig
from reviver.lstm.tasks.digits import DigitTask
from reviver.lstm.tasks.memory import ADDING, COPY, PARITY, TEMPORAL_ORDER, GeneratedTask
from reviver.lstm.tasks.palindromes import PalindromeTask
from reviver.lstm.tasks.task import Task

BUILDERS: Mapping[str, Callable[[LSTMConfig], Task]] = MappingProxyType(
    {
        "palindrome": PalindromeTask,
        "copy": partial(GeneratedTask, problem=COPY),
        "adding": partial(GeneratedTask, problem=ADDING),
        "temporal-order": partial(GeneratedTask, problem=TEMPORAL_ORDER),
        "parity": partial(GeneratedTask, problem=PARITY),
        "row-mnist": DigitTask,
        "pixel-mnist": DigitTask,
    }
)


def build_task(config: LSTMConfig) -> Task:
    """Return the task of a run."""
    return BUILDERS[config.task](config)
