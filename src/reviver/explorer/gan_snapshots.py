"""Pictures of the same latents through the training, for the explorer.

Shapes: S moments, N images, C channels, H height, W width.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from reviver.explorer.blocks import Blocks, encode_u8
from reviver.explorer.facts import thin
from reviver.explorer.gan_outputs import DIGITS
from reviver.explorer.manifest import SnapshotSpec, SnapshotsSpec
from reviver.train.gan.run import GANRun
from reviver.train.gan.snapshots import GANSnapshot, read_real_images, read_snapshots

MAX_MOMENTS = 60
"""S of a page."""
MAX_BYTES = 8 << 20
"""Size of all pictures; of large ones there are fewer moments, at least MIN_MOMENTS."""
MIN_MOMENTS = 4
TOLERANCE = 1e-6
"""Epochs. Nearer than this to the end of one, a moment is called by it."""


def embed_snapshots(run: GANRun, name: str, blocks: Blocks, *, with_real: bool = True) -> SnapshotsSpec | None:
    """Add the snapshots of a run up to its checkpoint, also the real images that D saw; return where they are, if any."""
    found = [snapshot for snapshot in read_snapshots(run.folder) if snapshot.step <= run.step]
    if not found:
        return None
    size = len(found[-1].images) * math.prod(run.generator.image_shape)
    count = max(MIN_MOMENTS, min(MAX_MOMENTS, MAX_BYTES // size))
    chosen = thin(drop_repeated(found), count)
    tensors = {"images": encode_u8(torch.stack([snapshot.images for snapshot in chosen]))}
    real = read_real_images(run.folder) if with_real else None
    if real is not None:
        tensors["real"] = encode_u8(real)
    moments = [
        SnapshotSpec(
            step=snapshot.step,
            epoch=round(snapshot.epoch, DIGITS),
            label=moment_label(snapshot.step, snapshot.epoch),
            real_logits=[round(value, DIGITS) for value in snapshot.real_logits.tolist()],
            fake_logits=[round(value, DIGITS) for value in snapshot.fake_logits.tolist()],
        )
        for snapshot in chosen
    ]
    return SnapshotsSpec(data=blocks.add_tensors(name, tensors), moments=moments)


def drop_repeated(snapshots: Sequence[GANSnapshot]) -> list[GANSnapshot]:
    """Return the snapshots without those that show the same pictures as the next one, or fewer than the last one.

    A moving average of the weights that is updated every few updates gives the same pictures in between.
    """
    last = snapshots[-1]
    whole = [snapshot for snapshot in snapshots if snapshot.images.shape == last.images.shape]
    return [snapshot for snapshot, after in pairwise(whole) if not torch.equal(snapshot.images, after.images)] + [last]


def moment_label(step: int, epoch: float) -> str:
    """Return the name of a moment: "start", "update 200" or, at the end of one, "epoch 5"."""
    if step == 0:
        return "start"
    return f"epoch {round(epoch)}" if round(epoch) and abs(epoch - round(epoch)) < TOLERANCE else f"update {step}"
