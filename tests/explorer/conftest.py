"""Chromium, and the page that most tests of the explorer open."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from reviver.explorer import gan_images
from reviver.explorer.build import write_explorer
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS
from reviver.train.gan import training as gan
from reviver.train.loading import load
from reviver.train.lstm import training as lstm
from tests.explorer.edits import load_some_images
from tools.chromium import find_chromium, open_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.explorer.browser import Show


@pytest.fixture(scope="session")
def explorer_page(shared_folder: Path) -> Path:
    """Return a page of a GAN that learned some digits of MNIST, and an LSTM; the first test process builds it."""
    folder = shared_folder / "explorer-page"
    page = folder / "explorer.html"
    with FileLock(shared_folder / "explorer-page.lock"):
        if not page.exists():
            with pytest.MonkeyPatch.context() as patch:
                for module in (gan, gan_images):
                    patch.setattr(module, "load_images", load_some_images)
                gan.train(replace(GAN_PRESETS["best"], epochs=1, eval_every=0), folder / "gan", device="cpu")
                lstm.train(replace(LSTM_PRESETS["original"], epochs=2), folder / "lstm", device="cpu")
                write_explorer([load(folder / "gan"), load(folder / "lstm")], page)
    return page


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Yield Chromium, or skip the test where there is none."""
    if find_chromium() is None:
        pytest.skip("no Chromium; install it to test the explorer in a browser")
    with open_browser() as opened:
        yield opened


@pytest.fixture
def show(browser: "Browser", explorer_page: Path) -> Iterator["Show"]:
    """Yield what opens pages, and check at the end that nothing went wrong in them."""
    from tests.explorer.browser import Show

    opener = Show(browser, explorer_page)
    yield opener
    opener.close()
