"""Groups of options in the help: settings declare them without cyclopts, which reads them from its own annotations."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import cyclopts
from pydantic import SkipValidation

from reviver.settings import groups

Command = TypeVar("Command", bound=Callable[..., None])


@functools.cache
def in_group(group: groups.Group) -> cyclopts.Parameter:
    """Return the annotation that puts an option into `group`."""
    return cyclopts.Parameter(group=cyclopts.Group(group.name, sort_key=group.order))


RUN = in_group(groups.RUN)
FIGURE = in_group(groups.FIGURE)
COMMON = in_group(groups.COMMON)


def with_groups(command: Command) -> Command:
    """Put the options of the argument `settings` of a command into the groups that its class declares. A decorator.

    The annotation becomes a subclass whose fields have annotations of cyclopts. Its constructor returns an instance of the
    class itself, which has checked its values.
    """
    cls, *parameters = get_args(get_type_hints(command, include_extras=True)["settings"])
    hints: dict[str, Any] = get_type_hints(cls, include_extras=True)
    for name, hint in hints.items():
        (group,) = (item for item in get_args(hint) if isinstance(item, groups.Group))
        hints[name] = Annotated[hint, in_group(group)]
    options: Any = type(cls.__name__, (cls,), {"__annotations__": hints, "__new__": lambda _, **values: cls(**values)})
    metadata: Any = (SkipValidation(), *parameters)  # type: ignore[type-arg]  # its type is for annotations
    command.__annotations__ |= {"settings": Annotated[(options, *metadata)]}
    return command
