"""The cache of expensive results: read again, computed again where damaged, and where it is."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from reviver.files import cache

DAMAGES = {
    "cut": lambda content: content[:-9],
    "flipped": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "emptied": lambda content: b"",
    "other": lambda content: b"PK" + bytes(100),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_recomputed(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "new"))
    calls = []

    def build() -> dict[str, Tensor]:
        calls.append(1)
        return {"a": torch.arange(1000.0), "b": torch.tensor(2.5, dtype=torch.float64), "c": torch.zeros(0, 3)}

    assert torch.equal(cache.cached("name", build)["a"], torch.arange(1000.0))
    assert torch.equal(cache.cached("name", build)["b"], torch.tensor(2.5, dtype=torch.float64))
    assert len(calls) == 1
    (path,) = (tmp_path / "new").iterdir()
    content = path.read_bytes()
    path.write_bytes(DAMAGES[damage](content))
    assert torch.equal(cache.cached("name", build)["a"], torch.arange(1000.0))
    assert len(calls) == 2
    assert path.read_bytes() == content
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["name.safetensors"]


def test_a_cache_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path / "file"))
    assert cache.cached("name", lambda: {"a": torch.ones(1)}) == {"a": torch.ones(1)}
    assert "cannot be cached" in caplog.text


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({"REVIVER_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/reviver"),
        ({"REVIVER_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/reviver"),
    ],
)
def test_the_cache_folder_follows_the_environment(
    settings: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REVIVER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert str(cache.cache_folder()) == folder
