"""A trial for tests of goals, which imports nothing that is slow."""

from pathlib import Path
from typing import Any


def count(folder: Path, *, seed: int, name: str, is_valid: bool) -> dict[str, Any]:
    """Count the calls of a trial in a file of its own."""
    with (folder / "calls.txt").open("a") as file:
        file.write("x")
    if not is_valid:
        raise ValueError(f"seed {seed} is not valid")
    return {"seed": seed, "value": seed + 0.5}
