"""Images of a source, some at a time: an image folder or an .npy may be larger than the memory.

Shapes: N images, n of them, C channels, H height, W width; pixels are bytes.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from reviver.gan.data.image_files import find_image_files, read_squares
from reviver.gan.data.image_set import (
    arrange_channels,
    convert_pixels,
    load_images,
    load_test_images,
    pixel_range,
)
from reviver.gan.data.named import DATA_SETS
from reviver.gan.data.resize import check_count, crop_and_resize
from reviver.io.errors import DATA_REMEDY, damaged_data_file
from reviver.io.npz import read_npy_header
from reviver.packed.format import is_packed

CHUNK_BYTES = 1 << 25
"""Size of the images that are read at a time."""


class ImageStream(NamedTuple):
    """Images that are read while they are iterated over."""

    name: str
    """Name of the data set, file or folder."""
    shape: tuple[int, int, int, int]
    """(N, C, H, W)."""
    labels: Tensor | None
    """Classes [N] int64, or None."""
    chunks: Iterator[Tensor]
    """The images in order, bytes [n, C, H, W]."""


def stream_images(source: str, image_size: int, split: str = "train") -> ImageStream:
    """Return the images that `load_images` or, for the split `test`, `load_test_images` returns.

    Raises:
        DataError: see `load_images`; for a damaged image of a folder while the images are read.
    """
    path = Path(source)
    is_name = source == "mnist" or source in DATA_SETS
    if not is_name and path.is_dir() and not is_packed(path) and not any(path.glob("*images*idx3-ubyte*")):
        return _stream_folder(path, image_size, split)
    if not is_name and path.suffix == ".npy" and path.exists() and split == "train":
        return _stream_npy(path, image_size)
    data = (load_images if split == "train" else load_test_images)(source, image_size)
    shape = (len(data), *data.image_shape)
    return ImageStream(data.name, shape, data.labels, iter(data.images.split(_chunk_size(prod(data.image_shape)))))


def _stream_folder(path: Path, image_size: int, split: str) -> ImageStream:
    files = find_image_files(path, split)
    shape = (len(files.paths), 1 if files.mode == "L" else 3, image_size, image_size)
    check_count(path.name, shape)
    size = _chunk_size(prod(shape[1:]))
    starts = range(0, len(files.paths), size)
    chunks = (read_squares(files.paths[start : start + size], image_size, files.mode) for start in starts)
    return ImageStream(path.name, shape, files.labels, chunks)


def _stream_npy(path: Path, image_size: int) -> ImageStream:
    header = read_npy_header(path)
    check_count(path.stem, header.shape or (0,))  # an empty file cannot be mapped
    try:
        mapped = np.memmap(
            path, header.dtype, "r", header.offset, header.shape, order="F" if header.is_fortran else "C"
        )
    except (OSError, ValueError) as error:
        raise damaged_data_file(path, f"it cannot be mapped ({error})", DATA_REMEDY) from error
    images = arrange_channels(path, mapped)
    number_range = pixel_range(path, images)
    size = _chunk_size(prod(images.shape[1:]) * images.itemsize)
    chunks = (
        crop_and_resize(convert_pixels(images[start : start + size], number_range), image_size)
        for start in range(0, len(images), size)
    )
    return ImageStream(path.stem, (*images.shape[:2], image_size, image_size), None, chunks)


def _chunk_size(image_bytes: int) -> int:
    """Return the number of images to read at a time."""
    return max(1, CHUNK_BYTES // max(1, image_bytes))
