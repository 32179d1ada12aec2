"""Image files and image folders, read by Pillow: cropped to a square, resized, in gray or color.

Shapes: N images, C channels (1 gray, 3 color), H height, W width; pixels are bytes.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from reviver.errors import DataError, needing_train
from reviver.files.file_errors import reading

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""Formats that are read, whatever a file is called. Pillow has more, and starts other programs for some of them."""
GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
"""Pillow's modes without color."""

OTHER_SPLITS = {"dev", "eval", "val", "valid", "validation"}
"""Names of folders that hold the test images of others."""

Result = TypeVar("Result")


def read_images(paths: Sequence[Path], image_shape: Sequence[int]) -> Tensor:
    """Read image files, crop each to its middle square and resize it: bytes [N, C, H, W], gray if C is 1, else in color.

    `image_shape` is (C, H, W), of which H and W are equal. A damaged file is a DataError.
    """
    from PIL import Image, ImageOps

    channels, size, _ = image_shape
    pixels = np.empty((len(paths), size, size, channels), dtype=np.uint8)

    def crop_and_resize(image: "Image.Image") -> "Image.Image":
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "F":
            values = np.asarray(upright)
            if not (values.min() >= 0 and values.max() <= 255):  # or NaN
                problem = f"its numbers go from {values.min():g} to {values.max():g}"
                raise ValueError(f"{problem}; give floats from 0 to 1 or from 0 to 255, or integers of 8 or 16 bits")
            upright = Image.fromarray((values * (255 if values.max() <= 1 else 1)).round().astype(np.uint8))
        elif upright.mode.startswith("I"):  # 16 bits
            upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
        return ImageOps.fit(upright.convert("L" if channels == 1 else "RGB"), (size, size), Image.Resampling.LANCZOS)

    for index, path in enumerate(paths):
        pixels[index] = np.asarray(_read_image(path, crop_and_resize)).reshape(size, size, channels)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def find_image_files(folder: Path, split: str) -> tuple[list[Path], int, Tensor | None] | None:
    """Return the image files of a folder, at any depth, C (1 if all training images are gray), and the labels [N] int64, or None.

    A folder with the subfolders `train` and `test` has both splits; otherwise all images are training images, and there is
    nothing to return for `test`. Each subfolder of a split is a class, numbered in the order of their names in the training
    split; there are labels if there are at least two and every image lies in one.

    Raises:
        DataError: if there are no images in the split, the test images are in a folder of another name such as `val`, a
            training image is damaged, or a test image has a class that the training images lack.
    """
    has_splits = _has_splits(folder)
    if split == "test" and not has_splits:
        return None
    train_root, root = (folder / "train", folder / split) if has_splits else (folder, folder)
    train_paths, paths = _find_images(train_root), _find_images(root)
    if not paths:
        suffixes = ", ".join(IMAGE_SUFFIXES)
        raise DataError(f"data: {root} holds no IDX files and no images; put some into it ({suffixes})")
    modes = [_read_image(path, lambda image: image.mode) for path in train_paths]
    channels = 1 if all(mode in GRAY_MODES for mode in modes) else 3
    classes = sorted(set(_class_names(train_paths, train_root)))
    if len(classes) < 2 or "" in classes:
        return paths, channels, None
    names = _class_names(paths, root)
    if unknown := sorted(set(names) - set(classes)):
        raise DataError(f"data: {root} has the class {unknown[0]!r}, which the training images lack; take it out")
    indices = {name: index for index, name in enumerate(classes)}
    return paths, channels, torch.tensor([indices[name] for name in names])


def class_folders(folder: Path) -> list[str]:
    """Return the names of the classes of an image folder, in the order of their numbers."""
    root = folder / "train" if _has_splits(folder) else folder
    names = sorted({*_class_names(_find_images(root), root)} - {""}) if folder.is_dir() else []
    return list(map(printable, names))


def printable(name: str) -> str:
    """Return the name of a file or folder with escapes for what is not UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def _has_splits(folder: Path) -> bool:
    """Return whether a folder has the splits `train` and `test`; raise DataError if it has others, which are no classes."""
    names = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    if "train" in names and "test" not in names and (others := sorted(names & OTHER_SPLITS)):
        raise DataError(
            f"data: {folder} has the folders train and {others[0]}; call the images to compare with test, as in "
            f"mv {folder / others[0]} {folder / 'test'}, or give {folder / 'train'} to do without"
        )
    return names >= {"train", "test"}


def _find_images(folder: Path) -> list[Path]:
    """Return the images in a folder, without hidden files and folders, such as those of macOS and Jupyter."""
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    return sorted(path for path in paths if not any(part[0] == "." for part in path.relative_to(folder).parts))


def _class_names(paths: Sequence[Path], root: Path) -> list[str]:
    """Return the subfolder of `root` that each file lies in; empty for files in `root` itself."""
    return ["".join(path.relative_to(root).parts[:-1][:1]) for path in paths]


def _read_image(path: Path, convert: "Callable[[Image.Image], Result]") -> Result:
    """Open an image and return the result of `convert`; Pillow decodes the pixels only if `convert` uses them."""
    with needing_train("reading images"):
        from PIL import Image, UnidentifiedImageError
    with reading(path), warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(path, formats=FORMATS) as image:
                return convert(image)
        except UnidentifiedImageError as error:  # its text has the path once more
            raise ValueError(f"it is none of {', '.join(FORMATS)}, or its header is damaged") from error
