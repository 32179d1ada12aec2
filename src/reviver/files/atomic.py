"""Atomic writes: after a crash at any moment a file or folder has its old content or its new one.

Content is written under a temporary name, flushed to disk, and renamed. A crash can leave a temporary file behind. The next
write to the same path removes it, and `recover_interrupted_writes` those of a whole folder.

    run.json                   the file
    .run.json.0f3a95c1.part    its next content, see `temporary_path`
    step-10/                   a folder
    .step-10.old/              its previous content, while the next one takes its name, see `previous_path`
"""

import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reviver.files.file_errors import explain_write_errors
from reviver.system import holding, is_abandoned, sync


@contextmanager
def atomic_write(path: Path, *, create_parent: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The data reaches the disk before the rename. A link at `path` stays, and the file that it leads to is replaced. A run
    folder does not `create_parent`: if somebody removed it, it stays removed. A failed write is a `RunFolderError`.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = temporary_path(path)
    with explain_write_errors(path):
        if create_parent:
            make_folder(path.parent)
        _remove_abandoned(path)
        temporary.touch(exist_ok=False)
        try:
            with holding(temporary):
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
    """Yield an empty temporary folder beside `path`; rename it to `path` on success, remove it on failure.

    The parent must exist. A folder at `path` is replaced by two renames. A crash between them leaves the previous folder
    at `previous_path(path)`; `recover_interrupted_writes` moves it back.

    Raises:
        RunFolderError: if the folder cannot be written.
    """
    temporary, previous = temporary_path(path), previous_path(path)
    with explain_write_errors(path):
        _remove_abandoned(path)
        temporary.mkdir()
        try:
            with holding(temporary):
                yield temporary
            for file_path in temporary.iterdir():
                sync(file_path)
            sync(temporary)
            if path.exists():
                shutil.rmtree(previous, ignore_errors=True)
                path.replace(previous)
            temporary.replace(path)
            sync(path.parent)
        except BaseException:
            if previous.exists() and not path.exists():
                previous.replace(path)
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(previous, ignore_errors=True)


def temporary_path(path: Path) -> Path:
    """Return a new name beside `path` for its next content; another process may write the same file at the same time."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def previous_path(path: Path) -> Path:
    """Return the temporary name of the folder that is being replaced at `path`."""
    return path.with_name(f".{path.name}.old")


def recover_interrupted_writes(folder: Path) -> None:
    """Remove temporary files and folders that a crash left in `folder`, and move a replaced folder back.

    Raises:
        RunFolderError: if the folder cannot be written.
    """
    with explain_write_errors(folder):
        for path in folder.glob(".*.old"):
            current = folder / path.name[1 : -len(".old")]
            if current.exists():
                shutil.rmtree(path)
            else:
                path.replace(current)
        for path in folder.glob(".*.part"):
            _remove(path)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes left of the next content of `path`."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        if is_abandoned(leftover):
            _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folder(path: Path, *, create_parent: bool = True) -> None:
    """Create the folder `path` and its missing parents, see `atomic_write`, and flush their names to disk."""
    if path.is_dir():
        return
    if create_parent and not path.parent.exists():
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def write_text(path: Path, text: str, *, create_parent: bool = True) -> None:
    """Write `text` to `path` as UTF-8, see `atomic_write`."""
    with atomic_write(path, create_parent=create_parent) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")  # the same bytes on every system


def write_json(path: Path, value: Any, *, create_parent: bool = True) -> None:
    """Write `value` to `path` as JSON, see `atomic_write`; NaN and infinity, which JSON lacks, are a `ValueError`."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, create_parent=create_parent)
