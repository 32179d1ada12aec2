"""In long runs, neither memory nor the number of checkpoints grows, and records are only appended."""

import json
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from reviver.settings.lstm import LSTMConfig
from tests.runs.children import run_children
from tests.runs.small import GAN, narrow_gans, train

NUM_SAMPLES = 40
"""Number of observations."""


def observe_run(kind: str, updates: int, folder: Path) -> None:
    """Train, and write what is seen between updates to FOLDER/observed.json."""
    run = folder / "run"
    np.savez(folder / "images.npz", images=np.random.default_rng(0).integers(0, 256, (320, 8, 8), dtype=np.uint8))
    narrow_gans()
    config: Any = LSTMConfig(hidden_size=8, batch_size=16, checkpoint_every=2, epochs=updates // 50)
    if kind == "gan":
        data, epochs = str(folder / "images.npz"), updates // 20
        config = replace(
            GAN, data=data, epochs=epochs, ema=0.9, log_every=5, checkpoint_every=5, sample_every=epochs // 4
        )
    calls, interval = 0, updates * (2 if kind == "gan" else 1) // NUM_SAMPLES
    observed: dict[str, list[Any]] = {"resident": [], "checkpoints": [], "rewritten": []}
    contents: dict[Path, bytes] = {}

    def observe(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls % interval:
            return
        observed["resident"].append(int(Path("/proc/self/statm").read_text().split()[1]))
        observed["checkpoints"].append(len(list(run.glob("checkpoints/step-*"))))
        for path in (*run.glob("*.jsonl"), *run.glob("tensorboard/*")):
            before, contents[path] = contents.get(path, b""), path.read_bytes()
            if not contents[path].startswith(before):
                observed["rewritten"].append(path.name)

    register_optimizer_step_post_hook(observe)
    last = train(config, run).read_metrics()[-1]["step"]
    grew = sorted(path.name[:7] for path, content in contents.items() if content)
    (folder / "observed.json").write_text(json.dumps({**observed, "grew": grew, "steps": last}))


@pytest.mark.parametrize("kind", ["lstm", "gan"])
@pytest.mark.parametrize("updates", [pytest.param(10_000, marks=pytest.mark.long), 400])
def test_a_long_run_needs_no_more_than_a_short_one(
    kind: str, updates: int, server: ForkServerContext, tmp_path: Path
) -> None:
    assert run_children(server, observe_run, (kind, updates, tmp_path)) == [0]
    observed = json.loads((tmp_path / "observed.json").read_text())
    assert observed["steps"] == updates
    resident = observed["resident"]
    assert len(resident) == NUM_SAMPLES
    warm, rest = resident[: NUM_SAMPLES // 4], resident[NUM_SAMPLES // 4 :]
    assert max(rest) <= 1.01 * max(warm), [round(pages / 256, 1) for pages in resident]
    assert observed["grew"] == ["events.", "metrics"]
    assert observed["rewritten"] == [], "records are only appended to"
    assert max(observed["checkpoints"]) <= 3, "the last two and the best checkpoint"
    assert len(list(tmp_path.glob("run/checkpoints/step-*/state.json"))) >= 2
