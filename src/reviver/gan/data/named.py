"""Data sets by name: the relatives of MNIST, read from files, which torchvision fetches if it is installed.

They lie where torchvision puts them, such as ROOT/FashionMNIST/raw/train-images-idx3-ubyte, with or without .gz. ROOT is
`$REVIVER_DATA`, else the folder `data` of the cache.

Shapes: N images, H = W = 28; pixels are bytes.
"""

import contextlib
import importlib
import logging
import os
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from reviver.cache import cache_folder
from reviver.errors import DataError
from reviver.io.idx import labels_beside, read_idx_images
from reviver.io.npz import damaged

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataSet:
    """Where a data set comes from and how its files are to be read.

    Attributes:
        torchvision: what torchvision calls its class, and its folder.
        source: the page that offers its files.
        train, test: how the names of the files of each part begin.
        settings: what torchvision's class is told.
        is_transposed: whether rows and columns of the images are exchanged in the files.
        first_label: the least label in the files.
    """

    torchvision: str
    source: str
    train: str = "train"
    test: str = "t10k"
    settings: Mapping[str, str] = field(default_factory=dict)
    is_transposed: bool = False
    first_label: int = 0


def _emnist(split: str, first_label: int = 0) -> DataSet:
    source = "https://www.nist.gov/itl/products-and-services/emnist-dataset"
    names = f"emnist-{split}-train", f"emnist-{split}-test"
    return DataSet("EMNIST", source, *names, {"split": split}, is_transposed=True, first_label=first_label)


DATA_SETS = MappingProxyType(
    {
        "fashion-mnist": DataSet("FashionMNIST", "https://github.com/zalandoresearch/fashion-mnist"),
        "kmnist": DataSet("KMNIST", "https://github.com/rois-codh/kmnist"),
        "emnist-balanced": _emnist("balanced"),
        "emnist-digits": _emnist("digits"),
        "emnist-letters": _emnist("letters", first_label=1),
    }
)
"""Xiao, Rasul & Vollgraf 2017; Clanuwat et al. 2018; Cohen et al. 2017."""


def data_folder() -> Path:
    """Return the folder that data sets are kept in."""
    return Path(os.environ.get("REVIVER_DATA") or cache_folder() / "data")


def read_data_set(name: str, part: str = "train") -> tuple[Tensor, Tensor]:
    """Read the `train` or the `test` images [N, H, W] of a data set, upright, and their classes [N] int64 from 0.

    Raises:
        DataError: if its files are neither there nor can be fetched, or are damaged.
    """
    data_set = DATA_SETS[name]
    prefix = data_set.train if part == "train" else data_set.test
    path = _find(data_set, prefix) or _fetch(name, data_set, prefix)
    images, labels = read_idx_images(path)
    assert labels is not None, "_find looks for them"
    if len(labels) and int(labels.min()) < data_set.first_label:
        raise damaged(labels_beside(path), f"it has the label {int(labels.min())}, below {data_set.first_label}")
    return images.transpose(1, 2) if data_set.is_transposed else images, labels - data_set.first_label


def _raw_folder(data_set: DataSet) -> Path:
    return data_folder() / data_set.torchvision / "raw"


def _find(data_set: DataSet, prefix: str) -> Path | None:
    """The file of images that has one of labels beside it."""
    names = (f"{prefix}-images-idx3-ubyte{ending}" for ending in ("", ".gz"))
    paths = (_raw_folder(data_set) / name for name in names)
    return next((path for path in paths if path.exists() and labels_beside(path).exists()), None)


def _fetch(name: str, data_set: DataSet, prefix: str) -> Path:
    """Let torchvision fetch and check the files of a data set; returns that of the images."""
    _log.info("fetching %s into %s", name, _raw_folder(data_set))
    try:
        datasets = importlib.import_module("torchvision.datasets")
        with contextlib.redirect_stdout(sys.stderr):
            getattr(datasets, data_set.torchvision)(data_folder(), download=True, **data_set.settings)
        found, reason = _find(data_set, prefix), "torchvision fetched other files"
    except Exception as error:  # whatever network, archives or an unfitting torchvision make it stumble over
        found, reason = None, textwrap.shorten(str(error), 100)
    if found is None:
        raise DataError(
            f"data: {name} is not in {_raw_folder(data_set)} and cannot be fetched ({reason}); put "
            f"{data_set.train}-images-idx3-ubyte.gz, {data_set.test}-images-idx3-ubyte.gz and their labels from "
            f"{data_set.source} there, or pip install 'reviver[datasets]' and be online"
        )
    return found
