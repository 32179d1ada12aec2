"""Runs that are killed at any moment and resumed end with the same folders as uninterrupted runs."""

import os
import random
import shutil
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reviver.config import override
from reviver.gan import networks
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import load_mnist
from reviver.gan.evaluation.digit_classifier import weights_path
from reviver.gan.training import train as train_gan
from reviver.loading import load
from reviver.lstm.config import LSTMConfig
from reviver.lstm.training import train as train_lstm
from tests.children import CallCounter, die, open_server, read_counts, run_child, write_counts
from tests.contents import contents
from tests.test_migrations import NARROW
from tests.test_scores import write_idx

KILLS = {"LSTM": 15, "LSTM with curriculum": 15, "GAN": 15, "GAN with all stateful options": 8}
"""Number of kills per run, half of them just before a system call that changes a file."""
MAX_KILLS_PER_RUN = 3
"""Maximum kills of one run before it is completed; the second and third hit a resumed run."""

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


def train_until(config: Any, out: Path, at: int, changes_only: bool, cache: Path, counts: Path) -> None:
    """Start or resume a run in a child process, and kill it at a call."""
    os.environ["REVIVER_CACHE"] = str(cache)
    for name, widths in NARROW.items():
        setattr(networks, name, widths)
    train = train_lstm if isinstance(config, LSTMConfig) else train_gan
    with CallCounter(at, die, changes_only=changes_only) as counter:
        train(config, out, device="cpu", resume=(out / "run.json").exists())  # type: ignore[arg-type, operator]
    write_counts(counts, counter)


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
    for constant, widths in NARROW.items():
        monkeypatch.setattr(networks, constant, widths)
    configs = {
        **LSTMS,
        "GAN": override(GAN, {"data": str(data / "images.npz")}),
        "GAN with all stateful options": override(GAN_WITH_ALL, {"data": str(data / "digits")}),
    }
    rng = random.Random(name)
    counts = memory_path / "counts"

    def advance(out: Path, at: int = 0, changes_only: bool = False) -> int:
        return run_child(server, train_until, configs[name], out, at, changes_only, memory_path / "cache", counts)

    assert advance(memory_path / "uninterrupted") == 0
    calls, changes = read_counts(counts)
    expected = contents(memory_path / "uninterrupted")
    kills = 0
    while kills < KILLS[name]:
        out, killed_at = memory_path / f"run-{kills}", []
        while len(killed_at) < MAX_KILLS_PER_RUN and kills < KILLS[name]:
            changes_only = kills % 2 == 0
            at = rng.randint(1, changes if changes_only else calls)
            code = advance(out, at, changes_only)
            if code == 0:
                break  # a resumed run finished before that call
            assert code == -signal.SIGKILL
            kills += 1
            killed_at.append((at, changes_only))
            if (out / "checkpoints" / "last.json").exists():
                load(out)
        assert advance(out) == 0, killed_at
        assert contents(out) == expected, killed_at
        shutil.rmtree(out)
