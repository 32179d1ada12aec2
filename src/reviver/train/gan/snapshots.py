"""Samples of a GAN run: images of the same latents, and what D thinks of them, at some moments of the training.

    images        uint8 [N, C, H, W], generated from the latents of the sample grid
    fake_logits   float32 [N], log-odds of D for them
    real_logits   float32 [N], log-odds of D for real images, the same in each snapshot
    real          uint8 [N, C, H, W], these real images; only in the first snapshot of a run
    epoch         float64 [], epochs so far, with fraction

Nothing of the training depends on them: they use no random numbers of it, and D computes in eval mode, where it
drops no units.

Shapes: N images, C channels, H height, W width, Z latent size, K classes, m images per input of D.
"""

import math
from collections.abc import Container, Sequence
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from reviver.data.images.image_set import ImageSet, from_pixels, to_pixels
from reviver.files.file_errors import explain_read_errors
from reviver.gan.networks import Discriminator, Generator, one_hot
from reviver.gan.sampling import generate
from reviver.rng import make_rng
from reviver.runs.folder import RunFolder
from reviver.runs.session import Session
from reviver.settings.gan import GANConfig, count_batches
from reviver.train.gan.grids import MAX_FRAMES, find_grids, save_animation, save_grid, tile

NUM_MOMENTS = 60
"""Snapshots of a run."""
MIN_MOMENTS = 4
"""Snapshots of a run with images so large that they need more than MAX_BYTES."""
MAX_BYTES = 1 << 26
"""Size of all snapshots of a run, above which it saves fewer."""
MAX_IMAGES = 25
"""Images per snapshot that are read: as many as a sample grid has."""


class GANSnapshot(NamedTuple):
    """A moment of the training, after `step` updates; the tensors are described at the top of this module."""

    step: int
    epoch: float
    images: Tensor
    fake_logits: Tensor
    real_logits: Tensor
    real: Tensor | None = None


def snapshot_steps(config: GANConfig, num_images: int, image_shape: Sequence[int]) -> frozenset[int]:
    """Return updates after which a snapshot is saved, beside those of a grid: 0, the last one, and others spaced geometrically.

    Images change fastest at first. So each gap is the same fraction of the updates before it, but at least one update. Of
    very large images, fewer snapshots are saved.
    """
    last = config.epochs * count_batches(num_images, config.batch_size)
    size = MAX_IMAGES * math.prod(image_shape)
    count = max(MIN_MOMENTS, min(NUM_MOMENTS, MAX_BYTES // size))
    steps = [0, 1]
    while steps[-1] < last:
        remaining = max(1, count - len(steps))
        factor = (last / steps[-1]) ** (1 / remaining)
        steps.append(max(steps[-1] + 1, round(steps[-1] * factor)))
    return frozenset(steps)


class SampleWriter:
    """Writer of the samples of a run: images of latents z [N, Z], each time with what D thinks of N of the training images.

    They are snapshots. A grid, in a PNG file and in TensorBoard, shows the images of a snapshot, and the animation those of
    all grids.
    """

    def __init__(
        self, folder: RunFolder, config: GANConfig, data: ImageSet, networks: tuple[Generator, Discriminator], z: Tensor
    ) -> None:
        self._folder = folder
        self._steps = snapshot_steps(config, len(data.images), data.image_shape)
        self._grids = find_grids(config, count_batches(len(data.images), config.batch_size))
        (self._generator, self._discriminator), self._z = networks, z
        chosen = choose_real_images(len(data.images), len(z), config.seed)
        self._real, self._real_labels = data.images[chosen], None
        if (num_classes := self._generator.num_classes) and data.labels is not None:
            self._real_labels = one_hot(data.labels[chosen], num_classes).to(z.device)

    def is_due(self, step: int) -> bool:
        """Return whether there is a snapshot after `step` updates."""
        return step in self._steps or step in self._grids

    def write(self, session: Session, epoch: float) -> None:
        """Write the snapshot at the current update, after `epoch` epochs, and the grid, if one is due.

        If an update has just made the weights infinite, write none: the next loss shows it, and training stops or
        returns to a checkpoint.
        """
        step = session.state.step
        images = generate(self._generator, self._z)
        fake_logits = image_logits(self._discriminator, images, self._generator.class_labels(self._z))
        real_logits = image_logits(self._discriminator, from_pixels(self._real.to(images.device)), self._real_labels)
        if not all(bool(values.isfinite().all()) for values in (images, fake_logits, real_logits)):
            return
        tensors = {
            "images": to_pixels(images).cpu(),
            "fake_logits": fake_logits.cpu(),
            "real_logits": real_logits.cpu(),
            "epoch": torch.tensor(epoch, dtype=torch.float64),
        }
        if not any(earlier < step for earlier in self._folder.snapshot_files):
            tensors["real"] = self._real
        self._folder.write_snapshot(step, tensors)
        if grid := self._grids.get(step):
            save_grid(images.cpu(), self._folder.samples / grid.file_name)
            session.log_image("samples", tile(images.cpu()))

    def remove_later(self, step: int) -> None:
        """Remove what was written after `step` updates, to which training has returned."""
        for later, grid in self._grids.items():
            if later > step:
                (self._folder.samples / grid.file_name).unlink(missing_ok=True)
        self._folder.remove_later_snapshots(step)

    def animate(self) -> None:
        """Save the grids of the run, in order and with their time as a caption, as samples/training.gif."""
        captions = {step: self._grids[step].when for step in self._folder.snapshot_files if step in self._grids}
        steps = [*captions]
        stride = math.ceil(len(steps) / MAX_FRAMES)
        chosen = {*steps[::stride], steps[-1]} if steps else set()
        snapshots = read_snapshots(self._folder, chosen)
        if snapshots:  # none if they were removed, and a finished run is resumed
            frames = [(captions[snapshot.step], from_pixels(snapshot.images)) for snapshot in snapshots]
            save_animation(frames, self._folder.samples / "training.gif")


def choose_real_images(num_images: int, count: int, seed: int) -> Tensor:
    """Return the indices [count] of the training images that D sees in each snapshot; few images are repeated."""
    order = torch.randperm(num_images, generator=make_rng(seed, "snapshots"))
    return order[torch.arange(count) % num_images]


@torch.no_grad()
def image_logits(discriminator: Discriminator, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return the log-odds [N] of D for images [N, C, H, W] with one-hot labels [N, K], in eval mode; restore D's mode."""
    was_training = discriminator.training
    try:
        discriminator.eval()
        return discriminator.logits(images, labels).float().flatten()
    finally:
        discriminator.train(was_training)


def read_snapshots(folder: RunFolder, steps: Container[int] | None = None) -> list[GANSnapshot]:
    """Return the snapshots of a run, or those after some `steps`, in order; a damaged one is a `RunFolderError`."""
    snapshots = []
    for step, path in folder.snapshot_files.items():
        if steps is None or step in steps:
            with explain_read_errors(path):
                tensors = load_file(path)
                snapshots.append(GANSnapshot(step, float(tensors.pop("epoch")), **tensors))
    return snapshots
