"""In long runs, neither memory nor the number of checkpoints grows, and records are only appended."""

import json
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reviver.gan import networks
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan
from reviver.train.lstm import training as lstm
from tests.golden.make import NARROW
from tests.runs.children import run_children
from tests.runs.small import GAN, train

NUM_SAMPLES = 40
"""Number of observations."""
CONFIGS = {
    "lstm": LSTMConfig(hidden_size=8, batch_size=16, checkpoint_every=2),
    "gan": replace(GAN, data="images.npz", ema=0.99, log_every=5, checkpoint_every=5),
}
BATCHES = {"lstm": 50, "gan": 20}
"""Updates per epoch."""


def observe_run(kind: str, updates: int, folder: Path) -> None:
    """Train, and write what is seen between updates to FOLDER/observed.json."""
    run = folder / "run"
    images = np.random.default_rng(0).integers(0, 256, (16 * BATCHES["gan"], 8, 8), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images)
    for name, widths in NARROW.items():
        setattr(networks, name, widths)
    module, name = (gan, "gan_step") if kind == "gan" else (lstm, "train_step")
    step, calls = getattr(module, name), 0
    resident: list[int] = []
    checkpoints: list[int] = []
    rewritten: list[str] = []
    contents: dict[Path, bytes] = {}

    def observe() -> None:
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]))
        checkpoints.append(len(list(run.glob("checkpoints/step-*"))))
        for path in (*run.glob("*.jsonl"), *run.glob("tensorboard/*")):
            before, contents[path] = contents.get(path, b""), path.read_bytes()
            if not contents[path].startswith(before):
                rewritten.append(path.name)

    def observed_step(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % (updates // NUM_SAMPLES) == 0:
            observe()
        return step(*arguments, **keywords)

    setattr(module, name, observed_step)
    config = replace(CONFIGS[kind], epochs=updates // BATCHES[kind])
    if kind == "gan":
        config = replace(config, data=str(folder / "images.npz"), sample_every=config.epochs // 4)
    records = train(config, run).read_metrics()
    observe()
    grew = [path.name for path, content in contents.items() if content]
    observed = {"resident": resident, "checkpoints": checkpoints, "rewritten": rewritten, "grew": grew}
    (folder / "observed.json").write_text(json.dumps(observed | {"steps": records[-1]["step"]}))


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("updates", [pytest.param(10_000, marks=pytest.mark.long), 400])
def test_a_long_run_needs_no_more_than_a_short_one(
    kind: str, updates: int, server: ForkServerContext, tmp_path: Path
) -> None:
    assert run_children(server, observe_run, (kind, updates, tmp_path)) == [0]
    observed = json.loads((tmp_path / "observed.json").read_text())
    assert observed["steps"] == updates
    *resident, _ = observed["resident"]  # without the one after training
    assert len(resident) == NUM_SAMPLES
    warm, rest = resident[: NUM_SAMPLES // 4], resident[NUM_SAMPLES // 4 :]
    assert max(rest) <= 1.01 * max(warm), [round(pages / 256, 1) for pages in resident]
    assert "metrics.jsonl" in observed["grew"]
    assert any(name.startswith("events.") for name in observed["grew"])
    assert observed["rewritten"] == [], "records are only appended to"
    assert max(observed["checkpoints"]) <= 4, "while one is written, there is one more"
    assert observed["checkpoints"][-1] <= 3, "the last two and the best checkpoint"
    assert len(list(tmp_path.glob("run/checkpoints/step-*/state.json"))) >= 2
