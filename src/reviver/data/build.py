"""Construction of a task from the settings of a run."""

from collections.abc import Mapping
from typing import Any

from reviver.data.generated import GeneratedTask, probe
from reviver.data.sequences.custom import CustomTask
from reviver.data.task import Task
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import BUILT_IN, Parts, is_reference
from reviver.settings.tasks import build_definition, find_task


def build_task(config: LSTMConfig, record: Mapping[str, Any] | None = None, parts: Parts = BUILT_IN) -> Task:
    """Return the task of a run; `record` is the entry `data` in run.json of an existing run with custom data.

    Raises:
        ConfigError: if a user-defined task is not in `parts`, or breaks the contract.
        DataError: if the file with custom data is missing or malformed.
    """
    if config.task == "custom":
        return CustomTask(config, record)
    if not is_reference(config.task):
        definition = find_task(config.task)
        return definition.build(config) or GeneratedTask(config, definition)
    part = parts.require("task", config.task)
    definition = build_definition(config.task, part)
    config.check_task(definition)
    task: Task | None = definition.build(config)
    if task is None:
        probe(definition, part, config)
        task = GeneratedTask(config, definition)
    return task
