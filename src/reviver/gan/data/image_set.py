"""Image sets, read into one tensor: by name, from IDX files, image folders, NumPy files.

Shapes: N images, C channels (1 grey, 3 colour), H height, W width; pixels are bytes.

Files are not trusted: sizes are compared with the file before memory is taken, and nothing is unpickled.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reviver.errors import DataError
from reviver.gan.data.image_files import read_image_folder
from reviver.gan.data.named import DATA_SETS, read_data_set
from reviver.io.idx import read_idx_images
from reviver.io.npz import damaged, npz_names, read_npy, read_npz
from reviver.mnist import read_mnist

RESIZE_CHUNK = 4096
MAX_LABEL = 2**16 - 1

SOURCES = f"mnist, {', '.join(DATA_SETS)}, an IDX folder, an image folder, an .npz or an .npy"
LABELLED = "give an IDX folder with labels, an image folder with a folder a class, an .npz with labels, or a name"
"""What images with labels can be."""


@dataclass(frozen=True)
class ImageSet:
    """Images [N, C, H, W] as bytes, their labels [N] if they have any, and what they are called."""

    images: Tensor
    labels: Tensor | None
    name: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def sha256(self) -> str:
        """Of the images' bytes, by which a run knows them again."""
        return hashlib.sha256(self.images.contiguous().numpy().data).hexdigest()


def load_images(source: str, size: int = 28) -> ImageSet:
    """Read an image set for training: `mnist`, another name, or a path. Images become squares of `size` pixels.

    Raises:
        DataError: if there is nothing there, or it is damaged or of an unknown kind.
    """
    return _load(source, size, "train")


def load_test_images(source: str, size: int = 28) -> ImageSet:
    """Read the test images that belong to the training images of `load_images`.

    They are `t10k-images-idx3-ubyte` in an IDX folder, the folder `test` beside `train` of an image folder, or the arrays
    `test_images` and `test_labels` of an .npz.

    Raises:
        DataError: if there are none.
    """
    return _load(source, size, "test")


def _load(source: str, size: int, part: str) -> ImageSet:
    path = Path(source)
    if source == "mnist":
        data = load_mnist(part)
    elif source in DATA_SETS:
        images, labels = read_data_set(source, part)
        data = ImageSet(images.unsqueeze(1), labels, source)
    elif path.is_dir():
        data = _read_idx_folder(path, part) or ImageSet(*read_image_folder(path, size, part), path.name)
    elif path.suffix in (".npz", ".npy") and path.exists():
        data = _read_arrays(path, part)
    else:
        problem = "is of an unknown kind" if path.exists() else "does not exist"
        raise DataError(f"data: {source} {problem}; give {SOURCES}")
    return _fit(data, size)


def load_mnist(part: str = "train") -> ImageSet:
    """MNIST from the package (LeCun & Cortes): 60 000 `train` or 10 000 `test` images with labels."""
    digits = read_mnist(part)
    return ImageSet(digits.images.unsqueeze(1), digits.labels, "mnist")


def to_pixels(images: Tensor) -> Tensor:
    """Turn images in [-1, 1] into bytes."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def from_pixels(pixels: Tensor) -> Tensor:
    """Turn bytes into images in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def _read_idx_folder(folder: Path, part: str) -> ImageSet | None:
    """The IDX images of a folder, None if it has none: those of `part`, or those of any other name for training."""
    names = sorted(folder.glob("*images*idx3-ubyte*"))
    if not names:
        return None
    found = [path for path in names if path.name.startswith("train" if part == "train" else "t10k")]
    if not found and part == "test":
        raise DataError(f"data: {folder} has no test images to compare with; put t10k-images-idx3-ubyte into it")
    images, labels = read_idx_images((found or names)[0])
    return ImageSet(images.unsqueeze(1), labels, folder.name)


def _read_arrays(path: Path, part: str) -> ImageSet:
    """The array of an .npy or, of an .npz, `images` or its only array and `labels`, or `test_images` and `test_labels`."""
    names = npz_names(path) if path.suffix == ".npz" else [""]
    images_name, labels_name = ("images", "labels") if part == "train" else ("test_images", "test_labels")
    if part == "test" and images_name not in names:
        raise DataError(f"data: {path} has no test images to compare with; put test_images, test_labels into an .npz")
    if images_name not in names and len(names) != 1:
        raise damaged(path, f"it has the arrays {', '.join(names) or 'none'}; call the one to use images")
    if path.suffix == ".npy":
        return ImageSet(_as_images(path, read_npy(path)), None, path.stem)
    images = _as_images(path, read_npz(path, images_name if images_name in names else names[0]))
    labels = _read_labels(path, labels_name, len(images)) if labels_name in names else None
    return ImageSet(images, labels, path.stem)


def _read_labels(path: Path, name: str, count: int) -> Tensor:
    array = read_npz(path, name)
    is_whole = array.shape == (count,) and array.dtype.kind in "iu"
    if not is_whole or (count and not 0 <= int(array.min()) <= int(array.max()) <= MAX_LABEL):
        raise damaged(path, f"its {name} are no classes of its {count} images; give integers from 0, one an image")
    return torch.from_numpy(array.astype(np.int64))


def _as_images(path: Path, array: np.ndarray[Any, Any]) -> Tensor:
    """Bring an array of images into the shape [N, C, H, W] and into bytes."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        wanted = "give [N, H, W], [N, C, H, W] or [N, H, W, C] with C 1 or 3"
        raise damaged(path, f"an array of shape {list(array.shape)} is not images; {wanted}")
    if array.dtype == np.uint8:
        return torch.from_numpy(np.array(array, order="C"))  # a copy that may be written to
    problem = f"an array of {array.size} {array.dtype} is not images"
    if array.size and array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if -1 <= low <= high <= 1:
            images = torch.from_numpy(array.astype(np.float32))
            return to_pixels(images * 2 - 1 if low >= 0 else images)
        problem = f"its numbers go from {low:g} to {high:g}"
    raise damaged(path, f"{problem}; give bytes 0 ... 255, or floats in [0, 1] or [-1, 1]")


def _fit(data: ImageSet, size: int) -> ImageSet:
    """Cut each image to its middle square and resize it to `size`; at least two images must be there."""
    images = data.images
    if len(images) < 2 or 0 in images.shape:
        raise DataError(f"data: {data.name} holds {len(images)} images of {list(images.shape[1:])}; give at least 2")
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, :, top : top + side, left : left + side]
    if side != size:
        images = torch.cat([_resize(chunk, size) for chunk in images.split(RESIZE_CHUNK)])
    return replace(data, images=images.contiguous())


def _resize(images: Tensor, size: int) -> Tensor:
    resized = functional.interpolate(images.float(), (size, size), mode="bicubic", antialias=True, align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8)
