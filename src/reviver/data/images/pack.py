"""Packing of images: `reviver data pack` for everything that `gan train --data` reads."""

import logging
from pathlib import Path

from reviver.data.images.image_files import class_folders
from reviver.data.images.image_set import NAMES, find_source
from reviver.data.packed.arrays import Chunks, refuse_existing, write_packed
from reviver.errors import DataError

_log = logging.getLogger(__name__)


def pack_images(source: str, out: Path, image_size: int = 28, *, progress: bool = False) -> dict[str, list[int]]:
    """Write the images of a source, see `load_images`, with their labels and test images, to a new packed folder.

    An image folder or an .npy is read some images at a time, since it may be larger than the memory. Return the shape of
    each array by name.

    Raises:
        DataError: see `load_images`.
        RunFolderError, Interrupted: see `write_packed`.
    """
    refuse_existing(out)
    name, arrays = _read(source, image_size, "train")
    classes = class_folders(Path(source)) if "labels" in arrays and source not in NAMES else []
    try:
        _, test = _read(source, image_size, "test")
        if test["images"][0][1:] == arrays["images"][0][1:]:
            arrays |= {f"test_{array}": chunks for array, chunks in test.items()}
    except DataError as error:
        _log.info("packing without test images (%s)", error)
    return write_packed(out, "images", name, arrays, classes=classes, progress=progress)


def _read(source: str, image_size: int, split: str) -> tuple[str, dict[str, Chunks]]:
    name, shape, labels, chunks = find_source(source, image_size, split)
    arrays: dict[str, Chunks] = {"images": (shape, chunks)}
    return name, arrays if labels is None else {**arrays, "labels": (labels.shape, [labels])}
