"""The command line, whose cells run in this process."""

from pathlib import Path

import pytest

from reviver.sweep import engines
from tests.sweep.cells import InlineEngine


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the cells of a command run in this process, in an empty folder."""
    monkeypatch.setattr(engines, "Pool", InlineEngine)
    monkeypatch.chdir(tmp_path)
