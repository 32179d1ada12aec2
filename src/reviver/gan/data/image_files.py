"""Image files and folders of them, read by Pillow: squared, resized, grey or in colour.

Shapes: N images, C channels (1 grey, 3 colour), H height, W width; pixels are bytes.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from reviver.errors import DataError
from reviver.io.files import open_file
from reviver.io.npz import damaged

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""What is read, whatever a file is called; Pillow knows more, and starts another program for some."""
MAX_FILE_BYTES = 1 << 28
FREE_PIXELS = 1 << 24
MAX_PIXELS_PER_BYTE = 64
"""Of larger images: a photo has ten pixels a byte, an image made to fill the memory a thousand."""
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")

Result = TypeVar("Result")


def read_images(paths: Sequence[Path], image_shape: Sequence[int]) -> Tensor:
    """Read image files as bytes [N, C, H, W] of `image_shape` (C, H, W): squared, resized, grey or in colour.

    Raises:
        DataError: if one is missing or damaged.
    """
    channels, height, _ = image_shape
    return _read_squares(paths, height, "L" if channels == 1 else "RGB")


def read_image_folder(folder: Path, size: int, part: str = "train") -> tuple[Tensor, Tensor | None]:
    """Read the images of a folder, at any depth, as bytes [N, C, size, size], and their classes [N] int64.

    If it has the folders `train` and `test`, those of `part` are read, else all are training images. The classes are the
    sub-folders that the images lie in, numbered by their names' order in the training part; None if there are no two.

    Raises:
        DataError: if there are no such images, one is damaged, or the test images have a class of their own.
    """
    is_split = all((folder / one).is_dir() for one in ("train", "test"))
    if part == "test" and not is_split:
        raise DataError(f"data: {folder} has no test images to compare with; put images into folders train and test")
    train, home = (folder / "train", folder / part) if is_split else (folder, folder)
    train_paths, paths = _find_images(train), _find_images(home)
    if not paths:
        raise DataError(f"data: {home} holds no IDX files and no images; put some into it ({', '.join(IMAGE_ENDINGS)})")
    modes = [_read_image(path, lambda image: image.mode) for path in train_paths]
    mode = "L" if all(one in GREY_MODES for one in modes) else "RGB"
    classes = sorted(set(_classes(train_paths, train)))
    labels = None
    if len(classes) > 1 and "" not in classes:
        numbers, names = {name: number for number, name in enumerate(classes)}, _classes(paths, home)
        if unknown := sorted(set(names) - set(classes)):
            raise DataError(f"data: {home} has the class {unknown[0]!r}, which the training images lack; take it out")
        labels = torch.tensor([numbers[name] for name in names])
    return _read_squares(paths, size, mode), labels


def read_pixels(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read one image as it is: bytes [H, W] if it is grey, else [H, W, 3].

    Raises:
        DataError: if it is missing or damaged.
    """
    return _read_image(path, lambda image: np.asarray(image.convert("L" if image.mode in GREY_MODES else "RGB")))


def _find_images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())


def _classes(paths: Sequence[Path], home: Path) -> list[str]:
    """The sub-folder of `home` that each file lies in; empty for those in `home` itself."""
    return ["".join(path.relative_to(home).parts[:-1][:1]) for path in paths]


def _read_squares(paths: Sequence[Path], size: int, mode: str) -> Tensor:
    channels = 1 if mode == "L" else 3
    pixels = np.empty((len(paths), size, size, channels), dtype=np.uint8)

    def squared(image: Image.Image) -> Image.Image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16 bits
            upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
        return ImageOps.fit(upright.convert(mode), (size, size), Image.Resampling.LANCZOS)

    for index, path in enumerate(paths):
        pixels[index] = np.asarray(_read_image(path, squared)).reshape(size, size, channels)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _read_image(path: Path, use: Callable[[Image.Image], Result]) -> Result:
    """Open an image and return what `use` makes of it; the pixels are read only if they are used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_file(path, MAX_FILE_BYTES) as file, Image.open(file, formats=FORMATS) as image:
                size = os.fstat(file.fileno()).st_size
                if image.width * image.height > max(FREE_PIXELS, size * MAX_PIXELS_PER_BYTE):
                    raise ValueError(f"it claims {image.width} x {image.height} pixels in {size} bytes")
                return use(image)
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them stumble over
        raise damaged(path, f"it cannot be read ({error})") from error
