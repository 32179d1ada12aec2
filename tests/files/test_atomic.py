"""Atomic writes: a file has its old content or its new one, and nothing else is left."""

import errno
import os
from pathlib import Path

import pytest

from reviver.errors import RunFolderError
from reviver.files.atomic import atomic_write, remove_leftovers, write_text


class Failure(Exception):
    """Failure in the middle of a write."""


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def fail_in(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("no")
        raise Failure


def test_a_write_replaces_all_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    for text in ("old", "new"):
        (tmp_path / ".a.0123abcd.part").write_text("half")  # as a crash leaves it
        write_text(tmp_path / "link", text)
        remove_leftovers(tmp_path)
        for name in ("a", "link", "c"):
            with pytest.raises(Failure):
                fail_in(tmp_path / name)
        assert contents(tmp_path) == {"a": text, "link": text}
        assert (tmp_path / "link").is_symlink()


def test_a_write_error_names_the_remedy(tmp_path: Path) -> None:
    remedies = {
        errno.ENOSPC: "No space left on device.*free some space .* --resume",
        errno.EDQUOT: "quota .* --resume",
        errno.EROFS: "Read-only file system.*choose a folder that you may write to",
        errno.ENOENT: "the folder no longer exists; choose another one",
        errno.EIO: "Input/output error.*choose another folder",
    }
    for number, remedy in remedies.items():
        match = f"file: cannot be written .*{remedy}"
        with pytest.raises(RunFolderError, match=match), atomic_write(tmp_path / "file"):
            raise OSError(number, os.strerror(number))
    with pytest.raises(RunFolderError, match="cannot be written"):
        write_text(tmp_path / "gone" / "file", "text", create_parent=False)
    assert not list(tmp_path.iterdir())
