"""Atomic writes: after a failure a file or folder has its old content."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from reviver.errors import RunFolderError
from reviver.files.atomic import atomic_folder, atomic_write, write_json, write_text


class Failure(Exception):
    """Failure in the middle of a write."""


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_text(path, "old")

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("ne")
            assert path.read_text() == "old", "the old file exists until the new one is complete"
            raise Failure

    with pytest.raises(Failure):
        write()
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["value.json"]
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [found.name for found in tmp_path.iterdir()] == ["value.json"]


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}])
def test_non_finite_json_keeps_the_old_file(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, value)
    assert json.loads(path.read_text()) == {"a": 1}
    assert not list(tmp_path.rglob(".*"))


def make_old_folder(path: Path) -> None:
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
        (temporary / "b").write_text("old")


def read_folder(path: Path) -> dict[str, str]:
    return {found.name: found.read_text() for found in path.iterdir()}


def test_failed_write_keeps_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    make_old_folder(path)

    def write() -> None:
        with atomic_folder(path) as temporary:
            (temporary / "a").write_text("new")
            raise Failure

    with pytest.raises(Failure):
        write()
    assert read_folder(path) == {"a": "old", "b": "old"}
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_failed_rename_keeps_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder"
    make_old_folder(path)
    rename = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunFolderError, match=r"folder: cannot be written \(Input/output error\)"):
        make_old_folder(path)
    assert read_folder(path) == {"a": "old", "b": "old"}
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_leftover_temporary_files_do_not_block_writes(tmp_path: Path) -> None:
    (tmp_path / ".folder.part").mkdir()
    (tmp_path / ".folder.part" / "truncated").write_text("truncated")
    (tmp_path / ".value.json.part").write_text("truncated")
    make_old_folder(tmp_path / "folder")
    write_text(tmp_path / "value.json", "{}")
    assert read_folder(tmp_path / "folder") == {"a": "old", "b": "old"}
    assert sorted(found.name for found in tmp_path.iterdir()) == ["folder", "value.json"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device.*free some space .* --resume"),
        (errno.EDQUOT, "quota .* --resume"),
        (errno.EACCES, "Permission denied.*choose a folder that you may write to"),
        (errno.EROFS, "Read-only file system.*choose a folder that you may write to"),
        (errno.EIO, "Input/output error.*choose another folder"),
    ],
)
def test_write_error_names_the_remedy(number: int, remedy: str, tmp_path: Path) -> None:
    def write() -> None:
        with atomic_write(tmp_path / "file"):
            raise OSError(number, os.strerror(number))

    with pytest.raises(RunFolderError, match=f"file: cannot be written .*{remedy}") as caught:
        write()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
