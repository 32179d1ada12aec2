"""Tensors from safetensors files that are not trusted.

    8 bytes     the length of the header
    header      JSON: for each tensor its dtype, shape and where its bytes begin and end; metadata as text
    data        the bytes of one tensor after the other, without gaps

The header is checked before anything is read by it. The library compares its length and the bytes of each tensor, which
are as many as its shape needs and of its own, with the file's size; `read_header` checks what the library lets pass.
"""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from reviver.io.files import open_file
from reviver.io.json import parse_json
from reviver.text import short_repr
from reviver.validation import Record, find_problem

MAX_HEADER_BYTES = 1 << 24


class Header(NamedTuple):
    """What a file holds: the shape of each tensor, and text."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


class _Entry(Record):
    """A tensor in a header: of a dtype that our files have, in at most 8 dimensions."""

    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8"]
    shape: Annotated[list[int], Field(max_length=8)]
    data_offsets: list[int]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file.

    Raises:
        OSError: if it is no regular file.
        ValueError: if it is damaged, see `read_header`.
    """
    read_header(path)
    try:
        return load_file(path)
    except SafetensorError as error:  # it has changed meanwhile
        raise ValueError(str(error)) from error


def read_header(path: Path) -> Header:
    """Read what tensors a file holds.

    Raises:
        OSError: if it is no regular file.
        ValueError: if the header is too long, is no such JSON, or does not fit the file's size.
    """
    with open_file(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"its header claims a length of {length} bytes")
        try:
            with safe_open(path, "np"):
                entries = parse_json(file.read(length))
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    metadata = entries.pop("__metadata__", None) or {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in entries.items():  # one by one: a million problems at once would fill memory
        try:
            shapes[name] = tuple(_Entry.model_validate(entry).shape)
        except ValidationError as error:
            raise ValueError(f"in its header, {short_repr(name)[1:-1]}.{find_problem(error)}") from error
    return Header(shapes, metadata)
