"""Reading of untrusted files: only regular files of limited size, and no links that leave a folder."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reviver.files.file_errors import DATA_REMEDY, reading
from reviver.system import open_without_blocking


def open_file(path: Path, max_bytes: int | None = None) -> BufferedReader:
    """Open a file for reading bytes; raise `OSError` unless it is a regular file of at most `max_bytes` bytes."""
    with ExitStack() as opened:
        file = opened.enter_context(open(path, "rb", opener=open_without_blocking))
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        if max_bytes is not None and status.st_size > max_bytes:
            raise OSError(f"it has {status.st_size} bytes, the limit is {max_bytes}")
        opened.pop_all()
        return file


@contextmanager
def open_arrays(path: Path, remedy: str = DATA_REMEDY) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Yield the arrays of an .npz file by name, each read when it is used; errors inside are those of `reading`."""
    with reading(path, remedy), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        yield archive


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file; raise `OSError` unless it is a regular file of at most `max_bytes` bytes."""
    with open_file(path, max_bytes) as file:
        return file.read(max_bytes)


def read_lines(path: Path, max_line_bytes: int, max_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a regular file of at most `max_bytes` bytes, each with its newline; the last may lack it.

    Raises:
        OSError: if it is not a regular file, or too large.
        ValueError: if a line has more than `max_line_bytes` bytes.
    """
    with open_file(path, max_bytes) as file:
        while line := file.readline(max_line_bytes + 1):
            if len(line) > max_line_bytes:
                raise ValueError(f"a line has more than {max_line_bytes} bytes")
            yield line


def reject_external_links(folder: Path) -> None:
    """Raise if `folder` contains a link that leads out of it, or anything that is neither a file nor a folder.

    Entries that disappear during the scan are skipped, since another process may be training in the folder.

    Raises:
        OSError: if a subfolder cannot be read.
        ValueError: naming the first such entry.
    """
    root = folder.resolve()
    pending = [folder]
    while pending:
        with suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                name = path.relative_to(folder)
                if entry.is_symlink():
                    target = Path(os.path.realpath(path))
                    if not target.is_relative_to(root) or not (target.is_file() or target.is_dir()):
                        raise ValueError(f"{name} is a link that leads out of the folder, or to nothing")
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif not entry.is_file(follow_symlinks=False) and os.path.lexists(path):
                    raise ValueError(f"{name} is neither a file nor a folder")
