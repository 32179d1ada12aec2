"""Grids of generated images: PNG files, figures, and the animation of a training run.

A run saves its grids as samples/epoch-NNNN.png, after that many epochs. Those within its first epochs are
samples/epoch-NNNN_update-NNNNNN.png: the epochs before it, and the updates in all.

Shapes: N images, C channels, H height, W width, Z latent size.
"""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reviver.data.images.image_files import read_pixels
from reviver.data.images.image_set import from_pixels, to_pixels
from reviver.errors import DataError, needing_train
from reviver.files.atomic import atomic_write

if TYPE_CHECKING:
    from PIL import Image

GAP = 2
"""Pixels between two images, white."""
FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 180, 2500
MAX_FRAMES, MAX_FRAME_SIZE = 60, 640
CAPTION_HEIGHT = 28
"""Pixels, of an animation."""
GRID_NAME = re.compile(r"epoch-([0-9]{1,18})(?:_update-([0-9]{1,18}))?\.png")


class Grid(NamedTuple):
    """A grid that a run saved after complete epochs, and updates in all: None for one at the end of an epoch."""

    epoch: int
    update: int | None
    path: Path

    @property
    def when(self) -> str:
        """Time in the training, such as `epoch 5` or `update 200`."""
        return f"epoch {self.epoch}" if self.update is None else f"update {self.update}"


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
    grid = tile(images, columns)
    if path.suffix.lower() != ".png":
        with needing_train("a figure"):
            from reviver.figures import grid_figure, save_figure  # matplotlib is slow, and training never needs it
        save_figure(grid_figure(grid), path)
        return
    with needing_train("a PNG file"):
        from PIL import Image
    factor = _enlargement(images.shape[-1])
    enlarged = grid.repeat(factor, axis=0).repeat(factor, axis=1)
    with atomic_write(path) as temporary:
        Image.fromarray(enlarged).save(temporary, format="PNG", optimize=True)


def read_images(path: Path, image_shape: tuple[int, ...]) -> Tensor:
    """Return the images of a grid that `save_grid` wrote as .png, an untrusted file: [N, C, H, W] in [-1, 1].

    Raises `DataError` if the file is damaged, or holds a grid of images of another shape.
    """
    channels, height, width = image_shape
    factor = _enlargement(width)
    grid = read_pixels(path)[::factor, ::factor]
    grid = grid.reshape(*grid.shape[:2], -1)  # [height, width, C]
    (rows, columns), rest = np.divmod(np.array(grid.shape[:2]) - GAP, (height + GAP, width + GAP))
    if grid.shape[2] != channels or rest.any() or min(rows, columns) < 1:
        raise DataError(f"{path}: holds no grid of images of shape {list(image_shape)}; train again to write it")
    cells = grid[GAP:, GAP:].reshape(rows, height + GAP, columns, width + GAP, channels)[:, :height, :, :width]
    images = cells.transpose(0, 2, 4, 1, 3).reshape(-1, channels, height, width)
    return from_pixels(torch.from_numpy(images.copy()))


def grid_path(samples: Path, epoch: int, update: int | None = None) -> Path:
    """Return the path of a grid in the folder `samples`; `epoch` and `update` as in `Grid`."""
    return samples / (f"epoch-{epoch:04d}.png" if update is None else f"epoch-{epoch:04d}_update-{update:06d}.png")


def find_grids(samples: Path) -> list[Grid]:
    """Return the grids of a run in the order of training; skip other files."""
    matches = {path: GRID_NAME.fullmatch(path.name) for path in samples.glob("epoch-*.png")}
    grids = [Grid(int(match[1]), int(match[2]) if match[2] else None, path) for path, match in matches.items() if match]
    return sorted(grids, key=lambda grid: (grid.epoch, grid.update or 0))


def remove_later_grids(samples: Path, epoch: int, update: int) -> None:
    """Remove the grids after `epoch` complete epochs and `update` updates, to which training has returned."""
    for grid in find_grids(samples):
        if grid.epoch > epoch or (grid.update or 0) > update:
            grid.path.unlink()


def save_animation(samples: Path, path: Path) -> None:
    """Save the grids of a run, in order and with their time as a caption, as a GIF that loops; none without grids."""
    grids = find_grids(samples)
    if not grids:  # they were removed, and a finished run is resumed
        return
    stride = math.ceil(len(grids) / MAX_FRAMES)
    chosen = grids[::stride] if (len(grids) - 1) % stride == 0 else [*grids[::stride], grids[-1]]
    frames = [_frame(read_pixels(grid.path), grid.when) for grid in chosen]
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
    with atomic_write(path) as temporary:
        frames[0].save(
            temporary, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
        )


def _enlargement(width: int) -> int:
    """Return the factor by which a PNG enlarges images of `width` pixels, to about 112."""
    return max(1, round(112 / width))


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
