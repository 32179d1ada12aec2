"""Arrays from .npz and .npy files that are not trusted.

Sizes are compared with the file before memory is taken, and nothing is unpickled.
"""

import io
import os
import struct
import textwrap
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from reviver.errors import DataError
from reviver.io.files import open_file

DEFLATE_MAX_RATIO = 1032
"""No deflate stream expands further; a header that claims more is wrong."""

MAX_ARRAY_BYTES = 4 << 30
"""Largest array that is read: 4 GiB."""

MAX_DIRECTORY_BYTES = 1 << 20
"""Of the names and sizes at the end of an archive, about a hundred bytes an array."""

MAX_HEADER_BYTES = 1 << 16
"""The text that gives an array's shape and kind of number is a hundred bytes long; NumPy itself stops at 10 000."""

ZIP_END_BYTES = 1 << 17
"""The end records of a ZIP file and its comment, which has at most 65 535 bytes, lie in its last so many bytes."""

IN_64_BITS = 2**32 - 1
"""What the 32-bit end record says where the 64-bit one is to be asked."""

REMEDY = "replace the file or take it out"


def damaged(path: Path, problem: str, remedy: str = REMEDY) -> DataError:
    """The error that names a file, what is wrong with it, and what to do, in one line."""
    return DataError(f"{path}: {textwrap.shorten(problem, 200)}; {remedy}")


def read_npy(path: Path, *, remedy: str = REMEDY) -> np.ndarray[Any, Any]:
    """The array of an .npy file.

    Raises:
        DataError: if the file is damaged, is no array, or holds Python objects.
    """
    with _explained(path, remedy), open_file(path) as file:
        return _read_array(file, os.fstat(file.fileno()).st_size)


def npz_names(path: Path, *, remedy: str = REMEDY) -> list[str]:
    """What the arrays of an .npz file are called.

    Raises:
        DataError: if the file is no archive.
    """
    with _explained(path, remedy), _open_archive(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_npz(path: Path, name: str, *, limit: int = MAX_ARRAY_BYTES, remedy: str = REMEDY) -> np.ndarray[Any, Any]:
    """The array called `name` of an .npz file; one of more than `limit` bytes is refused before it is read.

    Raises:
        DataError: if the file is damaged, has no such array, or holds it as Python objects.
    """
    with _explained(path, remedy), _open_archive(path) as archive:
        info = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others expand without a bound
            raise _DamagedError(f"{info.filename} is compressed in a way that NumPy does not use")
        packed = min(info.compress_size, path.stat().st_size)  # the archive's own word is not enough
        if info.compress_size > packed or info.file_size > max(packed, 1) * DEFLATE_MAX_RATIO:
            raise _DamagedError(f"{info.filename} claims {info.file_size} bytes, more than the file can hold")
        with archive.open(info) as file:
            try:
                return _read_array(file, info.file_size, limit)
            except _DamagedError as error:
                raise _DamagedError(f"{info.filename}: {error}") from None


class _DamagedError(Exception):
    """What is wrong with a file, without its name."""


def _read_array(file: IO[bytes], file_size: int, limit: int = MAX_ARRAY_BYTES) -> np.ndarray[Any, Any]:
    """Read one array after comparing its header with the size of the data. Objects are refused."""
    is_first_version = np.lib.format.read_magic(file) == (1, 0)
    prefix = file.read(2 if is_first_version else 4)
    (length,) = struct.unpack("<H" if is_first_version else "<I", prefix)
    if length > MAX_HEADER_BYTES:
        raise _DamagedError(f"its header claims a length of {length} bytes")
    read = np.lib.format.read_array_header_1_0 if is_first_version else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(io.BytesIO(prefix + file.read(length)))  # which gets no more than a header
    if dtype.hasobject:
        raise _DamagedError("it holds Python objects (a pickle), which could run code; save a plain array of numbers")
    size = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size > file_size:
        raise _DamagedError(f"its header claims {size} bytes and it holds {file_size}")
    if size > limit:
        raise _DamagedError(f"it has {size} bytes, more than the {limit} that are read")
    data = file.read(size)
    if len(data) != size:
        raise _DamagedError(f"its header claims {size} bytes and it holds {len(data)}")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")


@contextmanager
def _open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive of arrays, each of which has a name of its own."""
    with open_file(path) as file:
        if _directory_size(file) > MAX_DIRECTORY_BYTES:
            raise _DamagedError(f"its list of arrays has more than {MAX_DIRECTORY_BYTES} bytes")
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if len(set(names)) < len(names):
                raise _DamagedError("two of its arrays have the same name")
            yield archive


def _directory_size(file: IO[bytes]) -> int:
    """The bytes that the directory of a ZIP file claims, in its 32-bit end record or, if there is one, its 64-bit one."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - ZIP_END_BYTES))
    tail = file.read(ZIP_END_BYTES)
    file.seek(0)
    found: list[int] = []
    for mark, offset, kind in ((b"PK\x05\x06", 12, "<I"), (b"PK\x06\x06", 40, "<Q")):
        place = tail.rfind(mark) + offset
        if place >= offset and place + struct.calcsize(kind) <= len(tail):
            found += struct.unpack_from(kind, tail, place)
    return max((claim for claim in found if claim != IN_64_BITS), default=0)


@contextmanager
def _explained(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except _DamagedError as error:
        raise damaged(path, str(error), remedy) from None
    except Exception as error:  # NumPy and zipfile raise SyntaxError, TokenError, BadZipFile, zlib.error ...
        raise damaged(path, f"it cannot be read ({error})", remedy) from error
