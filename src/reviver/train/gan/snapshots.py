"""Snapshots of a GAN: images of the same latents, and what D thinks of them, at some moments of the training.

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
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.data.images.image_set import ImageSet, from_pixels, to_pixels
from reviver.files.file_errors import damaged_run_file
from reviver.gan.networks import Discriminator, Generator, one_hot
from reviver.gan.sampling import generate
from reviver.rng import make_rng
from reviver.runs.folder import RunFolder
from reviver.runs.snapshot_files import (
    SnapshotFile,
    check_total_size,
    find_snapshots,
    read_snapshot,
    read_snapshot_header,
    write_snapshot,
)
from reviver.settings.gan import GANConfig, count_batches

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


def snapshot_steps(config: GANConfig, num_images: int, image_shape: tuple[int, int, int]) -> frozenset[int]:
    """Return the updates after which a snapshot is saved: 0, the last one, and others spaced geometrically.

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


class SnapshotWriter:
    """Writer of the snapshots of a run, after the updates `steps`, of latents z [N, Z] and N of the training images."""

    def __init__(
        self,
        folder: RunFolder,
        config: GANConfig,
        data: ImageSet,
        generator: Generator,
        discriminator: Discriminator,
        z: Tensor,
    ) -> None:
        self.steps = snapshot_steps(config, len(data.images), data.image_shape)
        self._folder = folder
        self._generator, self._discriminator, self._z = generator, discriminator, z
        chosen = choose_real_images(len(data.images), len(z), config.seed)
        self._real, self._real_labels = data.images[chosen], None
        if generator.num_classes and data.labels is not None:
            self._real_labels = one_hot(data.labels[chosen], generator.num_classes).to(z.device)

    def write(self, step: int, epoch: float) -> None:
        """Write the snapshot after `step` updates and `epoch` epochs.

        If an update has just made the weights infinite, write none: the next loss shows it, and training stops or
        returns to a checkpoint.
        """
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
        if not any(snapshot.step < step for snapshot in find_snapshots(self._folder)):
            tensors["real"] = self._real
        write_snapshot(self._folder, step, tensors)


def choose_real_images(num_images: int, count: int, seed: int) -> Tensor:
    """Return the indices [count] of the training images that D sees in each snapshot; few images are repeated."""
    order = torch.randperm(num_images, generator=make_rng(seed, "snapshots"))
    return order[torch.arange(count) % num_images]


@torch.no_grad()
def image_logits(discriminator: Discriminator, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return the log-odds of D for each image [N, C, H, W], [N], in eval mode; restore D's mode afterward.

    `labels` are one-hot, [N, K].
    """
    was_training = discriminator.training
    try:
        discriminator.eval()
        return discriminator.logits(images, labels).float().flatten()
    finally:
        discriminator.train(was_training)


def read_snapshots(folder: RunFolder) -> list[GANSnapshot]:
    """Return the snapshots of a run in the order of training; a damaged one or one of other images is a `RunFolderError`."""
    check_total_size(folder)
    files = find_snapshots(folder)
    snapshots = [_read_snapshot(folder, file) for file in files]
    if snapshots and snapshots[0].real is None:
        raise damaged_run_file(files[0].path, "'real' is missing")
    return snapshots


def _read_snapshot(folder: RunFolder, file: SnapshotFile) -> GANSnapshot:
    found = read_snapshot_header(file.path).shapes
    count = found.get("images", (0,))[:1] or (0,)
    if not 1 <= count[0] <= MAX_IMAGES:
        raise damaged_run_file(file.path, f"must have 1 to {MAX_IMAGES} images, got {count[0]}")
    images = torch.empty(*count, *folder.record["data"]["image_shape"], dtype=torch.uint8, device="meta")
    logits = torch.empty(count, dtype=torch.float32, device="meta")
    expected = {"images": images, "fake_logits": logits, "real_logits": logits}
    expected["epoch"] = torch.empty((), dtype=torch.float64, device="meta")
    tensors = read_snapshot(file.path, expected | ({"real": images} if "real" in found else {}))
    epoch = float(tensors.pop("epoch"))
    if epoch < 0:
        raise damaged_run_file(file.path, f"epoch must be at least 0, got {epoch:g}")
    return GANSnapshot(file.step, epoch, **tensors)
