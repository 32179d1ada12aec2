"""The MNIST data set (LeCun & Cortes 1998), embedded in the package as four IDX files."""

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from reviver.files.idx import read_idx_images


class Digits(NamedTuple):
    """Images of handwritten digits, [N, 28, 28] uint8, with their labels 0 to 9, [N] int64."""

    images: Tensor
    labels: Tensor


def read_mnist(part: str = "train") -> Digits:
    """Return the 60 000 `train` or the 10 000 `test` images with labels; another part is a KeyError."""
    prefix = {"train": "train", "test": "t10k"}[part]
    path = Path(str(files("reviver") / "data" / "mnist" / f"{prefix}-images-idx3-ubyte.gz"))
    images, labels = read_idx_images(path)
    assert labels is not None
    return Digits(images, labels)
