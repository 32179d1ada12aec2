"""A trained GAN, loaded from its run folder."""

from dataclasses import dataclass
from typing import Any, Literal

from reviver.devices import choose_device
from reviver.files.file_errors import damaged_run_file
from reviver.gan.centering import fold
from reviver.gan.networks import Discriminator, Generator
from reviver.runs.checkpoint import checkpoint_step, find_checkpoint, load_networks
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.parts import Parts
from reviver.settings.validation import check
from reviver.train.gan.training import build_networks
from reviver.train.loaded import LoadedRun


@dataclass(frozen=True)
class GANRecords(LoadedRun):
    """A GAN run without its networks, whose code may be the user's: its run folder, settings and update."""

    folder: RunFolder
    config: GANConfig
    step: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of its images, (C, H, W)."""
        channels, height, width = self.folder.record["data"]["image_shape"]
        return channels, height, width

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The records of scores.jsonl: evaluations while training; empty if there were none."""
        return self.folder.read_scores()


@dataclass(frozen=True)
class GANRun(GANRecords):
    """A trained GAN: its run folder, settings, the update of the loaded checkpoint, and networks in eval mode.

    Attributes:
        generator: the EMA, where the run has one.
        discriminator: of images as they are, also where training centered them, see `centering.fold`.
    """

    generator: Generator
    discriminator: Discriminator

    @property
    def is_digits(self) -> bool:
        """Whether the digit classifier can classify the generated images."""
        return self.config.data == "mnist" and self.generator.image_shape == (1, 28, 28)


def read_gan(folder: RunFolder) -> GANRecords:
    """Open the GAN run in `folder` without its networks; raise RunFolderError if it is damaged."""
    config = folder.read_config(GANConfig)
    path = find_checkpoint(folder.checkpoints, "last")  # first: a run killed at its start has no data
    data = folder.record.get("data", {})
    for name in ["image_shape", *(["num_classes"] if config.conditional else [])]:
        if name not in data:
            raise damaged_run_file(folder.record_path, f"data.{name} is missing")
    return GANRecords(folder, config, checkpoint_step(path))


def load_gan(
    folder: RunFolder,
    checkpoint: str = "last",
    device: str = "cpu",
    *,
    networks: Any = None,
) -> GANRun:
    """Load the GAN run in `folder`, its networks to `device`; see `reviver.load` for errors. A GAN has no best checkpoint."""
    check("checkpoint", checkpoint, Literal["last"])
    chosen_device = choose_device(device)
    parts = Parts.load(networks=networks)
    parts.check_run(folder.record["config"], folder.record.get("parts", {}))
    records = read_gan(folder)
    config, num_classes = records.config, folder.record["data"]["num_classes"] if records.config.conditional else 0
    generator, discriminator = build_networks(config, records.image_shape, num_classes, parts)
    loaded = {"average" if config.ema > 0 else "generator": generator, "discriminator": discriminator}
    load_networks(find_checkpoint(folder.checkpoints, checkpoint), loaded)
    found = (generator.to(chosen_device).eval(), fold(discriminator).to(chosen_device).eval())
    return GANRun(folder, config, records.step, *found)
