"""The environment of a run: a resumed run is bit-for-bit reproducible only if it is the same as before.

Floating-point sums depend on the order of their terms. The processor, the number of threads and of processes, the
version of torch and the build of the native code determine that order.
"""

from collections.abc import Mapping
from typing import Any

ENVIRONMENT_KEYS = {
    "hardware": ("processor", "threads", "device", "system", "native", "processes", "backend"),
    "versions": ("reviver", "torch", "numpy"),
}
"""The keys of run.json that describe the environment, by the object that contains them."""
OPTIONAL_KEYS = ("native", "backend")
"""Those that not every run records: where one is unknown, no change is reported."""
DEFAULTS = {"processes": 1}
"""Values of those that are absent."""


def find_changes(record: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the differences between the environments in two records of the form of run.json.

    Returns:
        By key, the value in `record` and the value in `current`.
    """
    changes: dict[str, list[Any]] = {}
    for part, names in ENVIRONMENT_KEYS.items():
        before, after = record.get(part, {}), current.get(part, {})
        for name in names:
            pair = [values.get(name, DEFAULTS.get(name)) for values in (before, after)]
            is_unknown = name in OPTIONAL_KEYS and None in pair
            if pair[0] != pair[1] and not is_unknown:
                changes[name] = pair
    return changes


def describe_changes(changes: Mapping[str, Any]) -> str:
    """Describe changes in words, such as "threads was 2 and is 1"."""
    pairs = {name: pair for name, pair in changes.items() if isinstance(pair, list) and len(pair) == 2}
    return ", ".join(f"{name} was {before} and is {after}" for name, (before, after) in pairs.items())
