"""Reader of untrusted IDX files, the format of MNIST: a header, then images or labels as bytes.

The size in the header is checked against the file before memory is allocated.

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

from reviver.files.file_errors import damaged_data_file
from reviver.files.npz import DEFLATE_MAX_RATIO, MAX_ARRAY_BYTES
from reviver.files.read import open_file

IDX_IMAGES, IDX_LABELS = 0x803, 0x801
"""Magic numbers: unsigned bytes in three dimensions, and in one."""


def read_idx_images(path: Path) -> tuple[Tensor, Tensor | None]:
    """Return the images [N, H, W] uint8 of an IDX file, and the labels [N] int64 of the file beside it, if it exists.

    Raises:
        DataError: if a file is damaged, or the number of labels is not N.
    """
    images = read_idx(path, IDX_IMAGES)
    beside = labels_path(path)
    if not beside.exists():
        return images, None
    labels = read_idx(beside, IDX_LABELS).long()
    if len(labels) != len(images):
        raise damaged_data_file(beside, f"it has {len(labels)} labels for {len(images)} images")
    return images, labels


def labels_path(path: Path) -> Path:
    """Return the path of the labels of an IDX file of images: both lie in the same folder, perhaps one of them compressed."""
    labels = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    other = labels.with_suffix("") if labels.suffix == ".gz" else labels.with_name(f"{labels.name}.gz")
    return other if other.exists() and not labels.exists() else labels


def read_idx(path: Path, magic: int) -> Tensor:
    """Return the bytes of an IDX file, gzip-compressed or not, as a uint8 tensor of the shape in its header.

    The last byte of the `magic` number that it must have, such as `IDX_IMAGES`, is the number of dimensions.

    Raises:
        DataError: if the magic number differs, or the data does not have the size in the header.
    """
    header_size = 4 * (1 + (magic & 0xFF))
    try:
        with open_file(path) as file:
            file_size = file.seek(0, 2)
            file.seek(0)
            is_gzip = file.peek(2)[:2] == b"\x1f\x8b"
            content = gzip.GzipFile(fileobj=file) if is_gzip else file
            header = content.read(header_size)
            if len(header) < header_size:
                raise damaged_data_file(path, "its header is cut off")
            found, *shape = struct.unpack(f">{header_size // 4}I", header)
            size = prod(shape)
            if found != magic:
                raise damaged_data_file(path, f"its magic number is {found:#x} instead of {magic:#x}")
            if size > file_size * DEFLATE_MAX_RATIO:
                raise damaged_data_file(path, f"its header claims {size} bytes, more than the file can hold")
            if size > MAX_ARRAY_BYTES:
                raise damaged_data_file(path, f"its header claims {size} bytes, the limit is {MAX_ARRAY_BYTES}")
            data = content.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged_data_file(path, f"it cannot be read ({error})") from error
    if len(data) != size:
        held = "more" if len(data) > size else len(data)
        raise damaged_data_file(path, f"its header claims {size} bytes and it holds {held}")
    return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())
