"""Grids of generated images as pixels: PNG files and the animation of a training run.

Shapes: N images, C channels, H height, W width.
"""

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from reviver.gan.image_files import read_pixels
from reviver.gan.images import to_pixels
from reviver.runs.files import replacing

GAP = 2
"""Pixels between two images."""
PAPER = 255
"""The colour of the gaps."""
LEGIBLE_SIZE = 112
"""An image is enlarged by a whole factor to about this many pixels."""
FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 180, 2500
MAX_FRAMES = 60
GRID_NAME = re.compile(r"epoch-([0-9]{1,18})\.png")


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
    factor = max(1, round(LEGIBLE_SIZE / images.shape[-1]))
    sheet = tile(images, columns)
    enlarged = sheet.repeat(factor, axis=0).repeat(factor, axis=1)
    with replacing(path) as temporary:
        Image.fromarray(enlarged).save(temporary, format="PNG", optimize=True)


def read_grid(path: Path) -> NDArray[np.uint8]:
    """Read a grid that `save_grid` wrote.

    Raises:
        DataError: if the file is damaged.
    """
    return read_pixels(path)


def find_grids(samples: Path) -> dict[int, Path]:
    """The grids samples/epoch-NNNN.png by their epochs; other files are passed over."""
    names = {path: GRID_NAME.fullmatch(path.name) for path in samples.glob("epoch-*.png")}
    return {int(name[1]): path for path, name in names.items() if name}


def save_animation(samples: Path, path: Path) -> None:
    """Join the grids samples/epoch-NNNN.png, in order and with their epoch below, to one GIF that repeats for ever."""
    grids = find_grids(samples)
    epochs = sorted(grids)
    stride = math.ceil(len(epochs) / MAX_FRAMES)
    shown = epochs[::stride] if (len(epochs) - 1) % stride == 0 else [*epochs[::stride], epochs[-1]]
    frames = [_captioned(read_grid(grids[epoch]), f"epoch {epoch}") for epoch in shown]
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
    with replacing(path) as temporary:
        frames[0].save(
            temporary, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
        )


def _captioned(sheet: NDArray[np.uint8], caption: str) -> Image.Image:
    picture = Image.fromarray(sheet)
    picture.thumbnail((480, 480), Image.Resampling.LANCZOS)
    margin = 28
    frame = Image.new(picture.mode, (picture.width, picture.height + margin), "white")
    frame.paste(picture, (0, 0))
    font = ImageFont.load_default(size=18)
    ImageDraw.Draw(frame).text((picture.width / 2, picture.height + margin / 2), caption, "black", font, anchor="mm")
    return frame
