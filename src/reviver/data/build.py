"""Construction of a task from the settings of a run."""

from collections.abc import Mapping
from typing import Any

from reviver.data.generated import GeneratedTask, probe
from reviver.data.sequences.custom import CustomTask
from reviver.data.task import Task
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import is_reference
from reviver.settings.tasks import find_task


def build_task(config: LSTMConfig, record: Mapping[str, Any] | None = None) -> Task:
    """Return the task of a run; `record` is the entry `data` in run.json of an existing run with custom data.

    Raises:
        DataError: if the file with custom data is missing or malformed.
    """
    if config.task == "custom":
        return CustomTask(config, record)
    definition = find_task(config.task)
    task: Task | None = definition.build(config)
    if task is None:
        task = GeneratedTask(config)
        if is_reference(config.task):
            probe(definition, config)
    return task
