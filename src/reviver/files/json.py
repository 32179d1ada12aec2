"""Reader of untrusted JSON: one object of limited depth, without duplicate keys, with finite 64-bit numbers only."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from reviver.files.file_errors import damaged_data_file
from reviver.files.read import read_file
from reviver.settings.validation import MAX_INTEGER, Record, find_problem
from reviver.text import short_repr

MAX_JSON_DEPTH = 20
"""Maximum nesting of objects and lists."""
MAX_JSON_BYTES = 1 << 20
Model = TypeVar("Model", bound=Record)


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Return the JSON object in a file, see `parse_json`.

    Raises:
        OSError: if it is not a regular file of at most `max_bytes` bytes.
        ValueError: see `parse_json`.
    """
    return parse_json(read_file(path, max_bytes))


def parse_json(content: bytes) -> dict[str, Any]:
    """Return the JSON object that UTF-8 `content` encodes.

    Raises:
        ValueError: if it is not an object, is deeper than `MAX_JSON_DEPTH`, or has a duplicate key, an integer beyond
            `MAX_INTEGER`, or a number that is not finite.
    """
    try:
        value = _DECODER.decode(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError(f"it is deeper than {MAX_JSON_DEPTH} levels") from error
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    _check_values("", value)
    return value


def validate_record(model: type[Model], value: object, path: Path, remedy: str, prefix: str = "") -> Model:
    """Return the record that a value of the file `path` describes; raise `DataError` that names the first wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problem = find_problem(error, tuple(model.model_fields))
        field = ".".join(filter(None, (prefix, problem.field)))
        raise damaged_data_file(path, f"{field} {problem.text}".lstrip(), remedy) from error


class _OutOfRange(NamedTuple):
    """A number out of range: the decoder returns it in place of the number, since it does not know the key yet."""

    problem: str


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"it has the key {short_repr(counts.most_common(1)[0][0])} twice")
    return result


def _parse_integer(text: str) -> int | _OutOfRange:
    if len(text) > len(str(-MAX_INTEGER)) or abs(int(text)) > MAX_INTEGER:
        return _OutOfRange(f"it has an integer of more than 64 bits, {text[:20]}")
    return int(text)


def _parse_finite(text: str) -> float | _OutOfRange:
    number = float(text)
    return number if math.isfinite(number) else _OutOfRange(f"it has a number that is not finite, {text[:20]}")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_int=_parse_integer, parse_float=_parse_finite, parse_constant=_parse_finite
)


def _check_values(name: str, value: dict[str, Any] | list[Any], depth: int = MAX_JSON_DEPTH) -> None:
    """Raise `ValueError` for a number out of range, naming the innermost key, or more than `depth` levels."""
    if not depth:
        raise ValueError(f"it is deeper than {MAX_JSON_DEPTH} levels")
    for key, child in value.items() if isinstance(value, dict) else ((name, child) for child in value):
        if isinstance(child, _OutOfRange):
            raise ValueError(f"{child.problem}, in {short_repr(key)[1:-1]}")
        if isinstance(child, (dict, list)):
            _check_values(key, child, depth - 1)
