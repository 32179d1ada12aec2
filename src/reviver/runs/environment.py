"""What the bits of a run depend on beside its settings, and whether that changed when the run was resumed.

Sums of floats are rounded at each step, so their last bits depend on the order of the terms. The processor, the
number of threads and the version of torch choose that order.
"""

from collections.abc import Mapping
from typing import Any

FACTS = {"hardware": ("processor", "threads", "device", "system"), "versions": ("reviver", "torch", "numpy")}
"""What of run.json the bits depend on."""


def find_changes(began: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What is not as it was when a run began: by name, what it was and what it is. Both are parts of a run.json."""
    changes: dict[str, list[Any]] = {}
    for part, names in FACTS.items():
        before, after = began.get(part, {}), now.get(part, {})
        changes |= {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}
    return changes


def describe_changes(changes: Mapping[str, Any]) -> str:
    """What changed, in words: "threads was 2 and is 1"."""
    pairs = {name: pair for name, pair in changes.items() if isinstance(pair, list) and len(pair) == 2}
    return ", ".join(f"{name} was {before} and is {after}" for name, (before, after) in pairs.items())
