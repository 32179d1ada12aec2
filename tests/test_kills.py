"""Runs that are killed at any moment and resumed end with the same folders as uninterrupted runs."""

import os
import random
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reviver.data.images.image_set import load_mnist
from reviver.gan import networks
from reviver.gan.scores.digit_classifier import weights_path
from reviver.settings.fields import override
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan.training import train as train_gan
from reviver.train.loading import load
from reviver.train.lstm.training import train as train_lstm
from tests.children import CallCounter, Copier, die, open_server, run_child
from tests.contents import contents
from tests.gan.scores.conftest import write_idx
from tests.golden.make import NARROW

KILLS = {"LSTM": 9, "LSTM with curriculum": 9, "GAN": 9, "GAN with all stateful options": 6}
"""Number of random moments per run; every third of the resumed runs has two more."""

LSTMS = {
    "LSTM": LSTMConfig(length=3, encoding="onehot", hidden_size=8, epochs=3, batch_size=32, checkpoint_every=1),
    "LSTM with curriculum": LSTMConfig(
        length=6,
        encoding="onehot",
        curriculum=True,
        start_length=3,
        threshold=0.3,
        data_size=200,
        hidden_size=16,
        hidden_dropout_kind="zoneout",
        optimizer="adam",
        lr_schedule="cosine",
        learning_rate=1e-2,
        epochs=9,
        batch_size=32,
        checkpoint_every=2,
    ),
}
GAN = GANConfig(image_size=8, latent_size=8, epochs=3, batch_size=16, sample_every=1, log_every=2)
GAN_WITH_ALL = GANConfig(
    latent_size=8,
    epochs=2,
    batch_size=32,
    sample_every=1,
    log_every=1,
    conditional=True,
    ema=0.9,
    r1=0.2,
    penalty_interval=2,
    discriminator_dropout=0.3,
    discriminator_steps=2,
    packing=2,
    lr_schedule="linear",
    eval_every=1,
    eval_samples=60,
    extractor=str(weights_path()),
)


def start_or_resume(config: Any, out: Path) -> None:
    train: Any = train_lstm if isinstance(config, LSTMConfig) else train_gan
    train(config, out, device="cpu", resume=(out / "run.json").exists())


def train_until(config: Any, out: Path, cache: Path, call: int) -> None:
    """Start a run in a child process, and kill it just before a call."""
    os.environ["REVIVER_CACHE"] = str(cache)
    for name, widths in NARROW.items():
        setattr(networks, name, widths)
    with CallCounter(die, calls=(call,)):
        start_or_resume(config, out)


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    return open_server("tests.test_kills")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images in images.npz, and labeled digits in the folder digits."""
    path = tmp_path_factory.mktemp("data")
    np.savez(path / "images.npz", images=np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8))
    (path / "digits").mkdir()
    for part, prefix in (("train", "train"), ("test", "t10k")):
        digits = load_mnist(part)
        assert digits.labels is not None
        write_idx(path / "digits" / f"{prefix}-images-idx3-ubyte", digits.images[:80, 0].numpy())
        write_idx(path / "digits" / f"{prefix}-labels-idx1-ubyte", digits.labels[:80].numpy())
    return path


@pytest.mark.parametrize("name", KILLS)
def test_killed_and_resumed_runs_equal_an_uninterrupted_run(
    name: str, server: ForkServerContext, data: Path, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is killed once. Copies of the folder at other moments are what is left of processes killed then."""
    for constant, widths in NARROW.items():
        monkeypatch.setattr(networks, constant, widths)
    monkeypatch.setenv("REVIVER_CACHE", str(memory_path / "cache"))
    config = {
        **LSTMS,
        "GAN": override(GAN, {"data": str(data / "images.npz")}),
        "GAN with all stateful options": override(GAN_WITH_ALL, {"data": str(data / "digits")}),
    }[name]
    start_or_resume(config, memory_path / "warm-up")  # fills caches, so that the next runs make the same calls
    with CallCounter() as counter:
        start_or_resume(config, memory_path / "uninterrupted")
    expected = contents(memory_path / "uninterrupted")

    rng = random.Random(name)

    def complete(out: Path, num_copies: int) -> list[Path]:
        """Complete a run, and return copies of its folder at random moments, half of them before a change of a file."""
        copier = Copier(out, memory_path)
        calls = {rng.randint(1, counter.calls) for _ in range(num_copies // 2)}
        changes = {rng.randint(1, counter.changes) for _ in range(num_copies - len(calls))}
        with CallCounter(copier, calls=calls, changes=changes):
            start_or_resume(config, out)
        assert contents(out) == expected, out
        return copier.paths

    killed = complete(memory_path / "run", KILLS[name])
    code = run_child(server, train_until, config, memory_path / "killed", memory_path / "cache", counter.calls // 2)
    assert code == -signal.SIGKILL
    for number, path in enumerate([*killed, memory_path / "killed"]):
        if (path / "checkpoints" / "last.json").exists():
            load(path)
        for killed_again in complete(path, 2 if number % 3 == 0 else 0):
            complete(killed_again, 0)
