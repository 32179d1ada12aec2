"""The page that most tests of the explorer open: a GAN that learned MNIST for one epoch, and an LSTM of the report.

It is built once for all test processes.
"""

from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from reviver.explorer.build import write_explorer
from reviver.settings.gan_presets import PRESETS as GAN_PRESETS
from reviver.settings.lstm_presets import PRESETS as LSTM_PRESETS
from reviver.train.gan import training as gan
from reviver.train.loading import load
from reviver.train.lstm import training as lstm


def build_page(folder: Path) -> Path:
    """Train both runs in `folder`, and write their page."""
    gan.train(replace(GAN_PRESETS["best"], epochs=1, eval_every=0), folder / "gan", device="cpu")
    lstm.train(replace(LSTM_PRESETS["original"], epochs=20), folder / "lstm", device="cpu")
    page = folder / "explorer.html"
    write_explorer([load(folder / "gan"), load(folder / "lstm")], page)
    return page


def find_page(shared: Path) -> Path:
    """Return the page in the folder that all test processes share; the first process builds it."""
    folder = shared / "explorer-page"
    with FileLock(shared / "explorer-page.lock"):
        if not (folder / "explorer.html").exists():
            folder.mkdir(exist_ok=True)
            build_page(folder)
    return folder / "explorer.html"
