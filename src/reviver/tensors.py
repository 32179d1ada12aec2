"""Tensors from safetensors files that are not trusted.

    8 bytes     the length of the header
    header      JSON: for each tensor its dtype, shape and where its bytes begin and end; metadata as text
    data        the bytes of one tensor after the other, without gaps

The header is checked before anything is read by it: a tensor has just the bytes that it needs, of its own.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator
from safetensors.torch import load_file
from torch import Tensor

from reviver.untrusted import one_line, open_file, parse_json, shown
from reviver.validation import JSON_LIST, Record, find_problem

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}
"""Bytes of a number of each dtype that our files have."""

MAX_HEADER_BYTES = 1 << 24
MAX_DIMENSIONS = 8

Size = Annotated[int, Field(ge=0)]


class Entry(Record):
    """What a header records of a tensor."""

    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8"]
    shape: Annotated[tuple[Size, ...], JSON_LIST, Field(max_length=MAX_DIMENSIONS)]
    data_offsets: Annotated[tuple[Size, Size], JSON_LIST]
    """Where its bytes begin and end, from the end of the header."""

    @model_validator(mode="after")
    def _check_bytes(self) -> Self:
        begin, end = self.data_offsets
        if end - begin != prod(self.shape) * BYTES[self.dtype]:
            raise ValueError("must have as many bytes as its shape needs")
        return self


@dataclass(frozen=True)
class Header:
    """What a file holds: the shape of each tensor, and text."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file.

    Raises:
        OSError: if it is no regular file.
        ValueError: if its header is damaged, see `read_header`.
        SafetensorError: if it changes meanwhile.
    """
    read_header(path)
    return load_file(path)


def read_header(path: Path) -> Header:
    """Read what tensors a file holds.

    Raises:
        OSError: if it is no regular file.
        ValueError: if the header is too long, is no such JSON, or does not fit the file's size.
    """
    with open_file(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        start = file.read(8)
        if len(start) < 8:
            raise ValueError("its header is cut off")
        (length,) = struct.unpack("<Q", start)
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise ValueError(f"its header claims a length of {length} bytes")
        entries = parse_json(file.read(length))
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its metadata is not text")
    tensors: dict[str, Entry] = {}
    for name, entry in entries.items():
        try:
            tensors[name] = Entry.model_validate(entry)
        except ValidationError as error:
            raise ValueError(f"its header has {shown(name)}: {one_line(find_problem(error))}") from error
    end = 0
    for (begin, next_end), name in sorted((entry.data_offsets, name) for name, entry in tensors.items()):
        if begin != end:
            raise ValueError(f"the bytes of {shown(name)} begin at {begin}, those before end at {end}")
        end = next_end
    if end != size - 8 - length:
        raise ValueError(f"its header claims {end} bytes of numbers and it holds {size - 8 - length}")
    return Header({name: entry.shape for name, entry in tensors.items()}, metadata)
