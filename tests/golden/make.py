"""Create the golden run folders of the current schema, which tests/test_migrations.py reads once it is an older one.

    python -m tests.golden.make

The folders of schema 1 come from commit c342f4d, those of schema 2 from e357450, those of schema 3 from ffc9748, with the
additional settings RENAMED_LSTM and RENAMED_GAN, those of schema 4 from 4d4076d, those of schema 5 from b47bf14, those of
schema 6 from 606f3a0, and those of schema 7 from 0da473c.

Each run is interrupted and copied, and then completed: a resume of the copy must give the same metrics.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reviver.errors import Interrupted
from reviver.gan import networks
from reviver.gan import training as gan
from reviver.gan.config import GANConfig
from reviver.lstm import training as lstm
from reviver.lstm.config import LSTMConfig
from reviver.runs.folder import SCHEMA
from tests.test_migrations import GAN, LSTM, NARROW, STOPPED_AT

FOLDER = Path(__file__).parent / f"schema-{SCHEMA}"


def stop_at(module: Any, name: str, step: int) -> None:
    """Replace the step function `name` of `module` by one that sends SIGINT before update `step`."""
    train_step: Callable[..., Any] = getattr(module, name)
    calls = 0

    def counting(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(*arguments, **keywords)

    setattr(module, name, counting)


def main() -> None:
    """Create the folders."""
    FOLDER.mkdir()
    os.chdir(FOLDER)
    torch.set_num_threads(1)
    for name, widths in NARROW.items():
        setattr(networks, name, widths)
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (41, 4, 4), dtype=np.uint8))
    for kind, module, step, config in (
        ("lstm", lstm, "train_step", LSTMConfig(**LSTM)),
        ("gan", gan, "fused_gan_step", GANConfig(**GAN)),
    ):
        sys.argv = ["reviver", kind, "train"]
        stop_at(module, step, STOPPED_AT)
        try:
            module.train(config, kind, device="cpu")
        except Interrupted:
            shutil.copytree(kind, f"{kind}-finished")
        module.train(config, f"{kind}-finished", device="cpu", resume=True)
        shutil.copyfile(f"{kind}-finished/metrics.jsonl", f"{kind}-metrics.jsonl")
        shutil.rmtree(f"{kind}-finished")
        for number, path in enumerate(sorted(Path(kind, "tensorboard").iterdir())):
            path.rename(path.with_name(f"events.out.tfevents.{1700000000 + number}.host"))


if __name__ == "__main__":
    main()
