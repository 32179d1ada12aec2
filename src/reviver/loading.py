"""Opening a finished run folder for use."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from reviver.config import check_choice, from_mapping
from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.presets import GANConfig
from reviver.gan.training import MAX_CLASSES, build_networks
from reviver.lstm.presets import LSTMConfig
from reviver.lstm.tasks.build import build_task
from reviver.lstm.tasks.task import Task
from reviver.lstm.training import Network, build_network
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.runs.devices import choose_device
from reviver.runs.folder import RunFolder

Config = TypeVar("Config")


@dataclass(frozen=True)
class LSTMRun:
    """A trained LSTM: its folder, settings, task and network, in eval mode."""

    folder: RunFolder
    config: LSTMConfig
    task: Task
    network: Network

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Loss and accuracy after each epoch."""
        return self.folder.read_metrics()


@dataclass(frozen=True)
class GANRun:
    """A trained GAN: its folder, settings and networks, in eval mode."""

    folder: RunFolder
    config: GANConfig
    generator: Generator
    discriminator: Discriminator

    @property
    def is_digits(self) -> bool:
        """Whether the digit classifier can judge what the generator draws."""
        return self.config.data == "mnist" and self.generator.image_shape == (1, 28, 28)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Losses and the discriminator's answers over the updates."""
        return self.folder.read_metrics()

    @property
    def scores(self) -> list[dict[str, Any]]:
        """Scores that were taken while training; empty if none were."""
        return self.folder.read_scores()


def load(path: str | Path, *, checkpoint: str = "last", device: str = "cpu") -> LSTMRun | GANRun:
    """Open the run folder at `path`, with the weights of its `last` or (LSTM only) its `best` checkpoint.

    Raises:
        RunFolderError: if the folder is missing, damaged or written by a newer version, or has no such checkpoint.
        ConfigError: if `checkpoint` is anything else.
        DeviceError: if there is no such device.
    """
    folder = RunFolder.open(path)
    return load_lstm(folder, checkpoint, device) if folder.kind == "lstm" else load_gan(folder, checkpoint, device)


def load_lstm(folder: RunFolder, checkpoint: str = "last", device: str = "cpu") -> LSTMRun:
    """Open the LSTM run in `folder`, see `load`."""
    check_choice("checkpoint", checkpoint, ("last", "best"))
    chosen_device = choose_device(device)
    config = _read_config(folder, LSTMConfig)
    try:
        task = build_task(config, folder.record.get("data"))
        network = build_network(config, task)
    except DataError as error:
        raise RunFolderError(f"{folder.path / 'run.json'}: {error}") from error
    load_networks(find_checkpoint(folder.checkpoints, checkpoint), {"network": network})
    return LSTMRun(folder, config, task, network.to(chosen_device).eval())


def load_gan(folder: RunFolder, checkpoint: str = "last", device: str = "cpu") -> GANRun:
    """Open the GAN run in `folder`, see `load`."""
    check_choice("checkpoint", checkpoint, ("last",))
    chosen_device = choose_device(device)
    config = _read_config(folder, GANConfig)
    num_classes = _read_num_classes(folder) if config.conditional else 0
    generator, discriminator = build_networks(config, _read_image_shape(folder), num_classes)
    drawing = "average" if config.ema > 0 else "generator"
    networks: dict[str, torch.nn.Module] = {drawing: generator, "discriminator": discriminator}
    load_networks(find_checkpoint(folder.checkpoints, checkpoint), networks)
    return GANRun(folder, config, generator.to(chosen_device).eval(), discriminator.to(chosen_device).eval())


def _read_config(folder: RunFolder, cls: type[Config]) -> Config:
    try:
        return from_mapping(cls, folder.record["config"])
    except ConfigError as error:
        raise RunFolderError(f"{folder.path / 'run.json'}: {error}") from error


def _read_num_classes(folder: RunFolder) -> int:
    count = folder.record.get("data", {}).get("classes")
    if not isinstance(count, int) or isinstance(count, bool) or not 2 <= count <= MAX_CLASSES:
        raise RunFolderError(
            f"{folder.path / 'run.json'}: classes {count!r} is not possible; the file is damaged, train again"
        )
    return count


def _read_image_shape(folder: RunFolder) -> tuple[int, int, int]:
    shape = folder.record.get("data", {}).get("image_shape")
    is_shape = isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and 1 <= n <= 1024 for n in shape)
    if not is_shape:
        raise RunFolderError(
            f"{folder.path / 'run.json'}: image_shape {shape!r} is not possible; the file is damaged, train again"
        )
    return shape[0], shape[1], shape[2]
