"""Grids of generated images: PNG files, figures, and the animation of a training run.

A run saves its grids as samples/epoch-NNNN.png, after that many epochs. Those within its first epochs are
samples/epoch-NNNN_update-NNNNNN.png: the epochs before it, and the updates in all.

Shapes: N images, C channels, H height, W width, Z latent size.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reviver.data.images.image_set import to_pixels
from reviver.errors import needing_train
from reviver.files.atomic import atomic_write
from reviver.settings.gan import GANConfig

if TYPE_CHECKING:
    from PIL import Image

GAP = 2
"""Pixels between two images, white."""
FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 180, 2500
MAX_FRAMES, MAX_FRAME_SIZE = 60, 640
CAPTION_HEIGHT = 28
"""Pixels, of an animation."""


class Grid(NamedTuple):
    """When a grid was generated: after complete epochs, and updates in all; None for one at the end of an epoch."""

    epoch: int
    update: int | None

    @property
    def when(self) -> str:
        """Time in the training, such as `epoch 5` or `update 200`."""
        return f"epoch {self.epoch}" if self.update is None else f"update {self.update}"

    @property
    def file_name(self) -> str:
        """Name of its file in the folder of the samples."""
        return f"epoch-{self.epoch:04d}{'' if self.update is None else f'_update-{self.update:06d}'}.png"


def find_grids(config: GANConfig, batches_per_epoch: int) -> dict[int, Grid]:
    """Return the grids of a whole run by their update, in order.

    Grids are saved before the training, every `sample_every` epochs, in the middle and at the end. Samples change fastest at
    first: from grids after epochs alone, they would go from noise to digits in one step. So there are also grids after the
    updates 10, 20, 50, 100, 200 ... before the first of those epochs.
    """
    first_epoch = min(config.sample_every, max(1, config.epochs // 2))
    early = (factor * 10**power for power in range(1, 18) for factor in (1, 2, 5))
    steps = itertools.takewhile(lambda step: step < first_epoch * batches_per_epoch, early)
    grids = {step: Grid((step - 1) // batches_per_epoch, step) for step in steps}
    epochs = {*range(0, config.epochs + 1, config.sample_every), config.epochs // 2, config.epochs}
    return dict(sorted((grids | {epoch * batches_per_epoch: Grid(epoch, None) for epoch in epochs}).items()))


def tile(images: Tensor, columns: int | None = None) -> NDArray[np.uint8]:
    """Return the pixels of images [N, C, H, W] in [-1, 1] in a grid, row by row, [height, width], of color [height, width, 3].

    `columns` are the images per row; by default the grid is as near to a square as possible.
    """
    num_images, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(num_images))
    rows = math.ceil(num_images / columns)
    shape = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels)
    grid = np.full(shape, 255, dtype=np.uint8)
    for index, pixels in enumerate(to_pixels(images).permute(0, 2, 3, 1).numpy()):
        top = GAP + index // columns * (height + GAP)
        left = GAP + index % columns * (width + GAP)
        grid[top : top + height, left : left + width] = pixels
    return grid[:, :, 0] if channels == 1 else grid


def save_grid(images: Tensor, path: Path, columns: int | None = None) -> None:
    """Save images as a grid, see `tile`: a .png enlarges the pixels without smoothing, a .pdf or .svg is a figure.

    Raises `ConfigError` if the suffix is another, and `RunFolderError` if the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        with needing_train("a figure"):
            from reviver.figures import grid_figure, save_figure  # matplotlib is slow, and training never needs it
        save_figure(grid_figure(tile(images, columns)), path)
        return
    with needing_train("a PNG file"):
        from PIL import Image
    with atomic_write(path) as temporary:
        Image.fromarray(_enlarged(images, columns)).save(temporary, format="PNG", optimize=True)


def save_animation(frames: Sequence[tuple[str, Tensor]], path: Path) -> None:
    """Save grids of images [N, C, H, W] in [-1, 1], each with its caption, as a GIF that loops."""
    pictures = [_frame(_enlarged(images), caption) for caption, images in frames]
    durations = [FRAME_MILLISECONDS] * (len(pictures) - 1) + [LAST_FRAME_MILLISECONDS]
    options: Any = {"save_all": True, "append_images": pictures[1:], "duration": durations, "loop": 0, "optimize": True}
    with atomic_write(path) as temporary:
        pictures[0].save(temporary, format="GIF", **options)


def _enlarged(images: Tensor, columns: int | None = None) -> NDArray[np.uint8]:
    """Return the pixels of `tile`, enlarged to about 112 per image."""
    factor = max(1, round(112 / images.shape[-1]))
    return tile(images, columns).repeat(factor, axis=0).repeat(factor, axis=1)


def _frame(grid: NDArray[np.uint8], caption: str) -> "Image.Image":
    """Return a frame of the animation, the caption below the grid. Noise in more than 32 levels would make a large file."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray((grid.astype(int) * 32 // 256 * 255 // 31).astype(np.uint8))
    image.thumbnail((MAX_FRAME_SIZE, MAX_FRAME_SIZE), Image.Resampling.LANCZOS)
    frame = Image.new(image.mode, (image.width, image.height + CAPTION_HEIGHT), "white")
    frame.paste(image, (0, 0))
    center = (image.width / 2, image.height + CAPTION_HEIGHT / 2)
    ImageDraw.Draw(frame).text(center, caption, "black", ImageFont.load_default(size=18), anchor="mm")
    return frame
