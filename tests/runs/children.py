"""What tests run in child processes. The server imports this module and trains once, so that the children it forks start fast."""

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

from reviver.runs.distributed.world import join_world
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from tests.runs.distributed import train_networks
from tests.runs.small import at_step, narrow_gans, train


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


def train_all_networks(folder: Path) -> None:
    """Write the results of all networks of `train_networks` in this process to `folder`."""
    with join_world(torch.device("cpu")) as world:
        results = {name: train_networks.run_config(name, world) for name in train_networks.CONFIGS}
        torch.save(results, folder / f"rank-{world.rank}.pt")


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
