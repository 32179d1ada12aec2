"""Image sets, read into one tensor: MNIST that comes with the package, IDX files, image folders, NumPy files.

Shapes: N images, C channels (1 grey, 3 colour), H height, W width; pixels are bytes.

Files are not trusted: sizes are compared with the file before memory is taken, and nothing is unpickled.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from reviver.errors import DataError
from reviver.mnist import IDX_IMAGES, IDX_LABELS, read_idx, read_mnist
from reviver.npz import damaged, npz_names, read_npy, read_npz

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
RESIZE_CHUNK = 4096

Result = TypeVar("Result")


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


def load_images(source: str, size: int = 28) -> ImageSet:
    """Read an image set for training: `mnist`, or a path. Images become squares of `size` pixels.

    Raises:
        DataError: if there is nothing there, or it is damaged or of an unknown kind.
    """
    if source == "mnist":
        return _fit(load_mnist("train"), size)
    path = Path(source)
    if path.is_dir():
        idx = _find_idx(path)
        return _fit(_read_idx_folder(path, idx) if idx is not None else _read_image_folder(path, size), size)
    if not path.exists():
        raise DataError(
            f"data: {source} does not exist; give mnist, an IDX folder, an image folder, an .npz or an .npy"
        )
    if path.suffix in (".npz", ".npy"):
        return _fit(_read_arrays(path), size)
    raise DataError(
        f"data: {source} is of an unknown kind; give mnist, an IDX folder, an image folder, an .npz or an .npy"
    )


def load_test_images(source: str, size: int = 28) -> ImageSet:
    """Read the test images that belong to `mnist` or to an IDX folder: `t10k-images-idx3-ubyte` and their labels.

    Raises:
        DataError: if there are none.
    """
    if source == "mnist":
        return _fit(load_mnist("test"), size)
    idx = next(iter(sorted(Path(source).glob("t10k*images*idx3-ubyte*"))), None)
    if idx is None:
        raise DataError(
            f"data: {source} has no test images to compare with; put t10k-images-idx3-ubyte into an IDX folder"
        )
    return _fit(_read_idx_folder(Path(source), idx), size)


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


def _find_idx(folder: Path) -> Path | None:
    """The IDX images of a folder: the training images if there are any, else the first file of that kind."""
    names = sorted(folder.glob("*images*idx3-ubyte*"))
    return next((path for path in names if path.name.startswith("train")), names[0] if names else None)


def _read_idx_folder(folder: Path, images_path: Path) -> ImageSet:
    images = read_idx(images_path, IDX_IMAGES)
    labels_path = images_path.with_name(images_path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels = read_idx(labels_path, IDX_LABELS).long() if labels_path.exists() else None
    if labels is not None and len(labels) != len(images):
        raise damaged(labels_path, f"it has {len(labels)} labels for {len(images)} images")
    return ImageSet(images.unsqueeze(1), labels, folder.name)


def read_images(paths: Sequence[Path], image_shape: Sequence[int]) -> Tensor:
    """Read image files as bytes [N, C, H, W] of `image_shape` (C, H, W): squared, resized, grey or in colour.

    Raises:
        DataError: if one is missing or damaged.
    """
    channels, height, _ = image_shape
    return _read_squares(paths, height, "L" if channels == 1 else "RGB")


def _read_image_folder(folder: Path, size: int) -> ImageSet:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())
    if not paths:
        raise DataError(
            f"data: {folder} holds no IDX files and no images ({', '.join(IMAGE_ENDINGS)}); put images into it"
        )
    modes = [_read_image(path, lambda image: image.mode) for path in paths]
    mode = "L" if all(one in GREY_MODES for one in modes) else "RGB"
    return ImageSet(_read_squares(paths, size, mode), None, folder.name)


def _read_squares(paths: Sequence[Path], size: int, mode: str) -> Tensor:
    channels = 1 if mode == "L" else 3
    pixels = np.empty((len(paths), size, size, channels), dtype=np.uint8)

    def squared(image: Image.Image) -> Image.Image:
        upright = ImageOps.exif_transpose(image)
        eight_bit = _scale_16_bit(upright) if upright.mode.startswith("I") else upright
        return ImageOps.fit(eight_bit.convert(mode), (size, size), Image.Resampling.LANCZOS)

    for index, path in enumerate(paths):
        pixels[index] = np.asarray(_read_image(path, squared)).reshape(size, size, channels)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _read_image(path: Path, use: Callable[[Image.Image], Result]) -> Result:
    """Open an image and return what `use` makes of it; the pixels are read only if they are used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return use(image)
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them stumble over
        raise damaged(path, f"it cannot be read ({error})") from error


def _scale_16_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))


def _read_arrays(path: Path) -> ImageSet:
    array = _read_npz_images(path) if path.suffix == ".npz" else read_npy(path)
    return ImageSet(_as_images(path, array), None, path.stem)


def _read_npz_images(path: Path) -> np.ndarray[Any, Any]:
    """The array called `images` of an .npz, or its only array."""
    names = npz_names(path)
    if "images" not in names and len(names) != 1:
        raise damaged(path, f"it has the arrays {', '.join(names) or 'none'}; call the one to use images")
    return read_npz(path, "images" if "images" in names else names[0])


def _as_images(path: Path, array: np.ndarray[Any, Any]) -> Tensor:
    """Bring an array of images into the shape [N, C, H, W] and into bytes."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise damaged(
            path,
            f"an array of shape {list(array.shape)} is not images; give [N, H, W], [N, C, H, W] or [N, H, W, C] with C 1 or 3",
        )
    if array.dtype == np.uint8:
        return torch.from_numpy(np.array(array, order="C"))  # a copy that may be written to
    if array.size and array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if 0 <= low <= high <= 1:
            return to_pixels(torch.from_numpy(array.astype(np.float32)) * 2 - 1)
        if -1 <= low <= high <= 1:
            return to_pixels(torch.from_numpy(array.astype(np.float32)))
        raise damaged(
            path, f"its numbers go from {low:g} to {high:g}; give bytes 0 ... 255, or floats in [0, 1] or [-1, 1]"
        )
    raise damaged(
        path,
        f"an array of {array.size} {array.dtype} is not images; give bytes 0 ... 255, or floats in [0, 1] or [-1, 1]",
    )


def _fit(data: ImageSet, size: int) -> ImageSet:
    """Cut each image to its middle square and resize it to `size`; at least two images must be there."""
    images = data.images
    if len(images) < 2 or 0 in images.shape:
        raise DataError(
            f"data: {data.name} holds {len(images)} images of {list(images.shape[1:])}; at least 2 are needed"
        )
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, :, top : top + side, left : left + side]
    if side != size:
        images = torch.cat([_resize(chunk, size) for chunk in images.split(RESIZE_CHUNK)])
    return ImageSet(images.contiguous(), data.labels, data.name)


def _resize(images: Tensor, size: int) -> Tensor:
    resized = functional.interpolate(images.float(), (size, size), mode="bicubic", antialias=True, align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8)
