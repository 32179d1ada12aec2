"""A long run of tiny networks, watched: `python -m tests.long_run KIND STEPS FOLDER` prints what was seen as JSON."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reviver.gan import training as gan
from reviver.gan.config import GANConfig
from reviver.lstm import training as lstm
from reviver.lstm.presets import PRESETS
from reviver.runs.session import Session

POINTS = 40
"""How often the memory is looked at."""
GAN_BATCHES, LSTM_BATCHES = 20, 50
"""Updates of an epoch."""


class TrainingMonitor:
    """Looks at the process and its run folder between updates."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._folder = folder
        self._every = steps // POINTS
        self._step = 0
        self._contents: dict[Path, bytes] = {}
        self.resident: list[int] = []
        self.rewritten: list[str] = []
        self.checkpoints = 0

    def wrap(self, train_step: Callable[..., Any]) -> Callable[..., Any]:
        """The same step, and a look before every so many."""

        def watched(*arguments: Any, **keywords: Any) -> Any:
            self._step += 1
            if self._step % self._every == 0:
                self.extract()
            return train_step(*arguments, **keywords)

        return watched

    def extract(self) -> None:
        """Note the memory in bytes, files of points that did not only grow, and how many checkpoints there are."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident.append(pages * 4096)
        for path in (*self._folder.glob("*.jsonl"), *self._folder.glob("tensorboard/*")):
            content = path.read_bytes()
            if not content.startswith(self._contents.get(path, b"")):
                self.rewritten.append(path.name)
            self._contents[path] = content
        self.checkpoints = max(self.checkpoints, len(list(self._folder.glob("checkpoints/step-*"))))

    def grew(self) -> list[str]:
        """The files of points that were seen to grow."""
        return sorted(path.name for path, content in self._contents.items() if content)


def save_and_wait(session: Session) -> None:
    """Save, and wait until the checkpoint is written: what its thread holds meanwhile is not to be looked at."""
    save(session)
    session.finish()


save = Session.save


def main() -> None:
    """Train, and print."""
    Session.save = save_and_wait  # type: ignore[method-assign]
    kind, steps, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    watch = TrainingMonitor(folder / "run", steps)
    if kind == "gan":
        images = np.random.default_rng(0).integers(0, 256, (16 * GAN_BATCHES, 8, 8), dtype=np.uint8)
        np.savez(folder / "images.npz", images=images)
        gan.fused_gan_step = watch.wrap(gan.fused_gan_step)
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
        run = gan.train(config, folder / "run", device="cpu")
    else:
        lstm.train_step = watch.wrap(lstm.train_step)
        settings = {"hidden_size": 8, "batch_size": 16, "epochs": steps // LSTM_BATCHES, "checkpoint_every": 2}
        run = lstm.train(replace(PRESETS["report"], **settings), folder / "run", device="cpu")
    points = run.read_metrics()
    watch.extract()
    print(
        json.dumps(
            {
                "steps": points[-1]["step"],
                "resident": watch.resident[:-1],  # the last one is after training
                "rewritten": watch.rewritten,
                "grew": watch.grew(),
                "checkpoints": watch.checkpoints,
                "full": len(list((folder / "run" / "checkpoints").glob("step-*/state.json"))),
                "left": len(list((folder / "run" / "checkpoints").glob("step-*"))),
            }
        )
    )


if __name__ == "__main__":
    main()
