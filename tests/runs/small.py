"""Small runs and states for the tests of this folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reviver.errors import ReviverError
from reviver.gan import networks
from reviver.runs.checkpoint import TrainingState
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan_training
from reviver.train.lstm.training import train as train_lstm
from tests import lstm_runs
from tests.golden.make import NARROW

CPU = torch.device("cpu")
GAN = GANConfig(data="images.npy", image_size=8, latent_size=16, epochs=4, batch_size=16, sample_every=2, log_every=2)
"""12 updates, 3 an epoch, on the 41 images of `write_images`; a checkpoint after each epoch."""


def write_images() -> None:
    """Write images.npy into the working folder."""
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8))


def narrow_gans(set_attribute: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make the networks of GANs narrow."""
    for name, widths in NARROW.items():
        set_attribute(networks, name, widths)


def train(config: LSTMConfig | GANConfig, out: Path | str) -> RunFolder:
    """Start a run, or resume it if there is one."""
    trainer: Any = train_lstm if isinstance(config, LSTMConfig) else gan_training.train
    return trainer(config, out, device="cpu", resume=(Path(out) / "run.json").exists())


def at_step(
    patch: pytest.MonkeyPatch, config: LSTMConfig | GANConfig, number: int, action: Callable[[Any], None]
) -> None:
    """Call `action` with the network, or the generator, just before an update of the next training, counted from 1."""
    if isinstance(config, LSTMConfig):
        lstm_runs.at_step(patch, number, action)
    else:
        lstm_runs.at_step(patch, number, action, "gan_step", gan_training)


def disturb(
    config: LSTMConfig | GANConfig, out: Path | str, number: int, action: Callable[[Any], None]
) -> ReviverError:
    """Start or resume a run, call `action` just before an update as `at_step` does, and return the error that ends it."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, config, number, action)
        with pytest.raises(ReviverError) as caught:
            train(config, out)
    return caught.value


def small_state(seed: int = 0, updates: int = 2) -> TrainingState:
    """Return a state with every kind of content, after some updates."""
    torch.manual_seed(seed)
    network, other = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizers = {
        "network": torch.optim.RMSprop(network.parameters()),
        "other": torch.optim.Adam(other.parameters(), fused=True),
    }
    state = TrainingState(
        networks={"network": network, "other": other},
        optimizers=optimizers,
        rngs={"noise": make_rng(seed, "noise")},
        tensors={"history": torch.zeros(3)},
    )
    for _ in range(updates):
        update(state)
        state.extra["best"] = {"step": state.step}
    return state


def update(state: TrainingState) -> Tensor:
    """Update the networks, and return the loss."""
    x = torch.randn(4, 3, generator=state.rngs["noise"])
    loss: Tensor = state.networks["other"](state.networks["network"](x)).pow(3).sum()
    for optimizer in state.optimizers.values():
        optimizer.zero_grad()
    loss.backward()
    for optimizer in state.optimizers.values():
        optimizer.step()
    state.tensors["history"][state.step % 3] = loss.detach()
    state.step += 1
    state.batch += 1
    return loss.detach()
