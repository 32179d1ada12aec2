"""Grids of generated images as pixels: PNG files and the animation of a training run.

A run keeps them as samples/epoch-NNNN.png, and those within its first epochs as samples/epoch-NNNN_update-NNNNNN.png:
after so many whole epochs, and so many updates in all.

Shapes: N images, C channels, H height, W width.
"""

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from reviver.errors import DataError
from reviver.gan.data.image_files import read_pixels
from reviver.gan.data.image_set import from_pixels, to_pixels
from reviver.io.files import atomic_write

GAP = 2
"""Pixels between two images."""
PAPER = 255
"""The colour of the gaps."""
LEGIBLE_SIZE = 112
"""An image is enlarged by a whole factor to about this many pixels."""
FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 180, 2500
MAX_FRAMES, MAX_FRAME_SIZE = 60, 640
SHADES = 32
"""Grey levels of an animation, or levels of each colour: noise in 256 would make a large file."""
GRID_NAME = re.compile(r"epoch-([0-9]{1,18})(?:_update-([0-9]{1,18}))?\.png")


class Grid(NamedTuple):
    """A grid that a run saved while training.

    Attributes:
        epoch: whole epochs before it.
        update: updates before it, of a grid within an epoch; None at the end of one.
    """

    epoch: int
    update: int | None
    path: Path

    @property
    def when(self) -> str:
        """When it was generated, such as `epoch 5` or `update 200`."""
        return f"epoch {self.epoch}" if self.update is None else f"update {self.update}"


def tile(images: Tensor, columns: int | None = None) -> NDArray[np.uint8]:
    """Lay images [N, C, H, W] in [-1, 1] out row by row: bytes [rows, columns] or [rows, columns, 3].

    `columns` is as near to a square as possible by default.
    """
    count, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), PAPER, dtype=np.uint8)
    for index, pixels in enumerate(to_pixels(images).permute(0, 2, 3, 1).numpy()):
        top = GAP + index // columns * (height + GAP)
        left = GAP + index % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = pixels
    return sheet[:, :, 0] if channels == 1 else sheet


def save_grid(images: Tensor, path: Path, columns: int | None = None) -> None:
    """Save images [N, C, H, W] in [-1, 1] as one PNG, enlarged without smoothing."""
    factor = _enlargement(images.shape[-1])
    sheet = tile(images, columns)
    enlarged = sheet.repeat(factor, axis=0).repeat(factor, axis=1)
    with atomic_write(path) as temporary:
        Image.fromarray(enlarged).save(temporary, format="PNG", optimize=True)


def read_images(path: Path, image_shape: tuple[int, ...]) -> Tensor:
    """Read the images [N, C, H, W] in [-1, 1] of a grid that `save_grid` wrote of images of `image_shape`.

    Raises:
        DataError: if the file is damaged, or holds a grid of other images.
    """
    channels, height, width = image_shape
    factor = _enlargement(width)
    sheet = read_pixels(path)[::factor, ::factor]
    sheet = sheet.reshape(*sheet.shape[:2], -1)  # [rows, columns, C]
    (rows, columns), rest = np.divmod(np.array(sheet.shape[:2]) - GAP, (height + GAP, width + GAP))
    if sheet.shape[2] != channels or rest.any() or min(rows, columns) < 1:
        raise DataError(f"{path}: holds no grid of images of shape {list(image_shape)}; train again to write it")
    cells = sheet[GAP:, GAP:].reshape(rows, height + GAP, columns, width + GAP, channels)[:, :height, :, :width]
    images = cells.transpose(0, 2, 4, 1, 3).reshape(-1, channels, height, width)
    return from_pixels(torch.from_numpy(images.copy()))


def _enlargement(width: int) -> int:
    """The factor by which images of `width` pixels are enlarged in a PNG."""
    return max(1, round(LEGIBLE_SIZE / width))


def grid_path(samples: Path, epoch: int, update: int | None = None) -> Path:
    """Return where the grid after so many epochs is saved, or within one after so many updates; see `Grid`."""
    return samples / (f"epoch-{epoch:04d}.png" if update is None else f"epoch-{epoch:04d}_update-{update:06d}.png")


def find_grids(samples: Path) -> list[Grid]:
    """Return the grids of a run in the order of training; other files are passed over."""
    names = {path: GRID_NAME.fullmatch(path.name) for path in samples.glob("epoch-*.png")}
    grids = [Grid(int(name[1]), int(name[2]) if name[2] else None, path) for path, name in names.items() if name]
    return sorted(grids, key=lambda grid: (grid.epoch, grid.update or 0))


def remove_later_grids(samples: Path, epoch: int, update: int) -> None:
    """Remove the grids of a stretch of training that was taken back: those after so many epochs and updates."""
    for grid in find_grids(samples):
        if grid.epoch > epoch or (grid.update or 0) > update:
            grid.path.unlink()


def save_animation(samples: Path, path: Path) -> None:
    """Join the grids of a run, in order and with their time below, to one GIF that repeats for ever."""
    grids = find_grids(samples)
    stride = math.ceil(len(grids) / MAX_FRAMES)
    shown = grids[::stride] if (len(grids) - 1) % stride == 0 else [*grids[::stride], grids[-1]]
    frames = [_captioned(read_pixels(grid.path), grid.when) for grid in shown]
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
    with atomic_write(path) as temporary:
        frames[0].save(
            temporary, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
        )


def _captioned(sheet: NDArray[np.uint8], caption: str) -> Image.Image:
    levels = sheet.astype(int) * SHADES // 256
    picture = Image.fromarray((levels * 255 // (SHADES - 1)).astype(np.uint8))
    picture.thumbnail((MAX_FRAME_SIZE, MAX_FRAME_SIZE), Image.Resampling.LANCZOS)
    margin = 28
    frame = Image.new(picture.mode, (picture.width, picture.height + margin), "white")
    frame.paste(picture, (0, 0))
    font = ImageFont.load_default(size=18)
    ImageDraw.Draw(frame).text((picture.width / 2, picture.height + margin / 2), caption, "black", font, anchor="mm")
    return frame
