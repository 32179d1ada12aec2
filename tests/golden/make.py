"""Create the golden run folders, which tests/runs/test_failures.py reads:

    python -m tests.golden.make

Each run is interrupted and copied, and then completed: a resume of the copy must give the same metrics. The folders hold no
time, no version and no machine. A new setting takes its default in them; after a change of the format or of what a run learns,
make them again.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reviver.errors import Interrupted
from reviver.files.atomic import write_json
from reviver.gan import networks
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan
from reviver.train.lstm import training as lstm
from tests.lstm_runs import at_step, interrupt

FOLDER = Path(__file__).parent / "runs"
LSTM = LSTMConfig(
    length=4,
    encoding="onehot",
    hidden_size=4,
    num_layers=2,
    dropout=0.2,
    data_size=60,
    batch_size=16,
    epochs=4,
    checkpoint_every=1,
    curriculum=True,
    start_length=2,
    min_length_fraction=0.9,
    length_factor=1.5,
    lr_length_exponent=0.1,
    lr_schedule="cosine",
    threshold=0.2,
    seed=3,
)
GAN = GANConfig(
    data="images.npy",
    image_size=4,
    latent_size=4,
    batch_size=16,
    epochs=4,
    ema=0.9,
    ema_rampup=0.5,
    r1=0.2,
    penalty_interval=2,
    lr_schedule="linear",
    final_lr_ratio=0.5,
    sample_every=2,
    log_every=2,
    seed=3,
)
NARROW = {"GENERATOR_WIDTHS": (4, 6, 5, 7), "DISCRIMINATOR_WIDTHS": (6, 5)}
"""Widths of the GAN: narrow, so that the files are small."""
STOPPED_AT = 7
"""Update of 12 before which the runs receive a signal; they stop after it."""


def train_and_interrupt(module: Any, config: LSTMConfig | GANConfig, kind: str, step: str) -> None:
    """Train until a signal arrives just before update `STOPPED_AT`, and complete a copy."""
    sys.argv = ["reviver", kind, "train"]
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, STOPPED_AT, interrupt, step, module)
        with pytest.raises(Interrupted):
            module.train(config, kind, device="cpu")
    shutil.copytree(kind, f"{kind}-finished")
    module.train(config, f"{kind}-finished", device="cpu", resume=True)


def main() -> None:
    """Create the folders, at a clock that stands still."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    os.chdir(FOLDER)
    torch.set_num_threads(1)
    for name, widths in NARROW.items():
        setattr(networks, name, widths)
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (41, 4, 4), dtype=np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        for clock in ("time", "perf_counter"):
            patch.setattr(time, clock, lambda: 0.0)
        train_and_interrupt(lstm, LSTM, "lstm", "train_step")
        train_and_interrupt(gan, GAN, "gan", "gan_step")
    for kind in ("lstm", "gan"):
        shutil.copyfile(f"{kind}-finished/metrics.jsonl", f"{kind}-metrics.jsonl")
        shutil.rmtree(f"{kind}-finished")
        record = json.loads(Path(kind, "run.json").read_text())
        for name in ("started", "updated", "versions", "hardware"):
            del record[name]
        write_json(Path(kind, "run.json"), record)
        shutil.rmtree(Path(kind, "tensorboard"))  # its bytes differ each time


if __name__ == "__main__":
    main()
