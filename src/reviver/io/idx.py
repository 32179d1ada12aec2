"""IDX files, the format of MNIST: images and labels as bytes behind a header.

Files are not trusted: sizes are compared with the file before memory is taken.

Shapes: N images, H height, W width.
"""

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reviver.io.files import open_file
from reviver.io.npz import DEFLATE_MAX_RATIO, MAX_ARRAY_BYTES, damaged

IDX_IMAGES, IDX_LABELS = 0x803, 0x801


def read_idx_images(path: Path) -> tuple[Tensor, Tensor | None]:
    """Read an IDX file of images [N, H, W] and, if there is one beside it, that of their labels [N] int64.

    Raises:
        DataError: if one is damaged, or there is another number of labels.
    """
    images = read_idx(path, IDX_IMAGES)
    labels_path = labels_beside(path)
    if not labels_path.exists():
        return images, None
    labels = read_idx(labels_path, IDX_LABELS).long()
    if len(labels) != len(images):
        raise damaged(labels_path, f"it has {len(labels)} labels for {len(images)} images")
    return images, labels


def labels_beside(path: Path) -> Path:
    """What the file of labels is called that belongs to an IDX file of images."""
    return path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))


def read_idx(path: Path, magic: int) -> Tensor:
    """Read an IDX file, gzip-compressed or not: bytes of the shape that its header gives.

    Raises:
        DataError: if the header is not that of `magic`, or the data is shorter or longer than it says.
    """
    dimensions = magic & 0xFF
    try:
        with open_file(path) as file:
            file_size = file.seek(0, 2)
            file.seek(0)
            is_gzip = file.peek(2)[:2] == b"\x1f\x8b"
            unpacked = gzip.GzipFile(fileobj=file) if is_gzip else file
            header = unpacked.read(4 * (1 + dimensions))
            if len(header) < 4 * (1 + dimensions):
                raise damaged(path, "its header is cut off")
            found, *shape = struct.unpack(f">{1 + dimensions}I", header)
            if found != magic:
                raise damaged(path, f"its magic number is {found:#x} where {magic:#x} is due")
            size = prod(shape)
            if size > file_size * DEFLATE_MAX_RATIO:
                raise damaged(path, f"its header claims {size} bytes, more than the file can hold")
            if size > MAX_ARRAY_BYTES:
                raise damaged(path, f"its header claims {size} bytes, more than the {MAX_ARRAY_BYTES} that are read")
            data = unpacked.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, f"it cannot be read ({error})") from error
    if len(data) != size:
        raise damaged(path, f"its header claims {size} bytes and it holds {'more' if len(data) > size else len(data)}")
    return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())
