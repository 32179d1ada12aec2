"""Data blocks of the explorer: tensors as deflated bytes in script elements that no browser runs.

A block is zlib-deflated and written in base64. `web/src/data/` reads it.
"""

import base64
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reviver.explorer.manifest import Dtype, TensorBlock, TensorSpec

LEVEL = 9
"""Of zlib: the smallest file."""
ALIGNMENT = 4
"""Bytes. Each tensor begins at a multiple, so that single-precision numbers can be read in place."""


class Encoded(NamedTuple):
    """The bytes of a tensor, and what a reader needs to know.

    Attributes:
        dtype: see `TensorSpec`.
        shape: of the tensor.
        data: its bytes.
        scale: a power of two that all numbers are multiplied by.
        scales: name of the tensor with one scale per row.
    """

    dtype: Dtype
    shape: tuple[int, ...]
    data: bytes
    scale: float | None = None
    scales: str | None = None


class Blocks:
    """The data blocks of a page, by name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, name: str, data: bytes) -> None:
        """Add a block with these bytes."""
        assert name not in self.texts, f"block {name} is there already"
        self.texts[name] = base64.b64encode(zlib.compress(data, LEVEL)).decode("ascii")

    def add_tensors(self, name: str, tensors: Mapping[str, Encoded]) -> TensorBlock:
        """Add a block with tensors, and return where they are."""
        data, specs = bytearray(), {}
        for key, tensor in tensors.items():
            data += bytes(-len(data) % ALIGNMENT)
            specs[key] = TensorSpec(
                dtype=tensor.dtype, offset=len(data), shape=tensor.shape, scale=tensor.scale, scales=tensor.scales
            )
            data += tensor.data
        self.add(name, bytes(data))
        return TensorBlock(block=name, tensors=specs)


def encode_u8(values: Tensor | NDArray[np.uint8]) -> Encoded:
    """Encode bytes, such as pixels."""
    array = np.asarray(values, dtype=np.uint8)
    return Encoded("u8", array.shape, array.tobytes())


def encode_f32(values: Tensor) -> Encoded:
    """Encode single-precision numbers."""
    array = values.detach().cpu().numpy().astype("<f4")
    return Encoded("f32", array.shape, array.tobytes())


def encode_f16(values: Tensor) -> tuple[Encoded, Tensor]:
    """Encode numbers in half precision, as two planes of bytes, which deflate better than pairs.

    A power of two scales the largest number to [0.5, 1), so that none overflows.

    Returns:
        The encoded tensor, and the float64 values that a reader gets.
    """
    exact = values.detach().cpu().double()
    largest = float(exact.abs().max()) if exact.numel() else 0.0
    scale = 2.0 ** int(np.frexp(largest)[1]) if largest else 1.0
    halves = (exact / scale).numpy().astype("<f2")
    planes = np.frombuffer(halves.tobytes(), dtype=np.uint8).reshape(-1, 2).T
    rounded = torch.from_numpy(halves.astype(np.float64)) * scale
    return Encoded("f16", halves.shape, planes.tobytes(), scale=scale), rounded


def encode_i8(values: Tensor, scales: str) -> tuple[Encoded, Encoded, Tensor]:
    """Encode a matrix, or a convolution, in signed bytes with one scale per row.

    Args:
        values: [rows, ...].
        scales: name that the tensor of the scales gets.

    Returns:
        The encoded tensor, the encoded scales [rows], and the float64 values that a reader gets.
    """
    exact = values.detach().cpu().double()
    rows = exact.flatten(1)
    steps = (rows.abs().amax(1) / 127).float()  # [rows], rounded as the reader gets them
    steps = torch.where(steps > 0, steps, torch.ones_like(steps))
    quantized = (rows / steps.double().unsqueeze(1)).round().clamp(-127, 127)
    rounded = (quantized.float() * steps.unsqueeze(1)).double().view_as(exact)  # the reader computes in float32
    data = quantized.to(torch.int8).numpy()
    return Encoded("i8", tuple(exact.shape), data.tobytes(), scales=scales), encode_f32(steps), rounded
