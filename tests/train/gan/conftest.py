"""A tiny run, interruptions of a run at a given update, and all results of a run."""

import hashlib
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from reviver.gan.networks import Generator
from reviver.gan.step import gan_step
from reviver.gan.step_options import StepResult
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.train.gan import training


@pytest.fixture(scope="package")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> GANConfig:
    """41 images of 8 x 8, in batches of 16, 16 and 9: 12 updates, a line of metrics after every second."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8))
    return GANConfig(data=str(path), image_size=8, latent_size=16, epochs=4, batch_size=16, sample_every=3, log_every=2)


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


def wrap_step(patch: pytest.MonkeyPatch, wrapper: Callable[..., StepResult]) -> None:
    """Replace every step of `train` by `wrapper(step, generator, discriminator, ...)`."""
    patch.setattr(training, "gan_step", partial(wrapper, gan_step))


def at_step(patch: pytest.MonkeyPatch, number: int, action: Callable[[Generator], None]) -> None:
    """Call `action` just before the given update of the next call of `train`, counted from 1."""
    calls = 0

    def counting(step: Callable[..., StepResult], generator: Generator, *arguments: Any, **keywords: Any) -> StepResult:
        nonlocal calls
        calls += 1
        if calls == number:
            action(generator)
        return step(generator, *arguments, **keywords)

    wrap_step(patch, counting)


def send(number: signal.Signals) -> Callable[[Generator], None]:
    return lambda _: os.kill(os.getpid(), number)


@pytest.fixture
def before_update(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[Generator], None]], None]:
    """Return `at_step` of this test."""
    return partial(at_step, monkeypatch)


@pytest.fixture
def record_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], StepResult]]:
    """Return a list that gets the arguments and the result of each step."""
    records: list[tuple[tuple[Any, ...], StepResult]] = []

    def recording(step: Callable[..., StepResult], *arguments: Any, **keywords: Any) -> StepResult:
        records.append((arguments, step(*arguments, **keywords)))
        return records[-1][1]

    wrap_step(monkeypatch, recording)
    return records
