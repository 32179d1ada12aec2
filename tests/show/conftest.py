"""Tiny runs of every kind, to export and to report."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan_training
from reviver.train.lstm.training import train
from tests.gan.scores.conftest import shrink_mnist


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with mine.csv and runs: `custom`, `palindrome`, `digits`, `adding`, `copy`, `rnn`, `gan`."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    rows = [
        f"{' '.join(map(str, rng.normal(1e3, 3, rng.integers(3, 9)).round(3)))},{('a|b', '`c`')[k % 2]}"
        for k in range(40)
    ]
    (home / "mine.csv").write_text("sequence,label\n" + "\n".join(rows) + "\n")
    np.save(home / "images.npy", rng.integers(0, 256, (8, 6, 6), dtype=np.uint8))
    tiny = {"hidden_size": 6, "epochs": 2, "data_size": 40}
    for name, settings in {
        "custom": {"task": "custom", "data": str(home / "mine.csv"), "bidirectional": True},
        "palindrome": {"length": 4, "encoding": "onehot", "curriculum": True, "start_length": 2, "threshold": 0.1},
        "digits": {"task": "row-mnist", "length": 28, "num_layers": 2},
        "adding": {"task": "adding", "length": 6},
        "copy": {"task": "copy", "length": 3, "encoding": "onehot"},
        "rnn": {"length": 4, "cell": "rnn"},
    }.items():
        train(LSTMConfig(**tiny, **settings), home / name, device="cpu")
    gan = GANConfig(data=str(home / "images.npy"), image_size=6, latent_size=4, epochs=2, batch_size=4, ema=0.9)
    gan_training.train(gan, home / "gan", device="cpu")
    return home


@pytest.fixture(scope="module")
def few_images() -> Iterator[None]:
    """Train on few images of MNIST."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_mnist(patch)
        yield
