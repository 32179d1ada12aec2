"""Atomic writes: a file has its old content or its new one, and nothing else is left."""

import errno
import json
import os
from pathlib import Path

import pytest

from reviver.errors import RunFolderError
from reviver.files.atomic import atomic_write, remove_leftovers, write_json, write_text


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


def test_of_two_writers_of_a_file_the_last_one_wins(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as temporary, temporary.open("w") as file:
        file.write("last")
        write_text(tmp_path / "a", "the other")
    assert contents(tmp_path) == {"a": "last"}


def test_json_is_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", {"ü": [1, None]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", {"a": float("inf")})
    assert json.loads((tmp_path / "value.json").read_text(encoding="utf-8")) == {"ü": [1, None]}
    assert [path.name for path in tmp_path.iterdir()] == ["value.json"]


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
