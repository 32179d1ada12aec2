"""Reader of untrusted .npz and .npy files.

Claimed sizes are checked against the file before memory is allocated, and nothing is unpickled.
"""

import io
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from reviver.files.file_errors import DATA_REMEDY, damaged_data_file
from reviver.files.read import open_file

DEFLATE_MAX_RATIO = 1032
"""Maximum expansion of a deflate stream; a header that claims more is wrong."""
MAX_ARRAY_BYTES = 4 << 30
MAX_DIRECTORY_BYTES = 1 << 20
"""Maximum size of the directory at the end of an archive; it has about a hundred bytes per array."""
MAX_HEADER_BYTES = 1 << 16
"""Maximum length of the header that gives an array's shape and dtype. Real ones have about a hundred bytes."""
ZIP_END_BYTES = 1 << 17
"""Bytes at the end of a ZIP file that contain its end records and its comment of at most 65 535 bytes."""
ZIP64_MARKER = 2**32 - 1
"""Size in the 32-bit end record of a ZIP file that refers to the 64-bit end record."""


def map_npy(path: Path, *, remedy: str = DATA_REMEDY) -> np.memmap[Any, Any]:
    """Map the array in an .npy file into memory, so that the operating system reads a page of it when it is used.

    Raises:
        DataError: ending with `remedy`, if the file is damaged, is not an array with numbers, or contains Python objects.
    """
    with _explain_errors(path, remedy):
        with open_file(path) as file:
            header = _read_header(file, os.fstat(file.fileno()).st_size)
        if 0 in header.shape:
            raise _DamagedError(f"it holds an array of shape {list(header.shape)}, without numbers")
        mapped: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped


def npz_names(path: Path, *, remedy: str = DATA_REMEDY) -> list[str]:
    """Return the names of the arrays in an .npz file; a file that is no archive is a DataError that ends with `remedy`."""
    with _explain_errors(path, remedy), _open_archive(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_npz(
    path: Path, name: str, *, max_bytes: int = MAX_ARRAY_BYTES, remedy: str = DATA_REMEDY
) -> np.ndarray[Any, Any]:
    """Return the array called `name` in an .npz file.

    Raises:
        DataError: ending with `remedy`, if the file is damaged, has no such array, or the array has more than
            `max_bytes` bytes or contains Python objects.
    """
    with _explain_errors(path, remedy), _open_archive(path) as archive:
        info = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others have no maximum expansion
            raise _DamagedError(f"{info.filename} is compressed with a method that NumPy does not use")
        packed = min(info.compress_size, path.stat().st_size)  # the archive may claim any compressed size
        if info.compress_size > packed or info.file_size > max(packed, 1) * DEFLATE_MAX_RATIO:
            raise _DamagedError(f"{info.filename} claims {info.file_size} bytes, more than the file can hold")
        try:
            with archive.open(info) as file:
                header = _read_header(file, info.file_size)
                size = prod(header.shape) * header.dtype.itemsize
                if size > max_bytes:
                    raise _DamagedError(f"it has {size} bytes, the limit is {max_bytes}")
                data = file.read(size)
                if len(data) != size:
                    raise _DamagedError(f"its header claims {size} bytes and it holds {len(data)}")
        except _DamagedError as error:
            raise _DamagedError(f"{info.filename}: {error}") from None
        return np.frombuffer(data, dtype=header.dtype).reshape(header.shape, order="F" if header.is_fortran else "C")


class _DamagedError(Exception):
    """The problem of a file, without its name."""


class _Header(NamedTuple):
    shape: tuple[int, ...]
    is_fortran: bool
    """Whether the first index varies fastest."""
    dtype: np.dtype[Any]


def _read_header(file: IO[bytes], file_size: int) -> _Header:
    """Return the header of an .npy file of `file_size` bytes, after checking it against that size."""
    is_first_version = np.lib.format.read_magic(file) == (1, 0)
    prefix = file.read(2 if is_first_version else 4)
    (length,) = struct.unpack("<H" if is_first_version else "<I", prefix)
    if length > MAX_HEADER_BYTES:
        raise _DamagedError(f"its header claims a length of {length} bytes, the limit is {MAX_HEADER_BYTES}")
    read_header = np.lib.format.read_array_header_1_0 if is_first_version else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(io.BytesIO(prefix + file.read(length)))  # a copy: NumPy cannot read on
    if dtype.hasobject:
        raise _DamagedError("it holds Python objects (a pickle), which could run code; save a plain array of numbers")
    size = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size > file_size:
        raise _DamagedError(f"its header claims {size} bytes and it holds {file_size}")
    return _Header(shape, is_fortran, dtype)


@contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive of arrays, whose names must differ."""
    with open_file(path) as file:
        size = _directory_size(file)
        if size > MAX_DIRECTORY_BYTES:
            raise _DamagedError(f"its list of arrays has {size} bytes, the limit is {MAX_DIRECTORY_BYTES}")
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if len(set(names)) < len(names):
                raise _DamagedError("two of its arrays have the same name")
            yield archive


def _directory_size(file: IO[bytes]) -> int:
    """Return the size that a ZIP file claims for its directory: the larger of its 32-bit and 64-bit end records."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - ZIP_END_BYTES))
    tail = file.read(ZIP_END_BYTES)
    file.seek(0)
    claims: list[int] = []
    for signature, offset, layout in ((b"PK\x05\x06", 12, "<I"), (b"PK\x06\x06", 40, "<Q")):
        index = tail.rfind(signature) + offset
        if index >= offset and index + struct.calcsize(layout) <= len(tail):
            claims += struct.unpack_from(layout, tail, index)
    return max((claim for claim in claims if claim != ZIP64_MARKER), default=0)


@contextmanager
def _explain_errors(path: Path, remedy: str) -> Iterator[None]:
    """Convert any error raised inside to a `DataError` that names `path` and the remedy."""
    try:
        yield
    except _DamagedError as error:
        raise damaged_data_file(path, str(error), remedy) from None
    except Exception as error:  # NumPy and zipfile raise SyntaxError, TokenError, BadZipFile, zlib.error ...
        raise damaged_data_file(path, f"it cannot be read ({error})", remedy) from error
