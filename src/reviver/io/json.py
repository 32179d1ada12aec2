"""JSON files that are not trusted.

A file holds one object of limited depth, no key twice, and only finite numbers that fit into 64 bits.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from reviver.io.files import read_file
from reviver.text import short_repr

MAX_JSON_DEPTH = 20
MAX_JSON_BYTES = 1 << 20
MAX_INTEGER = 2**63 - 1
"""The largest integer that a JSON file of ours may hold."""


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Read a file that holds one JSON object, see `parse_json`.

    Raises:
        OSError: if it is no regular file of at most `limit` bytes.
        ValueError: if it holds anything else.
    """
    return parse_json(read_file(path, limit))


def parse_json(content: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        ValueError: if it is anything else, deeper than MAX_JSON_DEPTH, or has a name twice or a number out of range.
    """
    try:
        value = _DECODER.decode(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is too deep") from error
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    _check_values("", value)
    return value


class _OutOfRange(NamedTuple):
    """A number that JSON may hold and our files may not, until the key that it stands under is known."""

    problem: str


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has the name {short_repr(next(name for name in names if names.count(name) > 1))} twice")
    return result


def _integer(text: str) -> int | _OutOfRange:
    if len(text) > len(str(-MAX_INTEGER)) or abs(int(text)) > MAX_INTEGER:
        return _OutOfRange(f"it has an integer of more than 64 bits, {text[:20]}")
    return int(text)


def _finite(text: str) -> float | _OutOfRange:
    number = float(text)
    return number if math.isfinite(number) else _OutOfRange(f"it has a number that is not finite, {text[:20]}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_named_once, parse_int=_integer, parse_float=_finite, parse_constant=_finite
)


def _check_values(name: str, value: dict[str, Any] | list[Any], depth: int = MAX_JSON_DEPTH) -> None:
    """Refuse numbers out of range, naming the innermost key, and objects or lists more than `depth` levels deep."""
    if not depth:
        raise ValueError(f"it is deeper than {MAX_JSON_DEPTH} levels")
    for key, child in value.items() if isinstance(value, dict) else ((name, child) for child in value):
        if isinstance(child, _OutOfRange):
            raise ValueError(f"{child.problem}, in {short_repr(key)[1:-1]}")
        if isinstance(child, (dict, list)):
            _check_values(key, child, depth - 1)
