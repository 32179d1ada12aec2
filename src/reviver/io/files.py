"""Writing files whole or not at all, and what is said of files that cannot be written or read."""

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from reviver.errors import RunFolderError
from reviver.text import one_line


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into one line that says what to do."""
    try:
        yield
    except OSError as error:
        again = "and run the same command again (a training with --resume)"
        remedies = {
            errno.ENOSPC: f"free some space on the disk {again}",
            errno.EDQUOT: f"free some of your disk quota {again}",
            errno.ENOENT: "the folder is gone; choose another one",
            **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder that you may write to"),
            **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a part of this path is a file; choose another folder"),
        }
        remedy = remedies.get(error.errno or 0, "choose another folder")
        reason = error.strerror or str(error)
        raise RunFolderError(f"{path}: cannot be written ({reason}); {remedy}") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn a failure to read the file `path` of a run folder into one line that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise damaged(path, f"cannot be read ({one_line(error)})") from error


def damaged(where: object, problem: object) -> RunFolderError:
    """Return the error of a damaged file of a run folder; `where` is its path, or a line in it."""
    return RunFolderError(f"{where}: {problem}; the file is damaged, restore it or train again")


@contextmanager
def atomic_write(path: Path, *, create_parent: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it becomes `path` in one step, on failure it is removed.

    The data reaches the disk before the name does, so that a crash leaves the old file or the new one. The folder is
    made if it is missing, unless that would bring back one that somebody has removed.
    """
    temporary = unfinished(path)
    with explain_write_errors(path):
        if create_parent:
            make_folder(path.parent)
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Like `atomic_write`, for a folder of files in a folder that there is; one that is already at `path` is replaced.

    That takes two renames. A crash between them leaves the old folder at `replaced(path)`, see `clean_up`.
    """
    temporary, old = unfinished(path), replaced(path)
    with explain_write_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            for file_path in temporary.iterdir():
                sync(file_path)
            sync(temporary)
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                path.replace(old)
            temporary.replace(path)
            sync(path.parent)
        except BaseException:
            if old.exists() and not path.exists():
                old.replace(path)
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)


def unfinished(path: Path) -> Path:
    """Where the new content of `path` is written before it takes that name."""
    return path.with_name(f".{path.name}.part")


def replaced(path: Path) -> Path:
    """Where a folder at `path` is for the moment in which a new one takes its place."""
    return path.with_name(f".{path.name}.old")


def clean_up(folder: Path) -> None:
    """Put right what a process that died while it wrote left in `folder`: what is unfinished goes, what is old comes back."""
    with explain_write_errors(folder):
        for path in folder.glob(".*.old"):
            current = folder / path.name[1 : -len(".old")]
            if current.exists():
                shutil.rmtree(path)
            else:
                path.replace(current)
        for path in folder.glob(".*.part"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def make_folder(path: Path) -> None:
    """Make the folder `path`, with those above it that are missing, and make their names durable."""
    if path.is_dir():
        return
    if not path.parent.exists():
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def write_text(path: Path, text: str, *, create_parent: bool = True) -> None:
    """Write `text` to `path`, whole or not at all, see `atomic_write`."""
    with atomic_write(path, create_parent=create_parent) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, create_parent: bool = True) -> None:
    """Write `value` as JSON to `path`, see `atomic_write`. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, create_parent=create_parent)


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_file(path: Path, limit: int | None = None) -> BufferedReader:
    """Open a regular file of at most `limit` bytes to read bytes.

    Raises:
        OSError: if it is anything else.
    """
    # a pipe that nobody writes to would block if it were opened without O_NONBLOCK
    with ExitStack() as opened:
        file = opened.enter_context(open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)))
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        if limit is not None and status.st_size > limit:
            raise OSError(f"it has {status.st_size} bytes, more than the {limit} that are read")
        opened.pop_all()
        return file


def read_file(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        OSError: if it is anything else.
    """
    with open_file(path, limit) as file:
        return file.read(limit)


def read_lines(path: Path, longest: int, limit: int) -> Iterator[bytes]:
    """The lines of a regular file of at most `limit` bytes, each with its end; one without an end comes last.

    Raises:
        OSError: if it is anything else.
        ValueError: if a line has more than `longest` bytes.
    """
    with open_file(path, limit) as file:
        while line := file.readline(longest + 1):
            if len(line) > longest:
                raise ValueError(f"a line has more than {longest} bytes")
            yield line


def refuse_links_out(folder: Path) -> None:
    """Refuse a folder in which a link leads out of it, or something is neither file nor folder.

    What vanishes meanwhile, as in a folder that is being trained in, is passed over.

    Raises:
        OSError: if a part of it cannot be read.
        ValueError: naming the first such thing.
    """
    home = folder.resolve()
    waiting = [folder]
    while waiting:
        with suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                name = path.relative_to(folder)
                if entry.is_symlink():
                    target = Path(os.path.realpath(path))
                    if not target.is_relative_to(home) or not (target.is_file() or target.is_dir()):
                        raise ValueError(f"{name} is a link that leads out of the folder, or to nothing")
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif not entry.is_file(follow_symlinks=False) and os.path.lexists(path):
                    raise ValueError(f"{name} is neither a file nor a folder")
