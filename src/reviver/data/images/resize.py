"""Cropping and resizing of images that are bytes.

Shapes: N images, C channels, H height, W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from reviver.errors import DataError

RESIZE_CHUNK = 4096
"""Images that are resized at a time, which bounds the memory."""


def check_count(name: str, shape: Sequence[int]) -> None:
    """Raise `DataError` unless there are at least two images, and none of them is empty."""
    if shape[0] < 2 or 0 in shape:
        raise DataError(f"data: {name} holds {shape[0]} images of {list(shape[1:])}; give at least 2")


def crop_and_resize(images: Tensor, size: int) -> Tensor:
    """Crop each image [N, C, H, W] to its middle square and resize it to `size` pixels."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, :, top : top + side, left : left + side]
    if side != size:
        images = torch.cat([_resize(chunk, size) for chunk in images.split(RESIZE_CHUNK)])
    return images.contiguous()


def _resize(images: Tensor, size: int) -> Tensor:
    resized = functional.interpolate(images.float(), (size, size), mode="bicubic", antialias=True, align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8)
