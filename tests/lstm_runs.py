"""Settings and data of tiny LSTM runs, what interrupts them at an update, and what two equal runs share."""

import hashlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm import training
from tests.contents import content

TINY = LSTMConfig(length=3, encoding="onehot", hidden_size=8, epochs=4, batch_size=16, checkpoint_every=2)
"""20 updates, 5 an epoch; checkpoints after 10 and 20."""

CURRICULUM = LSTMConfig(
    curriculum=True,
    length=9,
    start_length=3,
    length_factor=1.5,
    threshold=0.3,
    encoding="onehot",
    hidden_size=16,
    data_size=400,
    batch_size=32,
    batch_steps=160,
    learning_rate=1e-2,
    epochs=40,
    checkpoint_every=3,
)
"""Lengths 3, 4, 7 and 9, with batches of 32, 32, 22 and 17."""
JUMPING = replace(CURRICULUM, length=40, jump_factor=4.0, threshold=0.5, epochs=60)
"""Lengths 3, 4, 7, 10, 15, 23, 34 and 40, of which a jump goes on three."""
PATIENT = replace(TINY, epochs=60, patience=3, checkpoint_every=4, learning_rate=0.1)
"""5 updates an epoch, early stopping; it learns, and then its accuracy moves up and down."""
CONFIGS = {"tiny": TINY, "curriculum": CURRICULUM, "jumping": JUMPING, "patient": PATIENT}
LENGTHS = {"row-mnist": 28, "associative-recall": 8, "pixel-mnist": 49, "temporal-order": 10}
"""The shortest sequences of tasks that do not have every length."""


def override(config: Any, changes: dict[str, Any]) -> Any:
    """Return a copy of a configuration with `changes`."""
    return replace(config, **changes)


def write_ramps(path: Path, count: int, seed: int, more: str = "") -> None:
    """Write a .csv of noisy ramps of 3 to 12 steps around 1000, in turn falling and rising, and the line `more`."""
    rng, lines = np.random.default_rng(seed), ["sequence,label"]
    for index in range(count):
        steps = int(rng.integers(3, 13))
        trend = 1.0 if index % 2 else -1.0
        values = 1000 + trend * (np.arange(steps) - steps / 2) + rng.normal(0, 0.2, steps)
        lines.append(f"{' '.join(map(str, values.round(3)))},{'rising' if index % 2 else 'falling'}")
    path.write_text("\n".join([*lines, more]))


def fingerprint(folder: RunFolder) -> dict[str, Any]:
    """Return digests of the checkpoints and grids of a run, its state and its records, without the times."""
    run = RunFolder.open(folder.path)
    files = sorted(run.samples.glob("*"))
    paths = [find_checkpoint(run.checkpoints, "last"), *run.checkpoints.glob("best.safetensors")]
    checkpoints = {path.name: content(path) for path in paths}
    scores = run.records_path("scores")
    return {
        "files": {str(file.relative_to(run.path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        "checkpoints": checkpoints,
        "weights": {name: each["tensors"] for name, each in checkpoints.items()},
        "metrics": [{**row, "seconds": None} for row in run.read_metrics()],
        "scores": scores.read_text() if scores.exists() else None,
        "config": run.record["config"],
        "data": run.record.get("data"),
    }


def at_step(
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    action: Callable[[Any], None],
    name: str = "train_step",
    module: ModuleType = training,
) -> None:
    """Call `action` with the network just before update `step`, counted from 1, of the next training by `module`."""
    calls, original = 0, getattr(module, name)

    def counting(network: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step:
            action(network)
        return original(network, *arguments, **keywords)

    monkeypatch.setattr(module, name, counting)


def crash(_: object) -> None:
    """Run out of memory."""
    raise MemoryError("crash")


def interrupt(_: object) -> None:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def terminate(_: object) -> None:
    """Stop as a batch system does."""
    os.kill(os.getpid(), signal.SIGTERM)
