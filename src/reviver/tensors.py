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
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from reviver.untrusted import open_file, parse_json

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}
"""Bytes of a number of each dtype that our files have."""

MAX_HEADER_BYTES = 1 << 24
MAX_DIMENSIONS = 8


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
    spans = []
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in entries.items():
        shapes[name], span = _read_entry(name, entry)
        spans.append((*span, name))
    end = 0
    for begin, next_end, name in sorted(spans):
        if begin != end:
            raise ValueError(f"the bytes of {name[:80]!r} begin at {begin}, those before end at {end}")
        end = next_end
    if end != size - 8 - length:
        raise ValueError(f"its header claims {end} bytes of numbers and it holds {size - 8 - length}")
    return Header(shapes, metadata)


def _read_entry(name: str, entry: Any) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The shape of a tensor and where its bytes begin and end."""
    shown = repr(name[:80])
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"its header does not say dtype, shape and data_offsets of {shown}")
    kind, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in BYTES:
        raise ValueError(f"the dtype of {shown} is none of {', '.join(BYTES)}")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"the shape of {shown} is none")
    if not _are_sizes(span) or len(span) != 2 or span[1] - span[0] != prod(shape) * BYTES[kind]:
        raise ValueError(f"the bytes of {shown} are not as many as its shape needs")
    return tuple(shape), (span[0], span[1])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)
