"""IDX files, and MNIST, which comes with the package as four of them.

Shapes: N images, H height, W width; pixels are bytes.

Files are not trusted: sizes are compared with the file before memory is taken.
"""

import gzip
import struct
import zlib
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import IO, NamedTuple, cast

import torch
from torch import Tensor

from reviver.npz import DEFLATE_MAX_RATIO, damaged

IDX_IMAGES, IDX_LABELS = 0x803, 0x801


class Digits(NamedTuple):
    """Images of handwritten digits and what they show."""

    images: Tensor
    """[N, 28, 28] uint8."""
    labels: Tensor
    """The digits, [N] int64."""


def read_mnist(part: str = "train") -> Digits:
    """MNIST from the package (LeCun & Cortes): 60 000 `train` or 10 000 `test` images with labels."""
    folder = Path(str(files("reviver") / "data" / "mnist"))
    prefix = "train" if part == "train" else "t10k"
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", IDX_IMAGES)
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", IDX_LABELS)
    return Digits(images, labels.long())


def read_idx(path: Path, magic: int) -> Tensor:
    """Read an IDX file, gzip-compressed or not: bytes of the shape that its header gives.

    Raises:
        DataError: if the header is not that of `magic`, or the data is shorter or longer than it says.
    """
    dimensions = magic & 0xFF
    try:
        file_size = path.stat().st_size
        with _open_maybe_gzip(path) as file:
            header = file.read(4 * (1 + dimensions))
            if len(header) < 4 * (1 + dimensions):
                raise damaged(path, "its header is cut off")
            found, *shape = struct.unpack(f">{1 + dimensions}I", header)
            if found != magic:
                raise damaged(path, f"its magic number is {found:#x} where {magic:#x} is due")
            size = prod(shape)
            if size > file_size * DEFLATE_MAX_RATIO:
                raise damaged(path, f"its header claims {size} bytes, more than the file can hold")
            data = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, f"it cannot be read ({error})") from error
    if len(data) != size:
        raise damaged(path, f"its header claims {size} bytes and it holds {'more' if len(data) > size else len(data)}")
    return (
        torch.frombuffer(bytearray(data), dtype=torch.uint8).view(shape)
        if size
        else torch.zeros(shape, dtype=torch.uint8)
    )


def _open_maybe_gzip(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path)) if is_gzip else path.open("rb")
