"""Chromium, and the pages that the tests of the explorer open."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from filelock import FileLock

from reviver.explorer import gan_images
from reviver.explorer.page import build_page
from reviver.run import load
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.presets import GAN_PRESETS, LSTM_PRESETS
from reviver.train.gan import training as gan
from reviver.train.lstm import training as lstm
from tests.explorer.edits import load_some_images

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.explorer.browser import Show

OWN_CELL = "z = sigmoid(W_z @ x + U_z @ h)  # gate\nc = max(c, normalize(W @ x + z * h))\nh = h + z * (tanh(c * u_c) - h)\nu_c: 1"
SMALL = LSTMConfig(hidden_size=6, epochs=2, data_size=60, batch_size=16, seed=3)
SMALL_LSTMS = {
    "palindrome": replace(SMALL, hidden_size=12, encoding="onehot", length=6, epochs=20),
    "copy": replace(SMALL, task="copy", length=3, encoding="onehot"),
    "adding": replace(SMALL, task="adding", length=8),
    "order": replace(SMALL, task="temporal-order", length=12, encoding="onehot"),
    "parity": replace(SMALL, task="parity", curriculum=True, start_length=4, length=12, threshold=0.01),
    **{
        name: replace(SMALL, task=name, length=12)
        for name in ("modular", "permutations", "counting", "nesting", "associative-recall")
    },
    "rows": replace(SMALL, task="row-mnist", length=28),
    "pixels": replace(SMALL, task="pixel-mnist", length=49, patch_size=3, pooling="max"),
    "zoneout": replace(SMALL, hidden_dropout_kind="zoneout", num_layers=2, patience=2),
    "variational": replace(SMALL, hidden_dropout_kind="variational", num_layers=2, bidirectional=True),
    "attention": replace(SMALL, pooling="attention", num_layers=2, bidirectional=True),
    "mean": replace(SMALL, pooling="mean"),
    "rnn": replace(SMALL, cell="rnn"),
    "bf16": replace(SMALL, precision="bf16"),
}


SMALL_NAMES = (*SMALL_LSTMS, "custom", "gru", "own")
"""Names of the LSTM runs in the page of tiny runs, in its order."""


def lstm_id(name: str) -> str:
    """Return what the page calls a run of `SMALL_NAMES`."""
    return f"lstm-{SMALL_NAMES.index(name)}"


def write_page(folder: Path, configs: Mapping[str, GANConfig | LSTMConfig]) -> Path:
    """Train runs and write their page; the first test process does that for all."""
    page = folder / "explorer.html"
    with FileLock(folder.with_suffix(".lock")):
        if not page.exists():
            shutil.rmtree(folder, ignore_errors=True)
            for name, config in configs.items():
                if isinstance(config, GANConfig):
                    gan.train(config, folder / name, device="cpu")
                else:
                    lstm.train(config, folder / name, device="cpu")
            build_page([load(folder / name) for name in configs]).save(page)
    return page


@pytest.fixture(scope="session")
def explorer_page(shared_folder: Path) -> Path:
    """Return a page of a GAN that learned some digits of MNIST, and an LSTM."""
    configs = {
        "gan": replace(GAN_PRESETS["best"], epochs=1, eval_every=0, batch_norm_samples=1000),
        "lstm": replace(LSTM_PRESETS["original"], epochs=2),
    }
    with pytest.MonkeyPatch.context() as patch:
        for module in (gan, gan_images):
            patch.setattr(module, "load_images", load_some_images)
        return write_page(shared_folder / "explorer-page", configs)


@pytest.fixture(scope="session")
def small_page(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page of tiny runs of many kinds, with a snapshot of each of the 12 updates of a GAN."""
    data, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    gray, color = (rng.integers(0, 256, shape, np.uint8) for shape in ((41, 8, 8), (41, 12, 12, 3)))
    np.savez(data / "gray.npz", images=gray, labels=np.arange(41) % 3)
    np.savez(data / "color.npz", images=color)
    x = rng.normal(1e4, 250.0, (40, 5, 2)) * (1, 1e-6)  # channels of different scales
    y = np.array(["left", "right"])[np.arange(40) // 20]  # sorted by class
    np.savez(data / "table.npz", x=x.astype(np.float32), y=y, lengths=rng.integers(2, 6, 40))
    tiny = GANConfig(data=str(data / "gray.npz"), image_size=8, latent_size=8, epochs=4, batch_size=16)
    tiny = replace(tiny, sample_every=3, log_every=2, eval_every=0)
    configs = {
        "plain": tiny,
        "with 'classes'": replace(tiny, seed=1, conditional=True),
        "color": replace(tiny, data=str(data / "color.npz"), image_size=12, loss="wasserstein", gradient_penalty=1.0),
        **SMALL_LSTMS,
        "custom": replace(SMALL, task="custom", data=str(data / "table.npz"), bidirectional=True, patch_size="auto"),
        "gru": replace(SMALL, cell="gru", num_layers=2, bidirectional=True),
        "own": replace(SMALL, cell=OWN_CELL, hidden_dropout_kind="zoneout"),
    }
    return write_page(shared_folder / "small-page", configs)


@pytest.fixture(scope="package")
def opener(explorer_page: Path, browser: "Browser") -> "Show":
    """Return what opens pages in Chromium."""
    from tests.explorer.browser import Show

    return Show(browser, explorer_page)


@pytest.fixture
def show(opener: "Show") -> Iterator["Show"]:
    """Yield what opens pages, and check at the end that nothing went wrong in them."""
    yield opener
    opener.close_pages()
