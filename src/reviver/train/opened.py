"""An opened run, as figures, cards, exports and the explorer take it; `reviver.run.Run` adds what a user of Python meets."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from torch import nn

from reviver.data.build import build_task
from reviver.data.task import DataRecord, Task
from reviver.errors import ConfigError, DataError, RunFolderError
from reviver.files.file_errors import damaged_run_file
from reviver.gan.centering import fold
from reviver.gan.networks import Discriminator, Generator
from reviver.launch import choose_device
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.runs.checkpoint import checkpoint_step, find_checkpoint, load_networks
from reviver.runs.folder import RunFolder
from reviver.runs.records import validate
from reviver.settings.gan import DIGITS, GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.parts import BUILT_IN, Parts, is_custom
from reviver.settings.validation import check
from reviver.text import one_line, short_repr
from reviver.train.gan.training import build_networks
from reviver.train.lstm.training import build_network


class OpenedRun:
    """A run folder, opened: its settings and records, and its networks, which are built and loaded at first access.

    The records need no user-defined class. What only the other kind of run has raises AttributeError.

    Args:
        folder: run folder.
        checkpoint: `last` or `best` (LSTM only), by default `best` for an LSTM with early stopping, otherwise `last`.
        device: device of the networks, see `reviver.launch.choose_device`.
        parts: user-defined classes of the run.

    Raises:
        RunFolderError: if the folder is missing, damaged or of another kind.
        ConfigError: if `checkpoint` has another value, or the run does not have one of `parts`.
        DeviceError: if the device is not available.
    """

    kind: ClassVar[Literal["lstm", "gan"] | None] = None
    config: Any
    """Settings, `LSTMConfig` or `GANConfig`."""

    def __init__(
        self,
        folder: RunFolder | str | Path,
        *,
        checkpoint: str | None = None,
        device: str = "cpu",
        parts: Parts = BUILT_IN,
    ) -> None:
        self.folder = folder if isinstance(folder, RunFolder) else RunFolder.open(folder, self.kind)
        is_lstm = self.folder.kind == "lstm"
        check("checkpoint", checkpoint, Literal["last", "best"] | None if is_lstm else Literal["last"] | None)
        parts.check_run(self.folder.record["config"], self.folder.record.get("parts", {}))
        self.config = self.folder.read_config(LSTMConfig) if is_lstm else self.folder.read_config(GANConfig)
        patience = self.config.patience if isinstance(self.config, LSTMConfig) else None
        self.checkpoint = checkpoint or ("last" if patience is None else "best")
        self._device, self._parts = choose_device(device), parts

    def __repr__(self) -> str:
        """Return a short description."""
        return f"<{type(self).__name__} {short_repr(str(self.folder.path))}, {self.folder.status}>"

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Metrics of each epoch of an LSTM, or every `log_every` updates of a GAN, as in metrics.jsonl."""
        return self.folder.read_metrics()

    @property
    def scores(self) -> list[dict[str, Any]]:
        """Records of scores.jsonl: evaluations of a GAN while training; empty if there were none."""
        return self.folder.read_scores()

    def require_metrics(self) -> list[dict[str, Any]]:
        """Return `metrics`; RunFolderError if there are none yet."""
        if not (metrics := self.metrics):
            raise RunFolderError(f"{self.folder.records_path('metrics')} is empty; continue the run with --resume")
        return metrics

    def table(self, name: Literal["metrics", "scores"] = "metrics") -> dict[str, list[Any]]:
        """Return metrics, or `scores` of a GAN, by column; `pandas.DataFrame` and `polars.DataFrame` take it."""
        rows = self.metrics if name == "metrics" else self.scores
        return {
            column: [row.get(column) for row in rows] for column in dict.fromkeys(key for row in rows for key in row)
        }

    @cached_property
    def _path(self) -> Path:
        return find_checkpoint(self.folder.checkpoints, self.checkpoint)

    @cached_property
    def step(self) -> int:
        """Update at which the checkpoint was saved."""
        return checkpoint_step(self._path)

    @cached_property
    def task(self) -> Task:
        """Task of an LSTM."""
        self._check_kind("task", "lstm")
        data = self.folder.record.get("data")
        if self.config.task == "custom":
            validate(DataRecord, data, f"{self.folder.record_path}: data")
        with self._explaining():
            return build_task(self.config, data, self._parts)

    @cached_property
    def networks(self) -> dict[str, nn.Module]:
        """Trained networks in eval mode: `network`, or `generator` (the EMA, where the run has one) and `discriminator`."""
        path, config = self._path, self.config  # first: a run killed at its start has no data
        if isinstance(config, LSTMConfig):
            task = self.task
            with self._explaining():
                networks: dict[str, nn.Module] = {"network": build_network(config, task, self._parts, for_loading=True)}
            self._load(path, networks, "cell")
        else:
            num_classes = self._data("num_classes") if config.conditional else 0
            with self._explaining():
                generator, discriminator = build_networks(config, self.image_shape, num_classes, self._parts)
            names = ("average" if config.ema > 0 else "generator", "discriminator")
            self._load(path, dict(zip(names, (generator, discriminator), strict=True)), "networks")
            networks = {"generator": generator, "discriminator": fold(discriminator)}
        return {name: network.to(self._device).eval() for name, network in networks.items()}

    @property
    def network(self) -> RecurrentClassifier:
        """Trained network of an LSTM, in eval mode."""
        return cast("RecurrentClassifier", self._network("network"))

    @property
    def generator(self) -> Generator:
        """Trained generator of a GAN, in eval mode: the EMA, where the run has one."""
        return cast("Generator", self._network("generator"))

    @property
    def discriminator(self) -> Discriminator:
        """Trained discriminator of a GAN, in eval mode, of images as they are, also where training centered them."""
        return cast("Discriminator", self._network("discriminator"))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of the images of a GAN, (C, H, W)."""
        channels, height, width = self._data("image_shape")
        return channels, height, width

    @property
    def is_digits(self) -> bool:
        """Whether the digit classifier can classify the images of a GAN."""
        return self.config.data in DIGITS and self.image_shape == (1, 28, 28)

    def to(self, device: str) -> Self:
        """Return the run with its networks on `device`."""
        run = copy.copy(self)
        run._device = choose_device(device)
        if "networks" in vars(self):
            run.networks = {name: copy.deepcopy(network).to(run._device) for name, network in self.networks.items()}
        return run

    def _network(self, name: str) -> nn.Module:
        self._check_kind(name, "lstm" if name == "network" else "gan")
        return self.networks[name]

    def _check_kind(self, name: str, kind: str) -> None:
        if self.folder.kind != kind:
            raise AttributeError(f"the run of {'an LSTM' if kind == 'gan' else 'a GAN'} has no {name}")

    def _data(self, name: str) -> Any:
        data = self.folder.record.get("data", {})
        if name not in data:
            raise damaged_run_file(self.folder.record_path, f"data.{name} is missing")
        return data[name]

    def _load(self, path: Path, networks: dict[str, nn.Module], option: Literal["cell", "networks"]) -> None:
        """Load the weights; of user-defined networks, those that do not fit are of another class."""
        try:
            load_networks(path, networks)
        except RunFolderError as error:
            if not isinstance(error.__cause__, RuntimeError) or not is_custom(option, getattr(self.config, option)):
                raise
            problem = f"is not what {self.folder.path} was trained with ({one_line(error.__cause__, 200)})"
            raise ConfigError(f"{option} {problem}; give the class of this run", field=option) from error

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Raise errors of settings and data as RunFolderError that names the folder, but for those of user-defined classes."""
        try:
            yield
        except (ConfigError, DataError) as error:
            if isinstance(error, ConfigError) and is_custom(error.field, getattr(self.config, error.field, None)):
                raise
            raise RunFolderError(f"{self.folder.record_path}: {error}") from error
