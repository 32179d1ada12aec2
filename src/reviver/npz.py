"""Arrays from .npz and .npy files that are not trusted.

Sizes are compared with the file before memory is taken, and nothing is unpickled.
"""

import io
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

DEFLATE_MAX_RATIO = 1032
"""No deflate stream expands further; a header that claims more is wrong."""

MAX_HEADER_BYTES = 1 << 16
"""The text that gives an array's shape and kind of number is a hundred bytes long; NumPy itself stops at 10 000."""

REMEDY = "replace the file or take it out"


def damaged(path: Path, problem: str, remedy: str = REMEDY) -> DataError:
    """The error that names a file, what is wrong with it, and what to do, in one line."""
    return DataError(f"{path}: {textwrap.shorten(problem, 200)}; {remedy}")


def read_npy(path: Path, *, remedy: str = REMEDY) -> np.ndarray[Any, Any]:
    """The array of an .npy file.

    Raises:
        DataError: if the file is damaged, is no array, or holds Python objects.
    """
    with _explained(path, remedy), path.open("rb") as file:
        return _read_array(path, file, path.stat().st_size, remedy)


def npz_names(path: Path, *, remedy: str = REMEDY) -> list[str]:
    """What the arrays of an .npz file are called.

    Raises:
        DataError: if the file is no archive.
    """
    with _explained(path, remedy), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_npz(path: Path, name: str, *, limit: int | None = None, remedy: str = REMEDY) -> np.ndarray[Any, Any]:
    """The array called `name` of an .npz file; one of more than `limit` bytes is refused before it is read.

    Raises:
        DataError: if the file is damaged, has no such array, or holds it as Python objects.
    """
    with _explained(path, remedy), zipfile.ZipFile(path) as archive:
        info = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others expand without a bound
            raise damaged(path, f"{info.filename} is compressed in a way that NumPy does not use", remedy)
        packed = min(info.compress_size, path.stat().st_size)  # the archive's own word is not enough
        if info.compress_size > packed or info.file_size > max(packed, 1) * DEFLATE_MAX_RATIO:
            raise damaged(path, f"{info.filename} claims {info.file_size} bytes, more than the file can hold", remedy)
        with archive.open(info) as file:
            return _read_array(path, file, info.file_size, remedy, f"{info.filename}: ", limit)


def _read_array(
    path: Path, file: IO[bytes], file_size: int, remedy: str, label: str = "", limit: int | None = None
) -> np.ndarray[Any, Any]:
    """Read one array after comparing its header with the size of the data. Objects are refused."""
    shape, is_fortran, dtype = _read_header(path, file, remedy, label)
    if dtype.hasobject:
        raise damaged(
            path,
            f"{label}it holds Python objects (a pickle), which could run code; save a plain array of numbers",
            remedy,
        )
    size = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size > file_size:
        raise damaged(path, f"{label}its header claims {size} bytes and it holds {file_size}", remedy)
    if limit is not None and size > limit:
        raise damaged(path, f"{label}it has {size} bytes, more than the {limit} that are read", remedy)
    data = file.read(size)
    if len(data) != size:
        raise damaged(path, f"{label}its header claims {size} bytes and it holds {len(data)}", remedy)
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")


def _read_header(path: Path, file: IO[bytes], remedy: str, label: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """NumPy's own reading of a header, given no more than a header's worth of bytes."""
    is_first_version = np.lib.format.read_magic(file) == (1, 0)
    prefix = file.read(2 if is_first_version else 4)
    (length,) = struct.unpack("<H" if is_first_version else "<I", prefix)
    if length > MAX_HEADER_BYTES:
        raise damaged(path, f"{label}its header claims a length of {length} bytes", remedy)
    header = io.BytesIO(prefix + file.read(length))
    if is_first_version:
        return np.lib.format.read_array_header_1_0(header)
    return np.lib.format.read_array_header_2_0(header)


@contextmanager
def _explained(path: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # NumPy and zipfile raise SyntaxError, TokenError, BadZipFile, zlib.error ...
        raise damaged(path, f"it cannot be read ({error})", remedy) from error
