"""Reader of untrusted safetensors files.

    8 bytes     length of the header
    header      JSON: dtype, shape and byte range of each tensor; metadata as text
    data        the bytes of all tensors, without gaps

The header is validated before any tensor is read. The safetensors library checks that the byte ranges match the shapes,
do not overlap, and fill the file; `read_header` checks the size of the header, its JSON, dtypes and ranks.
"""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from reviver.files.json import parse_json
from reviver.files.read import open_file
from reviver.settings.validation import Record, find_problem
from reviver.text import short_repr

MAX_HEADER_BYTES = 1 << 24


class Header(NamedTuple):
    """Header of a file: the shape of each tensor by name, and its metadata."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


class _Entry(Record):
    """Entry of a tensor in a header: at most 8 dimensions, and a dtype that the files of Reviver use."""

    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8"]
    shape: Annotated[list[int], Field(max_length=8)]
    data_offsets: list[int]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a file by name; raise as `read_header` does."""
    read_header(path)
    try:
        return load_file(path)
    except SafetensorError as error:  # the file changed after its header was read
        raise ValueError(str(error)) from error


def read_header(path: Path) -> Header:
    """Return the header of a file; no tensor is read.

    Raises:
        OSError: if it is not a regular file.
        ValueError: if the header is too long, is not valid, or does not match the size of the file.
    """
    with open_file(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"its header claims a length of {length} bytes, the limit is {MAX_HEADER_BYTES}")
        try:
            with safe_open(path, "np"):
                entries = parse_json(file.read(length))
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    metadata = entries.pop("__metadata__", None) or {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in entries.items():  # one at a time: a million errors at once would fill memory
        try:
            shapes[name] = tuple(_Entry.model_validate(entry).shape)
        except ValidationError as error:
            raise ValueError(f"in its header, {short_repr(name)[1:-1]}.{find_problem(error)}") from error
    return Header(shapes, metadata)
