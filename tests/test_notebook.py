"""`reviver.explore`: the explorer in a sandboxed frame of a notebook."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import reviver
from reviver.errors import ConfigError, RunFolderError
from reviver.explorer import notebook
from reviver.explorer.notebook import explore
from reviver.train.lstm.run import LSTMRun
from reviver.train.lstm.training import train
from tests.lstm_runs import TINY


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LSTMRun:
    loaded = reviver.load(train(TINY, tmp_path_factory.mktemp("notebook") / 'a "quoted" <run>').path)
    assert isinstance(loaded, LSTMRun)
    return loaded


def frame_of(text: str) -> dict[str, str | None]:
    """Return the attributes of the only element of a text."""
    found: list[dict[str, str | None]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag == "iframe"
            found.append(dict(attrs))

        def handle_data(self, data: str) -> None:
            raise AssertionError(data)

    Parser().feed(text)
    (frame,) = found
    return frame


def test_a_notebook_shows_the_page_in_a_sandboxed_frame(run: LSTMRun) -> None:
    page = explore(run, height=500)
    frame = frame_of(page._repr_html_())
    assert frame["srcdoc"] == page.html
    assert frame["sandbox"] == "allow-scripts allow-downloads"
    assert frame["title"] == 'Explorer of a "quoted" <run>'
    assert (frame["width"], frame["height"]) == ("100%", "500")
    assert page.html.startswith("<!doctype html>")
    assert repr(page) == f'<Explorer of a "quoted" <run>, {len(page.html) / 1e6:.1f} MB>'


def test_it_is_exported(run: LSTMRun) -> None:
    assert reviver.explore is explore
    assert reviver.explore(run.folder.path).html == explore([run]).html == explore(str(run.folder.path)).html


def test_save(run: LSTMRun, tmp_path: Path) -> None:
    page = explore(run)
    page.save(tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == page.html
    with pytest.raises(RunFolderError, match="cannot be written"):
        page.save(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {"num_training": None, "with_data": True}),
        ({"training_images": 0}, {"num_training": 0, "with_data": True}),
        ({"with_data": False}, {"num_training": None, "with_data": False}),
    ],
)
def test_options(
    arguments: dict[str, Any], expected: dict[str, Any], run: LSTMRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def record(runs: Any, **options: Any) -> str:
        assert runs == [run, run]
        calls.append(options)
        return ""

    monkeypatch.setattr(notebook, "explorer_page", record)
    explore([run, run], **arguments)
    assert calls == [expected]


def test_wrong_arguments(run: LSTMRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^runs must hold at least one run, got none$"):
        explore([])
    with pytest.raises(ConfigError, match=r"^height must be at least 100, got 3$"):
        explore(run, height=3)
    with pytest.raises(ConfigError, match=r"^training_images must be at least 0, got -1$"):
        explore(run, training_images=-1)
    with pytest.raises(RunFolderError, match="does not exist"):
        explore(tmp_path / "nothing")
