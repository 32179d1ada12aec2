"""Time that training waits for a checkpoint to be saved, and for a run to be resumed, with the report's networks.

Saves are timed in whole runs. A resume is timed from the call to the first step of an optimizer, after all imports.
"""

import os
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch.optim.optimizer import register_optimizer_step_pre_hook

from benchmarks.measure import machine, summary
from reviver.data.images.image_set import load_mnist
from reviver.errors import Interrupted
from reviver.runs.session import Session
from reviver.settings.gan_presets import PRESETS
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan
from reviver.train.lstm import training as lstm

EPOCHS = 10
"""Epochs of a run with one timed checkpoint each."""
IMAGES = 6400
"""Training images of the GAN: a subset, so that an epoch is short."""
ROUNDS = 5
TARGET_SAVING, TARGET_RESUMING = 0.1, 1.0
"""Seconds; for saving 1 % of an epoch of the GAN on MNIST, which takes 10 s or more on two cores."""


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


def time_resuming(module: ModuleType, config: Any, folder: Path) -> list[float]:
    """Return the seconds from each call that resumes a run of `config` to the first step of an optimizer."""

    def stop(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def start(*_: object) -> None:
        raise Started

    hook = register_optimizer_step_pre_hook(stop)
    with suppress(Interrupted):
        module.train(config, folder, device="cpu")
    hook.remove()
    hook = register_optimizer_step_pre_hook(start)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        with suppress(Started):
            module.train(config, folder, device="cpu", resume=True)
        seconds.append(time.perf_counter() - started)
    hook.remove()
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
            "resuming the LSTM": time_resuming(lstm, LSTMConfig(), folder / "lstm-resumed"),
            "resuming the GAN on MNIST": time_resuming(gan, best, folder / "gan-resumed"),
        }
    targets = {"saving": TARGET_SAVING, "resuming": TARGET_RESUMING}
    return {
        "title": "Saving a checkpoint, and resuming",
        "machine": machine(),
        "seconds_per_call": {
            name: {**summary(seconds), "target": targets[name.split()[0]]} for name, seconds in calls.items()
        },
    }
