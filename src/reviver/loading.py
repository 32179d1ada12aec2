"""Opening a finished run folder for use."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from reviver.config import from_mapping
from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.gan.networks import Discriminator, Generator
from reviver.gan.presets import GANConfig
from reviver.gan.training import build_networks
from reviver.lstm.presets import LSTMConfig
from reviver.lstm.tasks.build import build_task
from reviver.lstm.tasks.task import Task
from reviver.lstm.training import Network, build_network
from reviver.runs.checkpoint import build_trained, find_checkpoint
from reviver.runs.devices import choose_device
from reviver.runs.files import damaged
from reviver.runs.folder import RunFolder
from reviver.untrusted import one_line
from reviver.validation import check

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
    check("checkpoint", checkpoint, Literal["last", "best"])
    chosen_device = choose_device(device)
    config = _read_config(folder, LSTMConfig)
    if config.task == "own" and folder.record.get("data") is None:
        raise damaged(folder.record_path, "says nothing of the data")
    try:
        task = build_task(config, folder.record.get("data"))
        path = find_checkpoint(folder.checkpoints, checkpoint)
        (network,) = build_trained(path, ["network"], lambda: (build_network(config, task),), config.num_layers)
    except (ConfigError, DataError) as error:
        raise RunFolderError(f"{folder.record_path}: {error}") from error
    return LSTMRun(folder, config, task, network.to(chosen_device).eval())


def load_gan(folder: RunFolder, checkpoint: str = "last", device: str = "cpu") -> GANRun:
    """Open the GAN run in `folder`, see `load`."""
    check("checkpoint", checkpoint, Literal["last"])
    chosen_device = choose_device(device)
    config = _read_config(folder, GANConfig)
    num_classes = _read_fact(folder, "classes") if config.conditional else 0
    image_shape = tuple(_read_fact(folder, "image_shape"))
    path = find_checkpoint(folder.checkpoints, checkpoint)
    names = ("average" if config.ema > 0 else "generator", "discriminator")
    generator, discriminator = build_trained(path, names, lambda: build_networks(config, image_shape, num_classes))
    return GANRun(folder, config, generator.to(chosen_device).eval(), discriminator.to(chosen_device).eval())


def _read_config(folder: RunFolder, cls: type[Config]) -> Config:
    try:
        return from_mapping(cls, folder.record["config"])
    except ConfigError as error:
        raise RunFolderError(f"{folder.record_path}: {one_line(error)}") from error


def _read_fact(folder: RunFolder, name: str) -> Any:
    """Return what run.json says of the images; a run that was killed early may not have written it."""
    data = folder.record.get("data", {})
    if name not in data:
        raise damaged(folder.record_path, f"data.{name} is missing")
    return data[name]
