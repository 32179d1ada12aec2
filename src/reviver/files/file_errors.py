"""Errors of files, in one line each: what is wrong with which file, and what to do."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from reviver.errors import DataError, ReviverError, RunFolderError
from reviver.text import one_line

DATA_REMEDY = "replace the file or remove it"
"""Remedy for a damaged data file where the caller knows no better one."""
RUN_REMEDY = "the file is damaged, restore it or train again"


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
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        nearest = next(folder for folder in Path(os.path.realpath(path)).parents if folder.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass


@contextmanager
def reading(location: object, remedy: str = DATA_REMEDY, kind: type[ReviverError] = DataError) -> Iterator[None]:
    """Convert whatever a library raises inside, on a damaged or missing file, to one line of a `kind` of error.

    The line names the `location`, a path or a path and a line, the problem and the remedy. Errors of Reviver that name the location pass.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ReviverError) and str(location) in str(error):
            raise
        problem = (isinstance(error, OSError) and error.strerror) or one_line(error)
        raise kind(f"{location}: cannot be read ({problem}); {remedy}") from error


def explain_read_errors(location: object) -> AbstractContextManager[None]:
    """Convert errors inside as `reading` does, to a `RunFolderError` of a file of a run."""
    return reading(location, RUN_REMEDY, RunFolderError)


def damaged_run_file(location: object, problem: object) -> RunFolderError:
    """Return the error of a damaged file of a run folder; `location` is its path, or its path and a line."""
    return RunFolderError(f"{location}: {problem}; {RUN_REMEDY}")


def damaged_data_file(path: Path, problem: str, remedy: str = DATA_REMEDY) -> DataError:
    """Return the error of a damaged data file."""
    return DataError(f"{path}: {one_line(problem)}; {remedy}")
