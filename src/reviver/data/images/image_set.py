"""Image sets, each read into one tensor: by name, from IDX files, image folders or NumPy files.

Shapes: N images, C channels (1 gray, 3 color), H height, W width; pixels are bytes.
"""

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reviver.data.images.image_files import find_image_files, printable, read_images
from reviver.data.images.named import DATA_SETS, MNIST_30K, read_data_set, read_idx_images, read_mnist, read_small_mnist
from reviver.errors import DataError
from reviver.files.file_errors import damaged_data_file, reading
from reviver.files.read import map_array, open_arrays

IDX_FILES = "*images*idx3-ubyte*"
MAX_LABEL = 2**16 - 1
CHUNK_BYTES = 1 << 25
"""Size of the images that are resized at a time, which bounds the memory."""
NAMES = ("mnist", *DATA_SETS, MNIST_30K)
"""Names of data sets, which come before files of these names."""
SOURCES = f"{', '.join(NAMES)}, an IDX folder, an image folder, an .npz, an .npy, or a folder with x.npy"
LABELED_SOURCES = (
    "give an IDX folder with labels, an image folder with a folder per class, an .npz with labels, or a name"
)


@dataclass(frozen=True)
class ImageSet:
    """Images in memory, or mapped from the `x.npy` of a folder."""

    images: Tensor
    """Bytes [N, C, H, W]. Of mapped images, a part is read when it is used; they must not be written to."""
    labels: Tensor | None
    """Classes [N] int64, or None."""
    name: str
    is_mapped: bool = False

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the images' bytes, by which a run detects changed data."""
        return hashlib.sha256(self.images.contiguous().numpy().data).hexdigest()

    def read(self, batches: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
        """Yield the images of each batch of indices [n] int64: bytes [n, C, H, W] on `device`.

        Images in memory are moved there once, mapped images batch by batch.
        """
        pixels = self.images if self.is_mapped else self.images.to(device)
        return (pixels[indices.to(pixels.device)].to(device) for indices in batches)


TEST_SOURCES = "t10k-images-idx3-ubyte in an IDX folder, folders train and test, test_images in an .npz, or x_test.npy beside x.npy"


def load_images(source: str, image_size: int = 28, split: str = "train") -> ImageSet:
    """Read the images of a source; each is cropped to its middle square and resized to `image_size` pixels.

    The source is `mnist`, another name of DATA_SETS, or the path of an IDX folder, an image folder, an .npz, an .npy, or
    a folder with x.npy, which is mapped and must have the size. The images of the split `test` are
    `t10k-images-idx3-ubyte` in an IDX folder, the folder `test` beside `train` in an image folder, the arrays `test_images`
    and `test_labels` of an .npz, or `x_test.npy` and `y_test.npy` of a folder.

    Raises:
        DataError: if the source does not exist, is damaged or of an unknown kind, or holds fewer than two images.
    """
    path = Path(source)
    if source in NAMES:
        readers = {"mnist": read_mnist, MNIST_30K: read_small_mnist}
        images, labels = readers[source](split) if source in readers else read_data_set(source, split)
        return _from_array(source, images.numpy()[:, None], labels, image_size)
    if (path / "x.npy").is_file():
        found = _map_folder(path, image_size, split)
    elif path.is_dir():
        found = (_find_idx if any(path.glob(IDX_FILES)) else _find_folder)(path, image_size, split)
    elif path.suffix.lower() in (".npz", ".npy") and path.is_file():
        found = _find_arrays(path, image_size, split)
    else:
        problem = "is of an unknown kind" if path.exists() else "does not exist"
        raise DataError(f"data: {source} {problem}; give {SOURCES}")
    if found is None:
        raise DataError(f"data: {source} has no test images to compare with; give {TEST_SOURCES}")
    return found


def to_pixels(images: Tensor) -> Tensor:
    """Convert images in [-1, 1] to bytes of the same shape; values beyond the range are clipped."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def from_pixels(pixels: Tensor) -> Tensor:
    """Convert bytes to float32 images in [-1, 1] of the same shape."""
    return pixels.float() / 127.5 - 1


def _from_array(
    name: str, array: np.ndarray[Any, Any], labels: Tensor | None, size: int, values: tuple[float, float] | None = None
) -> ImageSet:
    """Return images [N, C, H, W] that are bytes, or floats from the smallest to the largest of `values`."""
    _check_count(name, array.shape)
    images = torch.empty((*array.shape[:2], size, size), dtype=torch.uint8)
    rows = max(1, CHUNK_BYTES // (prod(array.shape[1:]) * array.itemsize))
    for start in range(0, len(array), rows):
        part = slice(start, start + rows)
        images[part] = _crop_and_resize(_convert_pixels(array[part], values), size)
    return ImageSet(images, labels, name)


def _map_folder(folder: Path, size: int, split: str) -> ImageSet | None:
    """Map the bytes [N, H, W] or [N, C, H, W] in x.npy and read the labels [N] in y.npy, or in x_test.npy and y_test.npy."""
    path, labels_path = (folder / f"{name}{'' if split == 'train' else '_test'}.npy" for name in "xy")
    if not path.exists():
        return None
    images = map_array(path)
    images = images[:, None] if images.ndim == 3 else images
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[1] not in (1, 3)
        or images.shape[2:] != (size, size)
    ):
        problem = f"it holds {images.dtype} of shape {list(images.shape)}"
        remedy = f"save bytes [N, {size}, {size}] or [N, C, {size}, {size}] with C 1 or 3, or give another --image-size"
        raise damaged_data_file(path, problem, remedy)
    _check_count(str(path), images.shape)
    labels = None
    if labels_path.exists():
        found = map_array(labels_path)
        _check_labels(labels_path, "labels", found, len(images))
        labels = torch.from_numpy(found.astype(np.int64))
    with warnings.catch_warnings(action="ignore"):  # of an array that must not be written to
        return ImageSet(torch.from_numpy(images), labels, printable(folder.absolute().name), is_mapped=True)


def _find_idx(folder: Path, size: int, split: str) -> ImageSet | None:
    """Return the IDX images of a split; if no name has `train`, the first file has the training images."""
    paths = sorted(folder.glob(IDX_FILES))
    words = ("train",) if split == "train" else ("t10k", "test")  # those of EMNIST have its name before
    found = [path for path in paths if any(word in path.name for word in words)]
    if not found and split == "test":
        return None
    images, labels = read_idx_images((found or paths)[0])
    return _from_array(printable(folder.absolute().name), images.numpy()[:, None], labels, size)


def _find_folder(folder: Path, size: int, split: str) -> ImageSet | None:
    files = find_image_files(folder, split)
    if files is None:
        return None
    paths, channels, labels = files
    shape = (len(paths), channels, size, size)
    _check_count(str(folder), shape)
    return ImageSet(read_images(paths, shape[1:]), labels, printable(folder.absolute().name))


def _find_arrays(path: Path, size: int, split: str) -> ImageSet | None:
    """Return the array of an .npy, or of an .npz `images` (or its only array) and `labels`, or those with `test_`."""
    images_name, labels_name = ("images", "labels") if split == "train" else ("test_images", "test_labels")
    with reading(path), ExitStack() as stack:
        if path.suffix.lower() == ".npz":
            arrays = stack.enter_context(open_arrays(path))
        else:
            arrays = {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
        names = list(arrays)
        if split == "test" and images_name not in names:
            return None
        if images_name not in names and len(names) != 1:
            raise damaged_data_file(path, f"it has the arrays {', '.join(names) or 'none'}; call the one to use images")
        array = arrays[images_name if images_name in names else names[0]]
        array_labels = arrays[labels_name] if labels_name in names else None
        train = arrays["images"] if split == "test" and "images" in names else None
    images = _arrange_channels(path, array)
    values = _pixel_range(path, images)
    if train is not None and values is not None and values[0] >= 0:
        values = _pixel_range(path, train) or values  # bright test images of a set in [-1, 1]
    labels = None
    if array_labels is not None:
        _check_labels(path, labels_name, array_labels, len(images))
        labels = torch.from_numpy(array_labels.astype(np.int64))
    return _from_array(path.stem, images, labels, size, values)


def _check_labels(path: Path, name: str, found: np.ndarray[Any, Any], count: int) -> None:
    """Raise `DataError` unless the labels of `count` images are integers up to `MAX_LABEL`, one per image."""
    is_integers = found.shape == (count,) and found.dtype.kind in "iu"
    if not is_integers or not ((found >= 0) & (found <= MAX_LABEL)).all():
        problem = f"its {name} must be {count} integers from 0 to {MAX_LABEL}, one per image"
        raise damaged_data_file(path, f"{problem}, got {found.dtype} of shape {list(found.shape)}")


def _arrange_channels(path: Path, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a view [N, C, H, W] of the array [N, H, W], [N, C, H, W] or [N, H, W, C] of a file; refuse other shapes."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        allowed = "give [N, H, W], [N, C, H, W] or [N, H, W, C] with C 1 or 3"
        raise damaged_data_file(path, f"an array of shape {list(array.shape)} is not images; {allowed}")
    return array


def _pixel_range(path: Path, array: np.ndarray[Any, Any]) -> tuple[float, float] | None:
    """Return the smallest and the largest of floats, which must lie in [-1, 1]; None for bytes; refuse other arrays."""
    if array.dtype == np.uint8:
        return None
    problem = f"an array of {array.size} {array.dtype} is not images"
    if array.size and array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if -1 <= low <= high <= 1:
            return low, high
        problem = f"its numbers go from {low:g} to {high:g}"
    raise damaged_data_file(path, f"{problem}; give bytes 0 ... 255, or floats in [0, 1] or [-1, 1]")


def _convert_pixels(array: np.ndarray[Any, Any], values: tuple[float, float] | None) -> Tensor:
    """Return bytes of the same shape, of bytes or of floats with the `_pixel_range` of all images."""
    if values is None:
        return torch.from_numpy(np.array(array, order="C"))  # a copy, because the array may be read-only
    images = torch.from_numpy(array.astype(np.float32))
    return to_pixels(images * 2 - 1 if values[0] >= 0 else images)


def _check_count(name: str, shape: tuple[int, ...]) -> None:
    """Raise `DataError` unless there are at least two images, and none of them is empty."""
    if shape[0] < 2 or 0 in shape:
        raise DataError(f"data: {name} holds {shape[0]} images of {list(shape[1:])}; give at least 2")


def _crop_and_resize(images: Tensor, size: int) -> Tensor:
    """Crop each image [N, C, H, W] to its middle square and resize it to `size` pixels."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, :, top : top + side, left : left + side]
    if side == size:
        return images
    resized = functional.interpolate(images.float(), (size, size), mode="bicubic", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)
