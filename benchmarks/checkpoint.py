"""Time that training waits for a checkpoint to be saved, and for a run to be resumed, with the report's networks.

Training waits while a checkpoint is copied, and continues while a thread writes it; only the wait is timed, in whole
runs. A resume is timed from the call to the first update, after all imports.
"""

import os
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.measure import machine, summary
from reviver.errors import Interrupted
from reviver.gan import training as gan
from reviver.gan.data.image_set import load_mnist
from reviver.gan.presets import PRESETS
from reviver.lstm import training as lstm
from reviver.lstm.config import LSTMConfig
from reviver.runs.session import Session

EPOCHS = 10
"""Epochs of a run with one timed checkpoint each."""
IMAGES = 6400
"""Training images of the GAN: a subset, so that an epoch is short."""
ROUNDS = 5
TARGET_SAVING, TARGET_RESUMING = 0.05, 1.0


class Started(Exception):
    """A resumed run has reached its first update."""


def time_saving(module: ModuleType, config: Any, folder: Path) -> list[float]:
    """Return the seconds of each call of `Session.save` in a run of `config`."""
    save, seconds = Session.save, []

    def timed(session: Session) -> None:
        started = time.perf_counter()
        save(session)
        seconds.append(time.perf_counter() - started)

    Session.save = timed  # type: ignore[method-assign]
    try:
        module.train(config, folder, device="cpu")
    finally:
        Session.save = save  # type: ignore[method-assign]
    return seconds


def time_resuming(module: ModuleType, step: str, config: Any, folder: Path) -> list[float]:
    """Return the seconds from each call that resumes a run of `config` to its first update, the function `step`."""
    train_step = getattr(module, step)

    def stop(*arguments: Any, **keywords: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return train_step(*arguments, **keywords)

    def start(*_: Any, **__: Any) -> None:
        raise Started

    seconds = []
    try:
        setattr(module, step, stop)
        try:
            module.train(config, folder, device="cpu")
        except Interrupted:
            setattr(module, step, start)
        for _ in range(ROUNDS):
            started = time.perf_counter()
            try:
                module.train(config, folder, device="cpu", resume=True)
            except Started:
                seconds.append(time.perf_counter() - started)
    finally:
        setattr(module, step, train_step)
    return seconds


def main() -> dict[str, object]:
    """Run the benchmark, and return seconds per call."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "digits.npy", load_mnist("train").images[:IMAGES].numpy())
        best = replace(PRESETS["best"], epochs=EPOCHS, eval_every=0)
        small = replace(best, data=str(folder / "digits.npy"))
        calls = {
            "saving the LSTM": time_saving(lstm, LSTMConfig(epochs=EPOCHS, checkpoint_every=1), folder / "lstm"),
            "saving the GAN with its average": time_saving(gan, small, folder / "gan"),
            "resuming the LSTM": time_resuming(lstm, "train_step", LSTMConfig(), folder / "lstm-resumed"),
            "resuming the GAN on MNIST": time_resuming(gan, "gan_step", best, folder / "gan-resumed"),
        }
    targets = {"saving": TARGET_SAVING, "resuming": TARGET_RESUMING}
    return {
        "title": "Saving a checkpoint while training goes on, and resuming",
        "machine": machine(),
        "seconds_per_call": {
            name: {**summary(seconds), "target": targets[name.split()[0]]} for name, seconds in calls.items()
        },
    }
