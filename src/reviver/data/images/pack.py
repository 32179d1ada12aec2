"""Packing of images: `reviver data pack` for everything that `gan train --data` reads.

An image folder or an .npy is read some images at a time, since it may be larger than the memory.

Shapes: N images, C channels, H height, W width; pixels are bytes.
"""

import logging
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

from reviver.data.images.image_files import class_folders, find_image_files, read_squares
from reviver.data.images.image_set import arrange_channels, convert_pixels, load_images, load_test_images, pixel_range
from reviver.data.images.named import DATA_SETS
from reviver.data.images.resize import check_count, crop_and_resize
from reviver.data.packed.folder import Chunks, is_packed, refuse_existing, write_packed
from reviver.errors import DataError
from reviver.files.npz import map_npy

CHUNK_BYTES = 1 << 25
"""Size of the images that are read at a time."""

_log = logging.getLogger(__name__)


def pack_images(source: str, out: Path, image_size: int = 28, *, progress: bool = False) -> dict[str, list[int]]:
    """Write the images of a source, with their labels and the test images that belong to them, to a packed folder.

    Args:
        source: source of the images, see `load_images`.
        out: folder that must not exist.
        image_size: height and width, pixels.
        progress: whether to show a progress bar.

    Returns:
        The shape of each array by name.

    Raises:
        DataError: see `load_images`.
        RunFolderError, Interrupted: see `write_packed`.
    """
    refuse_existing(out)
    name, arrays = _read(source, image_size, "train")
    classes = class_folders(Path(source)) if "labels" in arrays else []
    problem = None
    try:
        _, test = _read(source, image_size, "test")
        if test["images"][0][1:] == arrays["images"][0][1:]:
            arrays |= {f"test_{array}": chunks for array, chunks in test.items()}
    except DataError as error:
        problem = error
    packed = write_packed(out, "images", name, arrays, classes=classes, progress=progress)
    if problem is not None:
        _log.info("packed without test images (%s)", problem)
    return packed


def _read(source: str, size: int, split: str) -> tuple[str, dict[str, Chunks]]:
    """Return the name, the images and the labels that `load_images`, or for the split `test` `load_test_images`, reads."""
    path = Path(source)
    is_path = source != "mnist" and source not in DATA_SETS
    if is_path and path.is_dir() and not is_packed(path) and not any(path.glob("*images*idx3-ubyte*")):
        files = find_image_files(path, split)
        name, labels = path.name, files.labels
        shape = [len(files.paths), 1 if files.mode == "L" else 3, size, size]
        check_count(name, shape)
        chunks = (read_squares(files.paths[part], size, files.mode) for part in _slices(len(files.paths), shape[1:]))
    elif is_path and path.suffix == ".npy" and path.exists() and split == "train":
        array = arrange_channels(path, map_npy(path))
        name, labels = path.stem, None
        check_count(name, array.shape)
        values = pixel_range(path, array)
        shape = [*array.shape[:2], size, size]
        chunks = (
            crop_and_resize(convert_pixels(array[part], values), size)
            for part in _slices(len(array), [*array.shape[1:], array.itemsize])
        )
    else:
        data = (load_images if split == "train" else load_test_images)(source, size)
        name, labels, shape = data.name, data.labels, list(data.images.shape)
        chunks = (data.images[part] for part in _slices(len(data), data.image_shape))
    arrays: dict[str, Chunks] = {"images": (shape, chunks)}
    if labels is not None:
        arrays["labels"] = (labels.shape, [labels])
    return name, arrays


def _slices(count: int, factors: Sequence[int]) -> Iterator[slice]:
    """Return slices of `count` images whose size in bytes is the product of `factors`."""
    size = max(1, CHUNK_BYTES // max(1, prod(factors)))
    return (slice(start, start + size) for start in range(0, count, size))
