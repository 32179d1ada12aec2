"""Files that are not trusted, looked at before they are read.

What is read is a regular file, as a pipe or a device may block or never end, and no larger than a limit. JSON is no
deeper than our own files are, names nothing twice, and holds finite numbers that fit into 64 bits.
"""

import difflib
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

MAX_JSON_DEPTH = 20
MAX_JSON_BYTES = 1 << 20
MAX_INTEGER = 2**63 - 1
"""The largest integer that a JSON file of ours may hold."""
MAX_SHOWN = 60
"""Characters of a value that an error spells out."""
MAX_PROBLEM = 200
"""Characters of a problem that an error spells out."""


def open_file(path: Path, limit: int | None = None) -> BufferedReader:
    """Open a regular file of at most `limit` bytes to read bytes.

    Raises:
        OSError: if it is anything else.
    """
    # a pipe that nobody writes to would block if it were opened without O_NONBLOCK
    with ExitStack() as opened:
        file = opened.enter_context(open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)))
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        if limit is not None and status.st_size > limit:
            raise OSError(f"it has {status.st_size} bytes, more than the {limit} that are read")
        opened.pop_all()
        return file


def read_file(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        OSError: if it is anything else.
    """
    with open_file(path, limit) as file:
        return file.read(limit)


def read_lines(path: Path, longest: int, limit: int) -> Iterator[bytes]:
    """The lines of a regular file of at most `limit` bytes, each with its end; one without an end comes last.

    Raises:
        OSError: if it is anything else.
        ValueError: if a line has more than `longest` bytes.
    """
    with open_file(path, limit) as file:
        while line := file.readline(longest + 1):
            if len(line) > longest:
                raise ValueError(f"a line has more than {longest} bytes")
            yield line


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


def refuse_links_out(folder: Path) -> None:
    """Refuse a folder in which a link leads out of it, or something is neither file nor folder.

    What vanishes meanwhile, as in a folder that is being trained in, is passed over.

    Raises:
        OSError: if a part of it cannot be read.
        ValueError: naming the first such thing.
    """
    home = folder.resolve()
    waiting = [folder]
    while waiting:
        with suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                name = path.relative_to(folder)
                if entry.is_symlink():
                    target = Path(os.path.realpath(path))
                    if not target.is_relative_to(home) or not (target.is_file() or target.is_dir()):
                        raise ValueError(f"{name} is a link that leads out of the folder, or to nothing")
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif not entry.is_file(follow_symlinks=False) and os.path.lexists(path):
                    raise ValueError(f"{name} is neither a file nor a folder")


def one_line(problem: object, length: int = MAX_PROBLEM) -> str:
    """What an error or a text says, on one line of at most `length` characters."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= length else text[: length - 1] + "…"


def shown(value: object, length: int = MAX_SHOWN) -> str:
    """A value as an error shows it: on one line, and not for ever."""
    try:
        text = repr(value[:length] if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # thousands of digits, or of lists in lists
        return f"of type {type(value).__name__}"
    is_cut = len(text) > length + 2 or (isinstance(value, str) and len(value) > length)
    return text[:length] + "…" if is_cut else text


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return "did you mean NAME?" if a known name is close to `wrong`, else nothing."""
    near = difflib.get_close_matches(wrong[:MAX_SHOWN], list(known), n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else ""


class _OutOfRange(NamedTuple):
    """A number that JSON may hold and our files may not, until the key that it stands under is known."""

    problem: str


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has the name {shown(next(name for name in names if names.count(name) > 1))} twice")
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
            raise ValueError(f"{child.problem}, in {shown(key)[1:-1]}")
        if isinstance(child, (dict, list)):
            _check_values(key, child, depth - 1)
