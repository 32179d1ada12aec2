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
    """Return the names of runs in the folders `paths`; in commands, a name like an option begins with ./."""
    found: dict[str, RunName] = {}
    for path in paths:
        name = unique = printable(path.resolve().name)
        count = 1
        while unique in found:
            count += 1
            unique = f"{name} ({count})"
        argument = name if path.is_absolute() else printable(str(path))
        found[unique] = RunName(unique, f"./{argument}" if argument.startswith("-") else argument)
    return list(found.values())


def printable(text: str) -> str:
    """Return a file name as UTF-8 can hold it: bytes of a name that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8") or "run"
