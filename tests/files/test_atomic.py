"""Atomic writes: a file has its old content or its new one, and nothing else is left."""

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from reviver.errors import RunFolderError
from reviver.files import cache
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


# The cache of expensive results


def test_a_result_is_computed_once_and_again_if_its_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "new"))
    expected = {"a": torch.arange(1000.0), "b": torch.tensor(2.5, dtype=torch.float64), "c": torch.zeros(0, 3)}
    calls = []

    def read() -> None:
        def build() -> dict[str, Tensor]:
            calls.append(1)
            return expected

        found = cache.cached("name", build)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())

    read()
    (path,) = (tmp_path / "new").iterdir()
    content = path.read_bytes()
    for damaged, count in ((content, 1), (content[:-9], 2), (b"", 3)):
        path.write_bytes(damaged)
        read()
        assert (len(calls), path.read_bytes() == content) == (count, True)
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["name.safetensors"]


def test_a_cache_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "file"))
    assert cache.cached("name", lambda: {"a": torch.ones(1)}) == {"a": torch.ones(1)}
    assert "name: cannot be cached ([Errno 17]" in caplog.text
    for variable in ("REVIVER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory.")))
    assert cache.cached("name", lambda: {"a": torch.ones(1)}) == {"a": torch.ones(1)}
    assert "name: cannot be cached ([Errno 2] there is no home folder, set REVIVER_CACHE" in caplog.text


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/c")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("REVIVER_CACHE", "")
    assert str(cache.cache_folder()) == "/c/.cache/reviver"
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert str(cache.cache_folder()) == "/b/reviver"
    monkeypatch.setenv("REVIVER_CACHE", "/a")
    assert str(cache.cache_folder()) == "/a"
