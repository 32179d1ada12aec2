"""The tasks of the LSTM by name. Each has one class, in a file of its own, with all that anybody asks of it.

Settings, presets, model cards, explorer and docs read it. A new task is a file and an entry of `DEFINITIONS`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from reviver.settings.parts import name_or_reference
from reviver.settings.tasks.adding import Adding
from reviver.settings.tasks.copy import Copy
from reviver.settings.tasks.definition import DIGITS as DIGITS
from reviver.settings.tasks.definition import TOLERANCE as TOLERANCE
from reviver.settings.tasks.definition import CustomData
from reviver.settings.tasks.definition import TargetKind as TargetKind
from reviver.settings.tasks.definition import TaskDefinition as TaskDefinition
from reviver.settings.tasks.definition import build_definition as build_definition
from reviver.settings.tasks.palindrome import Palindrome
from reviver.settings.tasks.parity import Parity
from reviver.settings.tasks.pixel_mnist import PixelMNIST
from reviver.settings.tasks.row_mnist import RowMNIST
from reviver.settings.tasks.temporal_order import TemporalOrder

DEFINITIONS: Mapping[str, TaskDefinition] = MappingProxyType(
    {
        "palindrome": Palindrome(),
        "adding": Adding(),
        "copy": Copy(),
        "parity": Parity(),
        "pixel-mnist": PixelMNIST(),
        "row-mnist": RowMNIST(),
        "temporal-order": TemporalOrder(),
        "custom": CustomData(),
    }
)
"""The built-in tasks; the first is the original's."""
for _name, _task in DEFINITIONS.items():
    _task.name = _name
TASKS = tuple(DEFINITIONS)
"""Names of the tasks."""
if TYPE_CHECKING:
    TaskName = str
else:
    TaskName = Annotated[Literal[TASKS] | str, name_or_reference(*TASKS)]


def find_task(name: str) -> TaskDefinition:
    """Return the definition of the built-in task called `name`, one of `TASKS`."""
    return DEFINITIONS[name]
