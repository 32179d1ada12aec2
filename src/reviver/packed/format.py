"""Format of a packed folder: `.npy` files, and packed.json that describes them.

    images.npy        uint8 [N, C, H, W]            of the kind `images`
    labels.npy        int64 [N], if there are labels
    test_images.npy   uint8 [M, C, H, W], if there are test images; test_labels.npy alike

    sequences.npy     float32 [S, I], the steps of all sequences, of the kind `sequences`
    offsets.npy       int64 [N + 1]: sequence n has the steps offsets[n] ≤ step < offsets[n + 1]
    labels.npy        int64 [N], indices of the classes

    packed.json       a `PackedRecord`

A folder is not trusted. `open_packed` compares packed.json with the files before anything is allocated; the blocks are
verified when they are read.

Shapes: N examples, M test images, C channels, H height, W width, S steps of all sequences, I input size.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from reviver.config import Count, Text
from reviver.errors import DataError
from reviver.io.errors import damaged_data_file
from reviver.io.files import reject_external_links
from reviver.io.json import MAX_INTEGER, read_json
from reviver.io.npz import read_npy_header
from reviver.text import one_line
from reviver.validation import JSON_LIST, Record, find_problem

FORMAT = 1
"""Version of the format."""
RECORD_NAME = "packed.json"
MAX_RECORD_BYTES = 1 << 26
"""Maximum size of packed.json, which has about 70 bytes per block: enough for 3 TB."""
MAX_SIDE_BYTES = 1 << 32
"""Maximum size of `labels` and of `offsets`, which are loaded: 4 GiB."""
REMEDY = "restore the folder, or pack the data again"

Kind = Literal["images", "sequences"]
ArrayName = Literal["images", "labels", "test_images", "test_labels", "sequences", "offsets"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

LAYOUTS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "images": ("uint8", 4),
        "test_images": ("uint8", 4),
        "sequences": ("float32", 2),
        "offsets": ("int64", 1),
        "labels": ("int64", 1),
        "test_labels": ("int64", 1),
    }
)
"""dtype and number of dimensions of each array."""
REQUIRED: Mapping[str, set[str]] = MappingProxyType(
    {"images": {"images"}, "sequences": {"sequences", "offsets", "labels"}}
)
OPTIONAL: Mapping[str, set[str]] = MappingProxyType(
    {"images": {"labels", "test_images", "test_labels"}, "sequences": set()}
)
"""Arrays that a folder of each kind must have, and may have."""
TRAINERS: Mapping[str, str] = MappingProxyType({"images": "gan train", "sequences": "lstm train"})
"""Command that trains on each kind."""


class ArrayRecord(Record):
    """Description of one array."""

    dtype: Literal["uint8", "float32", "int64"]
    """dtype, in the byte order little-endian."""
    shape: Annotated[tuple[Count, ...], JSON_LIST, Field(min_length=1, max_length=4)]
    """Shape."""
    sha256: Sha256
    """SHA-256 of all bytes, without the header."""
    blocks: Annotated[tuple[Sha256, ...], JSON_LIST, Field(min_length=1)]
    """SHA-256 of each block, [B]."""

    @property
    def num_bytes(self) -> int:
        """Size of the array, without the header."""
        return prod(self.shape) * {"uint8": 1, "float32": 4, "int64": 8}[self.dtype]


class PackedRecord(Record):
    """Content of packed.json."""

    format: Annotated[int, Field(ge=1, le=FORMAT)]
    """Version of the format."""
    kind: Kind
    """Kind of the data."""
    name: Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
    """Name of the data, as runs record it."""
    source: Text
    """Source that was packed."""
    classes: Annotated[tuple[Annotated[str, Field(max_length=255)], ...], JSON_LIST, Field(min_length=1)] | None
    """Names of the classes, in the order of their indices, or null."""
    max_length: Count | None
    """T of the sequences, to which batches of an evaluation are sized; null for images."""
    block_bytes: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    """Size of a block."""
    arrays: dict[ArrayName, ArrayRecord]
    """The arrays by name."""
    checksum: Sha256
    """SHA-256 of this object without `checksum`, see `checksum_of`."""

    @model_validator(mode="after")
    def _check_arrays(self) -> Self:
        names = set(self.arrays)
        if lacking := REQUIRED[self.kind] - names:
            raise ValueError(f"must have the array {min(lacking)}")
        if surplus := names - REQUIRED[self.kind] - OPTIONAL[self.kind]:
            raise ValueError(f"must not have the array {min(surplus)}, since it holds {self.kind}")
        for name, array in self.arrays.items():
            if (array.dtype, len(array.shape)) != LAYOUTS[name]:
                dtype, dimensions = LAYOUTS[name]
                found = f"{array.dtype} of shape {list(array.shape)}"
                raise ValueError(f"arrays.{name} must be {dtype} of {dimensions} dimensions, got {found}")
            if name in ("labels", "test_labels", "offsets") and array.num_bytes > MAX_SIDE_BYTES:
                raise ValueError(f"arrays.{name} has {array.num_bytes} bytes, the limit is {MAX_SIDE_BYTES}")
        for labels, examples, more in (
            ("labels", "images", 0),
            ("test_labels", "test_images", 0),
            ("offsets", "labels", 1),
        ):
            if labels in names and examples in names:
                expected = self.arrays[examples].shape[0] + more
                if self.arrays[labels].shape[0] != expected:
                    raise ValueError(f"arrays.{labels} must have {expected} entries")
        if self.kind == "sequences" and None in (self.classes, self.max_length):
            raise ValueError("must have classes and max_length, since it holds sequences")
        return self


@dataclass(frozen=True)
class PackedFolder:
    """A packed folder whose record agrees with its files.

    Attributes:
        path: the folder.
        record: content of packed.json.
    """

    path: Path
    record: PackedRecord

    def file(self, name: str) -> Path:
        """Return the path of an array."""
        return self.path / f"{name}.npy"


def is_packed(path: Path) -> bool:
    """Return whether a path is a folder with packed.json."""
    return (path / RECORD_NAME).exists()


def open_packed(path: Path, kind: Kind) -> PackedFolder:
    """Open a packed folder.

    Raises:
        DataError: if it holds another kind of data, is of a newer format, is damaged, or has links that leave it.
    """
    location = path / RECORD_NAME
    try:
        reject_external_links(path)
        content = read_json(location, MAX_RECORD_BYTES)
    except (OSError, ValueError) as error:
        raise damaged_data_file(path, f"it cannot be read ({one_line(error)})", REMEDY) from error
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise DataError(f"{location}: format {version} is newer than {FORMAT}; install a newer Reviver, or pack again")
    try:
        record = PackedRecord.model_validate(content)
    except ValidationError as error:
        problem = find_problem(error, tuple(PackedRecord.model_fields))
        raise damaged_data_file(location, str(problem), REMEDY) from error
    if checksum_of(content) != record.checksum:
        raise damaged_data_file(location, "its checksum differs", REMEDY)
    if record.kind != kind:
        raise DataError(f"data: {path} holds {record.kind}; give it to reviver {TRAINERS[record.kind]}")
    folder = PackedFolder(path, record)
    for name, array in record.arrays.items():
        _check_file(folder.file(name), array)
    return folder


def checksum_of(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the JSON of a record without its key `checksum`, with sorted keys and without spaces."""
    rest = {key: value for key, value in record.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_file(path: Path, array: ArrayRecord) -> None:
    """Raise `DataError` unless the header and the size of a file are those of its record."""
    header = read_npy_header(path, remedy=REMEDY)
    if (header.shape, header.dtype.str, header.is_fortran) != (array.shape, _DTYPES[array.dtype], False):
        found = f"{header.dtype} of shape {list(header.shape)}"
        problem = f"it holds {found}, and {RECORD_NAME} describes {array.dtype} of shape {list(array.shape)}"
        raise damaged_data_file(path, problem, REMEDY)
    size = header.offset + array.num_bytes
    if header.file_size != size:
        raise damaged_data_file(path, f"it has {header.file_size} bytes instead of {size}", REMEDY)


_DTYPES = {"uint8": "|u1", "float32": "<f4", "int64": "<i8"}
