"""Long run of tiny networks under observation."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reviver.gan import networks
from reviver.settings.gan import GANConfig
from reviver.settings.lstm_presets import PRESETS
from reviver.train.gan import training as gan
from reviver.train.lstm import training as lstm
from tests.golden.make import NARROW
from tests.runs.small import train

NUM_SAMPLES = 40
"""Number of memory measurements."""
GAN_BATCHES, LSTM_BATCHES = 20, 50
"""Updates per epoch."""


class ProcessObserver:
    """Observer of the memory of this process and of its run folder between updates."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._folder = folder
        self._every = steps // NUM_SAMPLES
        self._step = 0
        self._contents: dict[Path, bytes] = {}
        self.resident: list[int] = []
        self.rewritten: list[str] = []
        self.checkpoints = 0

    def wrap(self, train_step: Callable[..., Any]) -> Callable[..., Any]:
        """Return `train_step` with an observation before every k-th update."""

        def observed(*arguments: Any, **keywords: Any) -> Any:
            self._step += 1
            if self._step % self._every == 0:
                self.observe()
            return train_step(*arguments, **keywords)

        return observed

    def observe(self) -> None:
        """Record the memory in bytes, records files that were rewritten, and the number of checkpoints."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident.append(pages * 4096)
        for path in (*self._folder.glob("*.jsonl"), *self._folder.glob("tensorboard/*")):
            content = path.read_bytes()
            if not content.startswith(self._contents.get(path, b"")):
                self.rewritten.append(path.name)
            self._contents[path] = content
        self.checkpoints = max(self.checkpoints, len(list(self._folder.glob("checkpoints/step-*"))))

    def grew(self) -> list[str]:
        """Return the names of the records files that were appended to."""
        return sorted(path.name for path, content in self._contents.items() if content)


def run(kind: str, steps: int, folder: Path) -> None:
    """Train, and write the observations to FOLDER/observed.json."""
    observer = ProcessObserver(folder / "run", steps)
    if kind == "gan":
        images = np.random.default_rng(0).integers(0, 256, (16 * GAN_BATCHES, 8, 8), dtype=np.uint8)
        np.savez(folder / "images.npz", images=images)
        gan.gan_step = observer.wrap(gan.gan_step)
        for name, widths in NARROW.items():
            setattr(networks, name, widths)
        config = GANConfig(
            data=str(folder / "images.npz"),
            image_size=8,
            latent_size=8,
            batch_size=16,
            epochs=steps // GAN_BATCHES,
            ema=0.99,
            log_every=5,
            sample_every=steps // GAN_BATCHES // 4,
            checkpoint_every=5,
        )
        records = train(config, folder / "run").read_metrics()
    else:
        lstm.train_step = observer.wrap(lstm.train_step)
        settings = {"hidden_size": 8, "batch_size": 16, "epochs": steps // LSTM_BATCHES, "checkpoint_every": 2}
        records = train(replace(PRESETS["original"], **settings), folder / "run").read_metrics()
    observer.observe()
    observed = {
        "steps": records[-1]["step"],
        "resident": observer.resident[:-1],  # without the one after training
        "rewritten": observer.rewritten,
        "grew": observer.grew(),
        "checkpoints": observer.checkpoints,
        "full": len(list((folder / "run" / "checkpoints").glob("step-*/state.json"))),
        "left": len(list((folder / "run" / "checkpoints").glob("step-*"))),
    }
    (folder / "observed.json").write_text(json.dumps(observed))
