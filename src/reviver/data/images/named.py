"""IDX files, and data sets by name that consist of them: MNIST, which is embedded in the package, and its relatives.

torchvision downloads the relatives if it is installed. Their files lie where it puts them, such as
ROOT/FashionMNIST/raw/train-images-idx3-ubyte, with or without .gz. ROOT is `$REVIVER_DATA`, or else the folder `data` of
the cache.

Shapes: N images, H height, W width, 28 of the data sets; pixels are bytes.
"""

import contextlib
import gzip
import importlib
import logging
import os
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reviver.errors import DataError
from reviver.files.cache import cache_folder
from reviver.files.file_errors import damaged_data_file, reading
from reviver.text import one_line

_log = logging.getLogger(__name__)


IDX_IMAGES, IDX_LABELS = 0x803, 0x801
"""Magic numbers of IDX files: unsigned bytes in three dimensions, and in one."""


def _read_idx(path: Path, magic: int) -> Tensor:
    """Return the bytes of an IDX file, gzip-compressed or not, as a uint8 tensor; the last byte of `magic` is its dimensions."""
    with reading(path):
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        dimensions = magic & 0xFF
        found, *shape = struct.unpack_from(f">{1 + dimensions}I", content)
        if found != magic:
            raise ValueError(f"its magic number is {found:#x} instead of {magic:#x}")
        return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy())


def read_idx_images(path: Path) -> tuple[Tensor, Tensor | None]:
    """Return the images [N, H, W] uint8 of an IDX file, and the labels [N] int64 of the file beside it, if it exists."""
    images = _read_idx(path, IDX_IMAGES)
    beside = labels_path(path)
    if not beside.exists():
        return images, None
    labels = _read_idx(beside, IDX_LABELS).long()
    if len(labels) != len(images):
        raise damaged_data_file(beside, f"it has {len(labels)} labels for {len(images)} images")
    return images, labels


def labels_path(path: Path) -> Path:
    """Return the path of the labels of an IDX file of images: both lie in the same folder, perhaps one of them compressed."""
    labels = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    other = labels.with_suffix("") if labels.suffix == ".gz" else labels.with_name(f"{labels.name}.gz")
    return other if other.exists() and not labels.exists() else labels


class Digits(NamedTuple):
    """Images of handwritten digits of MNIST (LeCun & Cortes 1998), [N, 28, 28] uint8, with their labels 0 to 9, [N] int64."""

    images: Tensor
    labels: Tensor


def read_mnist(part: str = "train") -> Digits:
    """Return the 60 000 `train` or the 10 000 `test` images with labels; another part is a KeyError."""
    prefix = {"train": "train", "test": "t10k"}[part]
    path = Path(str(files("reviver") / "data" / "mnist" / f"{prefix}-images-idx3-ubyte.gz"))
    images, labels = read_idx_images(path)
    assert labels is not None
    return Digits(images, labels)


MNIST_30K = "mnist-30k"
"""The first 30 000 training images of MNIST in four gray levels, on which the explorer's page trains; a fourth of their bytes
hold them, and no extractor sees much of a difference. The test images are MNIST's."""
GRAY_STEP = 85
"""From one of the four gray levels to the next."""


def read_small_mnist(part: str = "train") -> Digits:
    """Return the images of `MNIST_30K`, see `read_mnist`."""
    images, labels = read_mnist(part)
    if part == "test":
        return Digits(images, labels)
    nearest = (images[:30_000].short() + GRAY_STEP // 2) // GRAY_STEP * GRAY_STEP
    return Digits(nearest.to(images.dtype), labels[:30_000])


@dataclass(frozen=True)
class NamedDataSet:
    """Source and file format of a data set."""

    torchvision: str
    """Name of torchvision's class, and of its folder."""
    source: str
    train: str = "train"
    """Prefix of the file names of the training split."""
    test: str = "t10k"
    arguments: Mapping[str, str] = field(default_factory=dict)
    is_transposed: bool = False
    """Whether the files exchange rows and columns of the images."""
    first_label: int = 0


def _emnist(split: str, first_label: int = 0) -> NamedDataSet:
    source = "https://www.nist.gov/itl/products-and-services/emnist-dataset"
    train, test = f"emnist-{split}-train", f"emnist-{split}-test"
    return NamedDataSet("EMNIST", source, train, test, {"split": split}, is_transposed=True, first_label=first_label)


DATA_SETS = MappingProxyType(
    {
        "fashion-mnist": NamedDataSet("FashionMNIST", "https://github.com/zalandoresearch/fashion-mnist"),
        "kmnist": NamedDataSet("KMNIST", "https://github.com/rois-codh/kmnist"),
        "emnist-balanced": _emnist("balanced"),
        "emnist-digits": _emnist("digits"),
        "emnist-letters": _emnist("letters", first_label=1),
    }
)
"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), KMNIST (Clanuwat et al. 2018), EMNIST (Cohen et al. 2017)."""


def data_folder() -> Path:
    """Return the folder of the data sets: `$REVIVER_DATA`, or else `data` in the cache folder."""
    return Path(os.environ.get("REVIVER_DATA") or cache_folder() / "data")


def is_present(name: str) -> bool:
    """Return whether the files of a data set, a key of DATA_SETS, are there, so that `read_data_set` downloads nothing."""
    data_set = DATA_SETS[name]
    return all(_find(data_set, prefix) is not None for prefix in (data_set.train, data_set.test))


def read_data_set(name: str, split: str) -> tuple[Tensor, Tensor]:
    """Return upright images [N, H, W] uint8 of a split, `train` or `test`, and classes [N] int64, numbered from 0.

    Files that are missing are downloaded, which may be a DataError.
    """
    data_set = DATA_SETS[name]
    prefix = data_set.train if split == "train" else data_set.test
    path = _find(data_set, prefix) or _download(name, data_set, prefix)
    images, labels = read_idx_images(path)
    assert labels is not None, "_find returns only images with labels beside them"
    return images.transpose(1, 2) if data_set.is_transposed else images, labels - data_set.first_label


def _raw_folder(data_set: NamedDataSet) -> Path:
    return data_folder() / data_set.torchvision / "raw"


def _find(data_set: NamedDataSet, prefix: str) -> Path | None:
    """Return the file of images that has a file of labels beside it, or None."""
    names = (f"{prefix}-images-idx3-ubyte{suffix}" for suffix in ("", ".gz"))
    paths = (_raw_folder(data_set) / name for name in names)
    return next((path for path in paths if path.exists() and labels_path(path).exists()), None)


def _download(name: str, data_set: NamedDataSet, prefix: str) -> Path:
    """Download a data set with torchvision, which verifies the files; return the path of the images."""
    _log.info("downloading %s into %s", name, _raw_folder(data_set))
    try:
        datasets = importlib.import_module("torchvision.datasets")
        with contextlib.redirect_stdout(sys.stderr):
            getattr(datasets, data_set.torchvision)(data_folder(), download=True, **data_set.arguments)
        found, reason = _find(data_set, prefix), "torchvision downloaded other files"
    except Exception as error:  # the network, an archive or another torchvision may raise errors of any type
        found, reason = None, one_line(error, 100)
    if found is None:
        raise DataError(
            f"data: {name} is not in {_raw_folder(data_set)} and cannot be downloaded ({reason}); put "
            f"{data_set.train}-images-idx3-ubyte.gz, {data_set.test}-images-idx3-ubyte.gz and their labels from "
            f"{data_set.source} there, or be online with torchvision (without a GPU: "
            "pip install torchvision --index-url https://download.pytorch.org/whl/cpu)"
        )
    return found
