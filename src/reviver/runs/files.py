"""Writing files whole or not at all."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reviver.errors import RunFolderError


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into one line that says what to do."""
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "free some space on the disk and run the same command again (a training with --resume)",
            errno.EDQUOT: "free some of your disk quota and run the same command again (a training with --resume)",
            errno.EACCES: "choose a folder that you may write to",
            errno.EPERM: "choose a folder that you may write to",
            errno.EROFS: "choose a folder that you may write to",
            errno.ENOENT: "the folder is gone; choose another one",
            errno.ENOTDIR: "a part of this path is a file; choose another folder",
            errno.EEXIST: "a part of this path is a file; choose another folder",
        }
        remedy = remedies.get(error.errno or 0, "choose another folder")
        reason = error.strerror or str(error)
        raise RunFolderError(f"{path}: cannot be written ({reason}); {remedy}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it becomes `path` in one step, on failure it is removed.

    The data reaches the disk before the name does, so that a crash leaves the old file or the new one.
    """
    temporary = path.with_name(f".{path.name}.part")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Like `replacing`, for a folder of files; a folder that is already at `path` is replaced."""
    temporary = path.with_name(f".{path.name}.part")
    old = path.with_name(f".{path.name}.old")
    with explained(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file_path in temporary.iterdir():
                with file_path.open("rb") as file:
                    os.fsync(file.fileno())
            sync_folder(temporary)
            shutil.rmtree(old, ignore_errors=True)
            if path.exists():
                path.replace(old)
            temporary.replace(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.replace(path)
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON to `path`, whole or not at all. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
