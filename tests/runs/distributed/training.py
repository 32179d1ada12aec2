"""Small networks that several processes train, and sometimes fail to; or one, for comparison.

`python -m tests.runs.distributed.training train ...` is `reviver lstm train ...` in which processes are killed.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from reviver.__main__ import main as reviver
from reviver.data.images.image_set import from_pixels
from reviver.errors import Interrupted, ReviverError
from reviver.gan import step as gan_step
from reviver.runs.session import Session
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.presets import GAN_PRESETS
from reviver.train.gan import training as gan_training
from reviver.train.lstm.training import train as train_lstm
from tests.runs.small import narrow_gans, train

NUM_IMAGES, IMAGE_SIZE, NUM_CLASSES = 279, 4, 3
GAN_SETTINGS: dict[str, Any] = {
    "data": "images.npz", "image_size": 4, "batch_size": 64, "epochs": 2, "log_every": 1, "checkpoint_every": 1
}  # fmt: skip
"""5 updates per epoch."""
LSTM = LSTMConfig(length=6, encoding="onehot", hidden_size=8, batch_size=8, data_size=41, epochs=3)
"""33 training sequences, of which the last batch has one: all processes but one have no row then."""
GAN, BEST = (replace(GAN_PRESETS[name], **GAN_SETTINGS) for name in ("original", "best"))
CONFIGS: Mapping[str, LSTMConfig | GANConfig] = MappingProxyType(
    {
        "layers": replace(
            LSTM, num_layers=2, bidirectional=True, dropout=0.3, hidden_dropout_kind="zoneout", hidden_dropout=0.2
        ),
        "lengths": replace(LSTM, task="parity", curriculum=True, start_length=3, threshold=0.1, pooling="attention"),
        "every step": replace(LSTM, task="copy", length=2, hidden_dropout_kind="variational", hidden_dropout=0.2),
        "number": replace(LSTM, task="adding", encoding="scalar", optimizer="adam"),
        "rnn": replace(LSTM, cell="rnn"),
        # Rounding grows with the learning rate, and BatchNorm of three images amplifies it: those of `best` would need a
        # wider tolerance.
        "best": replace(BEST, learning_rate=8e-4, batch_norm_eps=0.1, label_smoothing=0.1, precision="fp32"),
        "relativistic": replace(GAN, loss="relativistic", lr_schedule="cosine"),
        "steps": replace(GAN, loss="hinge", discriminator_steps=2),
        "together": replace(
            GAN,
            batch_size=69,  # the last batch has three images: one of four processes has no row then
            loss="least-squares",  # of a Wasserstein loss the last bias has no gradient but rounding errors
            conditional=True,
            discriminator_dropout=0.3,
            gradient_penalty=1.0,
            r1=0.1,
            ema=0.9,
            input_centering="auto",
            shift_probability=0.5,
            batch_norm_samples=100,
        ),
        "bf16": BEST,
    }
)
"""All but `bf16` are trained in float64."""
CONFIG = LSTMConfig(hidden_size=2, data_size=20, batch_size=6, epochs=8, checkpoint_every=2)
"""Settings of all runs: 3 updates per epoch, 24 in total."""
OPTIONS = ["--hidden-size", "2", "--data-size", "20", "--batch-size", "6", "--checkpoint-every", "2"]
"""The same for the command line, without --epochs."""
STEP = 16
"""Update in which a process gets a signal; the checkpoint before it is that of update 12."""


def to_double(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(each.double() if isinstance(each, Tensor) and each.is_floating_point() else each for each in arguments)


@patch.object(gan_step, "SIDE", IMAGE_SIZE)  # shift the small images, too
def train_all(folder: Path) -> None:
    """Train all networks, each in a folder of its name."""
    os.chdir(folder.parent)
    narrow_gans()
    for name, config in CONFIGS.items():
        with ExitStack() as undo:
            if name != "bf16":
                torch.set_default_dtype(torch.float64)
                undo.callback(torch.set_default_dtype, torch.float32)
                undo.callback(register_module_forward_pre_hook(to_double).remove)
                undo.enter_context(
                    patch.object(gan_training, "from_pixels", lambda pixels: from_pixels(pixels).double())
                )
            train(config, folder / name)


def write_images() -> None:
    """Write images.npz into the working folder."""
    images = np.random.default_rng(3).integers(256, size=(NUM_IMAGES, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    np.savez("images.npz", images=images, labels=np.arange(NUM_IMAGES) % NUM_CLASSES)


def signal_at(step: int, rank: int, number: signal.Signals, patch: pytest.MonkeyPatch) -> None:
    """Let the process of `rank` send itself a signal in an update, after its all-reduce."""
    agree = Session.agree

    def agree_and_signal(session: Session, total: float) -> None:
        agree(session, total)
        if session.state.step + 1 == step and session.world.rank == rank:
            os.kill(os.getpid(), number)

    patch.setattr(Session, "agree", agree_and_signal)


def attempt(folder: Path, config: LSTMConfig = CONFIG, *, resume: bool = False) -> str:
    """Train, and return the error, if there is one."""
    try:
        train_lstm(config, folder, device="cpu", resume=resume, timeout=60)
    except (ReviverError, Interrupted) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def attempt_all(folder: Path) -> None:
    """Train and fail in several ways, and write the errors of each rank to FOLDER/errors-RANK.json."""
    rank = dist.get_rank()
    errors = {
        "undisturbed": attempt(folder / "undisturbed"),
        "existing": attempt(folder / "undisturbed"),
        "settings": attempt(folder / "settings", replace(CONFIG, learning_rate=0.001 * (1 + rank))),
    }
    with pytest.MonkeyPatch.context() as patch:
        signal_at(STEP, 1, signal.SIGTERM, patch)
        errors["stopped"] = attempt(folder / "stopped")
    errors["resumed"] = attempt(folder / "stopped", resume=True)
    errors["half"] = attempt(folder / "half", replace(CONFIG, epochs=4))
    (folder / f"errors-{rank}.json").write_text(json.dumps(errors))


def complete(folder: Path) -> None:
    """Resume FOLDER/run."""
    assert attempt(folder / "run", resume=True) == ""


if __name__ == "__main__":
    ranks = dict(enumerate(os.environ.get("KILL_RANKS", "").split()))  # by the number of restarts
    if (killed := ranks.get(int(os.environ["TORCHELASTIC_RESTART_COUNT"]))) is not None:
        signal_at(STEP, int(killed), signal.SIGKILL, pytest.MonkeyPatch())
    sys.argv[1:1] = ["lstm"]
    reviver()
