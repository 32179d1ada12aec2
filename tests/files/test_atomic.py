"""Atomic writes: a file or folder has its old content or its new one, and nothing else is left."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reviver.errors import RunFolderError
from reviver.files.atomic import (
    atomic_folder,
    atomic_write,
    previous_path,
    recover_interrupted_writes,
    temporary_path,
    write_json,
    write_text,
)


class Failure(Exception):
    """Failure in the middle of a write."""


def contents(path: Path) -> Any:
    """Return the text of a file, or that of each file in a folder by its name; None if there is nothing."""
    if path.is_dir():
        return {child.name: contents(child) for child in path.iterdir()}
    return path.read_text() if path.exists() else None


def write(path: Path, *, fail: bool = False, **files: str) -> None:
    """Write a folder with some files, or a file with the text `text`."""
    before = contents(path)
    with atomic_write(path) if "text" in files else atomic_folder(path) as temporary:
        for name, text in files.items():
            (temporary if name == "text" else temporary / name).write_text(text)
        assert before == contents(path), "the old one stays until the new one is complete"
        if fail:
            raise Failure


@pytest.mark.parametrize("leftover", [False, True])
def test_a_write_replaces_all_or_nothing(leftover: bool, tmp_path: Path) -> None:
    file, folder, link = tmp_path / "a", tmp_path / "b", tmp_path / "link"
    link.symlink_to("a")
    for text in ("old", "new"):
        if leftover:  # as a crash leaves them
            temporary_path(file).write_text("half")
            write(temporary_path(folder), x="half")
            write(previous_path(folder), x="half")
        write(link, text=text)
        write(folder, **{"x": text, "y" + text: text})
        recover_interrupted_writes(tmp_path)
        for _ in range(2):
            assert contents(tmp_path) == {"a": text, "link": text, "b": {"x": text, "y" + text: text}}
            for path, files in ((file, {"text": "no"}), (tmp_path / "c", {"text": "no"}), (folder, {"x": "no"})):
                with pytest.raises(Failure):
                    write(path, fail=True, **files)


def test_what_a_killed_process_left_is_removed_by_the_next_write_and_what_is_being_written_is_not(
    tmp_path: Path,
) -> None:
    script = """
import os, sys
from pathlib import Path
from reviver.files.atomic import atomic_folder, atomic_write
with atomic_write(Path("a [1]")) as file, atomic_folder(Path("b")) as folder:
    file.write_text("half")
    (folder / "x").write_text("half")
    for path in (file, folder):
        os.utime(path, (0, 0))
    print(flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for left in (4, 2):
            write(tmp_path / "a [1]", text="new")
            write(tmp_path / "b", x="new")
            assert len(list(tmp_path.iterdir())) == left
            process.kill()
            process.wait()


def test_of_two_writers_of_a_file_the_last_one_wins(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as temporary, temporary.open("w") as file:
        file.write("last")
        write(tmp_path / "a", text="the other")
    assert contents(tmp_path) == {"a": "last"}


@pytest.mark.parametrize("refused", [".b.0.part", "b"])
def test_a_failed_rename_keeps_the_old_folder(refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "b", x="old")
    rename = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if re.sub("[0-9a-f]{8}", "0", self.name) == refused:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunFolderError, match=r"b: cannot be written \(Input/output error\)"):
        write(tmp_path / "b", x="new")
    assert contents(tmp_path) == {"b": {"x": "old"}}


def test_recovery_moves_a_replaced_folder_back_and_removes_the_rest(tmp_path: Path) -> None:
    temporary_path(tmp_path / "a").write_text("half")
    for name in ("b", "c"):
        write(temporary_path(tmp_path / name), x="half")
        write(previous_path(tmp_path / name), x="old")
    write(tmp_path / "c", x="new")
    write(previous_path(tmp_path / "c"), x="old")
    (tmp_path / "d").mkdir()
    temporary_path(tmp_path / "e").symlink_to(tmp_path / "d")
    recover_interrupted_writes(tmp_path)
    assert contents(tmp_path) == {"b": {"x": "old"}, "c": {"x": "new"}, "d": {}}


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
