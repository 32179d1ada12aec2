"""Image sets, each read into one tensor: by name, from IDX files, image folders or NumPy files.

Shapes: N images, C channels (1 gray, 3 color), H height, W width; pixels are bytes.

Files are untrusted: claimed sizes are checked against the file before memory is allocated, and nothing is unpickled.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reviver.data.images.image_files import read_image_folder
from reviver.data.images.mnist import read_mnist
from reviver.data.images.named import DATA_SETS, read_data_set
from reviver.data.images.resize import check_count, crop_and_resize
from reviver.data.packed.folder import REMEDY, is_packed, map_array, open_packed
from reviver.data.packed.order import equal_blocks
from reviver.errors import ConfigError, DataError
from reviver.files.errors import damaged_data_file
from reviver.files.idx import read_idx_images
from reviver.files.npz import npz_names, read_npy, read_npz

MAX_LABEL = 2**16 - 1

SOURCES = f"mnist, {', '.join(DATA_SETS)}, an IDX folder, an image folder, an .npz or an .npy"
"""Sources of images, for messages."""
LABELED_SOURCES = (
    "give an IDX folder with labels, an image folder with a folder per class, an .npz with labels, or a name"
)
"""Sources of images with labels, for messages."""


@dataclass(frozen=True)
class ImageSet:
    """Images in memory, or mapped from a packed folder.

    Attributes:
        images: Bytes [N, C, H, W]. Of packed images, a part is read when it is used; they must not be written to.
        labels: Classes [N] int64, or None.
        name: Name of the data set, file or folder.
        packed_sha256: SHA-256 of packed images; None for images in memory.
    """

    images: Tensor
    labels: Tensor | None
    name: str
    packed_sha256: str | None = None

    def __len__(self) -> int:
        """Return N."""
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def sha256(self) -> str:
        """SHA-256 of the images' bytes; a run records it to detect changed data. That of packed images is recorded."""
        return self.packed_sha256 or hashlib.sha256(self.images.contiguous().numpy().data).hexdigest()

    @property
    def block_edges(self) -> Tensor:
        """First image of each block of `BLOCK_BYTES`, and N, see `packed.order`."""
        return equal_blocks(len(self), prod(self.image_shape))

    def read(self, batches: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """Yield the images of each batch, bytes [n, C, H, W] on `device`.

        Args:
            batches: Indices of the images of each batch, [n] int64.
            device: Device of the result. Images in memory are moved there once, packed images batch by batch.
        """
        pixels = self.images.to(device) if self.packed_sha256 is None else self.images
        return (pixels[indices.to(pixels.device)].to(device) for indices in batches)


def load_images(source: str, image_size: int = 28) -> ImageSet:
    """Read the training images of a source.

    Args:
        source: `mnist`, another name of DATA_SETS, or the path of an IDX folder, an image folder, an .npz, an .npy, or a
            packed folder, whose images are mapped and must have the size.
        image_size: Height and width, pixels. Each image is cropped to its middle square and resized.

    Raises:
        DataError: if the source does not exist, is damaged or of an unknown kind, or holds fewer than two images.
    """
    return _load(source, image_size, "train")


def load_test_images(source: str, image_size: int = 28) -> ImageSet:
    """Read the test images that belong to the training images of `load_images`.

    They are `t10k-images-idx3-ubyte` in an IDX folder, the folder `test` beside `train` in an image folder, or the
    arrays `test_images` and `test_labels` of an .npz.

    Args:
        source: The same as for `load_images`.
        image_size: Height and width, pixels.

    Raises:
        DataError: if there are no test images, or as for `load_images`.
    """
    return _load(source, image_size, "test")


def load_mnist(split: str = "train") -> ImageSet:
    """Return MNIST from the package (LeCun & Cortes): 60 000 `train` or 10 000 `test` images with labels."""
    digits = read_mnist(split)
    return ImageSet(digits.images.unsqueeze(1), digits.labels, "mnist")


def to_pixels(images: Tensor) -> Tensor:
    """Convert images in [-1, 1] to bytes of the same shape; values beyond the range are clipped."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def from_pixels(pixels: Tensor) -> Tensor:
    """Convert bytes to float32 images in [-1, 1] of the same shape."""
    return pixels.float() / 127.5 - 1


def _load(source: str, image_size: int, split: str) -> ImageSet:
    path = Path(source)
    if source != "mnist" and source not in DATA_SETS and is_packed(path):
        return _map_packed(path, image_size, split)
    if source == "mnist":
        data = load_mnist(split)
    elif source in DATA_SETS:
        images, labels = read_data_set(source, split)
        data = ImageSet(images.unsqueeze(1), labels, source)
    elif path.is_dir():
        found = _read_idx_folder(path, split)
        data = ImageSet(*read_image_folder(path, image_size, split), path.name) if found is None else found
    elif path.suffix in (".npz", ".npy") and path.exists():
        data = _read_arrays(path, split)
    else:
        problem = "is of an unknown kind" if path.exists() else "does not exist"
        raise DataError(f"data: {source} {problem}; give {SOURCES}")
    check_count(data.name, data.images.shape)
    return replace(data, images=crop_and_resize(data.images, image_size))


def _map_packed(path: Path, image_size: int, split: str) -> ImageSet:
    """Map the images of a packed folder, and load their labels."""
    record = open_packed(path, "images")
    name, labels_name = ("images", "labels") if split == "train" else ("test_images", "test_labels")
    if split == "test" and name not in record.arrays:
        raise DataError(f"data: {path} has no test images to compare with; pack a source that has them")
    images = map_array(path, record, name)
    check_count(str(path), images.shape)
    height, width = images.shape[2:]
    if (height, width) != (image_size, image_size):
        raise ConfigError(
            f"image_size must be {height} for {path}, which was packed with images of {height} x {width}, got "
            f"{image_size}; or pack it again with that size",
            field="image_size",
        )
    labels = map_array(path, record, labels_name) if labels_name in record.arrays else None
    if labels is not None and (len(labels) != len(images) or not 0 <= labels.min() <= labels.max() <= MAX_LABEL):
        problem = f"its labels must be {len(images)} integers from 0 to {MAX_LABEL}, one per image"
        raise damaged_data_file(path / f"{labels_name}.npy", problem, REMEDY)
    return ImageSet(images, labels, record.name, record.arrays[name].sha256)


def _read_idx_folder(folder: Path, split: str) -> ImageSet | None:
    """Return the IDX images of a folder, or None if it has none; files of any name count as training images."""
    paths = sorted(folder.glob("*images*idx3-ubyte*"))
    if not paths:
        return None
    prefix = "train" if split == "train" else "t10k"
    found = [path for path in paths if path.name.startswith(prefix)]
    if not found and split == "test":
        raise DataError(f"data: {folder} has no test images to compare with; put t10k-images-idx3-ubyte into it")
    images, labels = read_idx_images((found or paths)[0])
    return ImageSet(images.unsqueeze(1), labels, folder.name)


def _read_arrays(path: Path, split: str) -> ImageSet:
    """Return the array of an .npy, or arrays of an .npz.

    Of an .npz they are `images` (or its only array) and `labels`, or `test_images` and `test_labels`.
    """
    names = npz_names(path) if path.suffix == ".npz" else [""]
    images_name, labels_name = ("images", "labels") if split == "train" else ("test_images", "test_labels")
    if split == "test" and images_name not in names:
        raise DataError(f"data: {path} has no test images to compare with; put test_images, test_labels into an .npz")
    if images_name not in names and len(names) != 1:
        raise damaged_data_file(path, f"it has the arrays {', '.join(names) or 'none'}; call the one to use images")
    if path.suffix == ".npy":
        return ImageSet(_to_images(path, read_npy(path)), None, path.stem)
    images = _to_images(path, read_npz(path, images_name if images_name in names else names[0]))
    labels = _read_labels(path, labels_name, len(images)) if labels_name in names else None
    return ImageSet(images, labels, path.stem)


def _read_labels(path: Path, name: str, num_images: int) -> Tensor:
    array = read_npz(path, name)
    is_integers = array.shape == (num_images,) and array.dtype.kind in "iu"
    if not is_integers or (num_images and not 0 <= int(array.min()) <= int(array.max()) <= MAX_LABEL):
        problem = f"its {name} must be {num_images} integers from 0 to {MAX_LABEL}, one per image"
        raise damaged_data_file(path, f"{problem}, got {array.dtype} of shape {list(array.shape)}")
    return torch.from_numpy(array.astype(np.int64))


def _to_images(path: Path, array: np.ndarray[Any, Any]) -> Tensor:
    """Convert an array of images to bytes [N, C, H, W]."""
    images = arrange_channels(path, array)
    return convert_pixels(images, pixel_range(path, images))


def arrange_channels(path: Path, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a view [N, C, H, W] of the array [N, H, W], [N, C, H, W] or [N, H, W, C] of a file.

    Raises:
        DataError: if it has another shape.
    """
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        allowed = "give [N, H, W], [N, C, H, W] or [N, H, W, C] with C 1 or 3"
        raise damaged_data_file(path, f"an array of shape {list(array.shape)} is not images; {allowed}")
    return array


def pixel_range(path: Path, array: np.ndarray[Any, Any]) -> tuple[float, float] | None:
    """Return the smallest and the largest number of images that are floats; None for bytes.

    Raises:
        DataError: if the array is neither bytes nor floats in [-1, 1].
    """
    if array.dtype == np.uint8:
        return None
    problem = f"an array of {array.size} {array.dtype} is not images"
    if array.size and array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if -1 <= low <= high <= 1:
            return low, high
        problem = f"its numbers go from {low:g} to {high:g}"
    raise damaged_data_file(path, f"{problem}; give bytes 0 ... 255, or floats in [0, 1] or [-1, 1]")


def convert_pixels(array: np.ndarray[Any, Any], number_range: tuple[float, float] | None) -> Tensor:
    """Return bytes of the same shape, of bytes or of floats with the `pixel_range` of all images."""
    if number_range is None:
        return torch.from_numpy(np.array(array, order="C"))  # a copy, because the array may be read-only
    images = torch.from_numpy(array.astype(np.float32))
    return to_pixels(images * 2 - 1 if number_range[0] >= 0 else images)
