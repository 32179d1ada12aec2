"""Names of runs in the explorer, without private folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class RunName(NamedTuple):
    """Name of a run in the page, with a number if others before have the same, and what commands to copy call it.

    That is a relative path as it was given; of an absolute one, whose folders may be private, only the name.
    """

    name: str
    argument: str


def name_runs(paths: Sequence[Path]) -> list[RunName]:
    """Return the names of runs in the folders `paths`."""
    names: list[str] = []
    for path in paths:
        name = printable(path.resolve().name) or "run"
        count, unique = 1, name
        while unique in names:
            count += 1
            unique = f"{name} ({count})"
        names.append(unique)
    return [RunName(name, argument_of(path)) for name, path in zip(names, paths, strict=True)]


def argument_of(path: Path) -> str:
    """Return the path of a run as commands name it; a name like an option begins with ./."""
    text = printable(path.resolve().name if path.is_absolute() else str(path)) or "run"
    return f"./{text}" if text.startswith("-") else text


def printable(text: str) -> str:
    """Return a file name as UTF-8 can hold it: bytes of a name that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
