"""A tiny run, interruptions of a run at a given update, and all results of a run."""

import hashlib
import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reviver.errors import Interrupted
from reviver.gan.networks import Generator
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepResult
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.train.gan import training


@pytest.fixture(scope="package")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> GANConfig:
    """41 images of 8 x 8, in batches of 16, 16 and 9: 6 updates, a line of metrics after every second."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8))
    return GANConfig(data=str(path), image_size=8, latent_size=16, epochs=2, batch_size=16, sample_every=3, log_every=2)


@pytest.fixture(scope="package")
def uninterrupted(tiny: GANConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return training.train(tiny, tmp_path_factory.mktemp("uninterrupted") / "run")


@pytest.fixture(scope="session")
def fingerprint() -> Callable[[RunFolder], dict[str, Any]]:
    """Return a function that returns all results of a run, bit for bit, without the seconds that it took."""

    def results(folder: RunFolder) -> dict[str, Any]:
        last = find_checkpoint(folder.checkpoints, "last")
        hashed = [last / "networks.safetensors", last / "training.safetensors", *sorted(folder.samples.iterdir())]
        scores = folder.records_path("scores")
        record = RunFolder.open(folder.path).record
        return {
            "files": {
                one.relative_to(folder.path).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest() for one in hashed
            },
            "state": {**json.loads((last / "state.json").read_text()), "seconds": None},
            "metrics": [{**record, "seconds": None} for record in folder.read_metrics()],
            "scores": scores.read_text() if scores.exists() else None,
            "config": record["config"],
            "data": record["data"],
        }

    return results


@pytest.fixture
def before_update(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[Generator], object]], None]:
    """Return a function that calls `action` just before the given update of the next training, counted from 1."""

    def at_step(number: int, action: Callable[[Generator], object]) -> None:
        calls = itertools.count(1)

        def counting(generator: Generator, *arguments: Any, **keywords: Any) -> StepResult:
            if next(calls) == number:
                action(generator)
            return gan_step(generator, *arguments, **keywords)

        monkeypatch.setattr(training, "gan_step", counting)

    return at_step


@pytest.fixture
def resumed(
    before_update: Callable[..., None], fingerprint: Callable[[RunFolder], dict[str, Any]], tmp_path: Path
) -> Callable[[GANConfig, int], dict[str, Any]]:
    """Return a function that interrupts a run before an update is complete, and returns the results after a resume."""

    def train(config: GANConfig, step: int) -> dict[str, Any]:
        before_update(step, lambda _: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted, match=f"stopped at step {step} by SIGINT and saved"):
            training.train(config, tmp_path / "resumed")
        return fingerprint(training.train(config, tmp_path / "resumed", resume=True))

    return train
