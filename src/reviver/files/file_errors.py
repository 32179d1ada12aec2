"""Errors of files, in one line each: what is wrong with which file, and what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reviver.errors import DataError, RunFolderError
from reviver.text import one_line

DATA_REMEDY = "replace the file or remove it"
"""Remedy for a damaged data file where the caller knows no better one."""


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Convert an `OSError` raised inside to a `RunFolderError` that names `path` and the remedy."""
    try:
        yield
    except OSError as error:
        again = "and run the same command again (a training with --resume)"
        remedies = {
            errno.ENOSPC: f"free some space on the disk {again}",
            errno.EDQUOT: f"free some of your disk quota {again}",
            errno.ENOENT: "the folder no longer exists; choose another one",
            **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder that you may write to"),
            **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a part of this path is a file; choose another folder"),
        }
        remedy = remedies.get(error.errno or 0, "choose another folder")
        raise RunFolderError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from error


def check_writable(path: Path) -> None:
    """Check, before a long computation, that a file can be written at `path`."""
    with explain_write_errors(path):
        nearest = next(folder for folder in Path(os.path.realpath(path)).parents if folder.exists())
        is_writable = os.access(nearest, os.W_OK)
        for code, is_error in (
            (errno.ENOTDIR, not nearest.is_dir()),
            (errno.EISDIR, path.is_dir()),
            (errno.EACCES, not is_writable),
        ):
            if is_error:
                raise OSError(code, os.strerror(code))


@contextmanager
def explain_read_errors(path: Path) -> Iterator[None]:
    """Convert an `OSError` or `ValueError` raised inside to a `RunFolderError` that names the file `path` of a run."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise damaged_run_file(path, f"cannot be read ({one_line(error)})") from error


def damaged_run_file(location: object, problem: object) -> RunFolderError:
    """Return the error of a damaged file of a run folder; `location` is its path, or its path and a line."""
    return RunFolderError(f"{location}: {problem}; the file is damaged, restore it or train again")


def damaged_data_file(path: Path, problem: str, remedy: str = DATA_REMEDY) -> DataError:
    """Return the error of a damaged data file."""
    return DataError(f"{path}: {one_line(problem)}; {remedy}")
