"""Small runs and states for the tests of this folder, and what they run in child processes."""

import os
import signal
import tempfile
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from reviver.errors import Interrupted, ReviverError
from reviver.gan import networks
from reviver.rng import make_rng
from reviver.runs.checkpoint import TrainingState
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import Parts
from reviver.train.gan import training as gan_training
from reviver.train.lstm.training import train as train_lstm
from tests import lstm_runs
from tests.golden.make import NARROW

CPU = torch.device("cpu")
GAN = GANConfig(data="images.npy", image_size=8, latent_size=16, epochs=4, batch_size=16, sample_every=2, log_every=2)
"""12 updates, 3 an epoch, on the 41 images of `write_images`; a checkpoint after each epoch."""


OWN = """
import torch
from torch import nn


class Cell(nn.GRUCell):
    def forward(self, x, state=None):
        return nn.functional.dropout(super().forward(x, state), 0.3, self.training)


class Generator(nn.Sequential):
    def __init__(self, latent_size, image_shape):
        super().__init__(nn.Linear(latent_size, 64), nn.Dropout(0.2), nn.Tanh(), nn.Unflatten(1, image_shape))


class Discriminator(nn.Sequential):
    def __init__(self, image_shape):
        super().__init__(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))

    def forward(self, x):
        return super().forward(x + 0.1 * torch.randn_like(x))
"""
"""A cell and networks of a user with randomness inside."""


def write_images(folder: Path = Path()) -> None:
    """Write images.npy, and own.py with `OWN`."""
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (41, 8, 8), dtype=np.uint8))
    (folder / "own.py").write_text(OWN)


def narrow_gans(set_attribute: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make the networks of GANs narrow."""
    for name, widths in NARROW.items():
        set_attribute(networks, name, widths)


def train(config: LSTMConfig | GANConfig, out: Path | str) -> RunFolder:
    """Start a run, or resume it if there is one."""
    trainer: Any = train_lstm if isinstance(config, LSTMConfig) else gan_training.train
    _, parts = Parts.resolve(vars(config))
    return trainer(config, out, parts=parts, device="cpu", resume=(Path(out) / "run.json").exists())


def at_step(
    patch: pytest.MonkeyPatch, config: LSTMConfig | GANConfig, number: int, action: Callable[[Any], None]
) -> None:
    """Call `action` with the network, or the generator, just before an update of the next training, counted from 1."""
    where = () if isinstance(config, LSTMConfig) else ("gan_step", gan_training)
    lstm_runs.at_step(patch, number, action, *where)


def disturb(
    config: LSTMConfig | GANConfig, out: Path | str, number: int, action: Callable[[Any], None]
) -> ReviverError | Interrupted:
    """Start or resume a run, call `action` just before an update as `at_step` does, and return the error that ends it."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, config, number, action)
        with pytest.raises((ReviverError, Interrupted)) as caught:
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


def run_children(server: ForkServerContext, target: Callable[..., None], *arguments: tuple[Any, ...]) -> list[int]:
    """Call `target` in a child for each tuple of arguments, all at the same time, and return the exit codes."""
    children = [server.Process(target=target, args=each) for each in arguments]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return [child.exitcode for child in children if child.exitcode is not None]


def run_group(server: ForkServerContext, target: Callable[..., None], folder: Path, size: int) -> list[int]:
    """Call `target(folder)` in the processes of a group, and return the exit codes."""
    store = Path(tempfile.mkdtemp(dir=folder)) / "store"
    return run_children(server, in_group, *((target, folder, store, rank, size) for rank in range(size)))


def in_group(target: Callable[[Path], None], folder: Path, store: Path, rank: int, size: int) -> None:
    """Join a process group, and call `target(folder)`."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    target(folder)
    assert dist.is_initialized(), "the group of the caller stays"
    dist.destroy_process_group()


def train_until(config: LSTMConfig | GANConfig, out: Path, update: int) -> None:
    """Start or resume a run, and kill this process before an update, counted from 1 in this session."""
    os.chdir(out.parent)
    narrow_gans()
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, config, update, lambda _: os.kill(os.getpid(), signal.SIGKILL))
        train(config, out)


def warm_up() -> None:
    """Complete a run of each kind."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "images.npy", np.zeros((4, 8, 8), dtype=np.uint8))
        train(LSTMConfig(length=2, hidden_size=2, epochs=1), folder / "lstm")
        train(GANConfig(data=str(folder / "images.npy"), image_size=8, epochs=1), folder / "gan")
