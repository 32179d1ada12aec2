"""Atomic writes: after a crash at any moment a file has its old content or its new one.

Content is written under a temporary name, flushed to disk, and renamed. A crash can leave a temporary file behind, which
`remove_leftovers` removes.

    run.json                   the file
    .run.json.0f3a95c1.part    its next content; another process may write the same file at the same time
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reviver.files.file_errors import explain_write_errors
from reviver.system import sync


@contextmanager
def atomic_write(path: Path, *, create_parent: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The data reaches the disk before the rename. A link at `path` stays, and the file that it leads to is replaced. A run
    folder does not `create_parent`: if somebody removed it, it stays removed. A failed write is a `RunFolderError`.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with explain_write_errors(path):
        if create_parent:
            make_folder(path.parent)
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            sync(temporary)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a crash left in `folder`; `RunFolderError` if it cannot be written."""
    with explain_write_errors(folder):
        for path in folder.glob(".*.part"):
            path.unlink()


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
