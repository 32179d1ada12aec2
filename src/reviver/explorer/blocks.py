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

LEVEL, MEMORY_LEVEL = 9, 9
"""Of zlib: the smallest file."""
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
"""Of zlib, the smaller result counts. Trained weights repeat nothing, so that Huffman codes alone are 1 to 5 % smaller."""
ALIGNMENT = 4
"""Bytes. Each tensor begins at a multiple, so that single-precision numbers can be read in place."""


class Encoded(NamedTuple):
    """The bytes of a tensor, and what a reader needs to know, see `TensorSpec`."""

    dtype: Dtype
    shape: tuple[int, ...]
    data: bytes
    scale: float | None = None


class Blocks:
    """The data blocks of a page, by name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, name: str, data: bytes) -> None:
        """Add a block with these bytes."""
        assert name not in self.texts, f"block {name} is there already"
        self.texts[name] = base64.b64encode(deflate(data)).decode("ascii")

    def add_tensors(self, name: str, tensors: Mapping[str, Encoded]) -> TensorBlock:
        """Add a block with tensors, and return where they are."""
        data, specs = bytearray(), {}
        for key, tensor in tensors.items():
            data += bytes(-len(data) % ALIGNMENT)
            specs[key] = TensorSpec(dtype=tensor.dtype, offset=len(data), shape=tensor.shape, scale=tensor.scale)
            data += tensor.data
        self.add(name, bytes(data))
        return TensorBlock(block=name, tensors=specs)


def deflate(data: bytes) -> bytes:
    """Return data in the format of zlib, which browsers call deflate."""

    def compress(strategy: int) -> bytes:
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, MEMORY_LEVEL, strategy)
        return compressor.compress(data) + compressor.flush()

    return min(map(compress, STRATEGIES), key=len)


def encode_u8(values: Tensor | NDArray[np.uint8]) -> Encoded:
    """Encode bytes, such as pixels."""
    array = np.asarray(values, dtype=np.uint8)
    return Encoded("u8", array.shape, array.tobytes())


def encode_f32(values: Tensor) -> Encoded:
    """Encode single-precision numbers."""
    array = values.detach().cpu().numpy().astype("<f4")
    return Encoded("f32", array.shape, array.tobytes())


def encode_f16(values: Tensor) -> tuple[Encoded, Tensor]:
    """Encode numbers in half precision; return them with the float64 values that a reader gets.

    A power of two scales the largest to [0.5, 1), so that none overflows. Two planes of bytes deflate better than pairs.
    """
    exact = values.detach().cpu().double()
    largest = float(exact.abs().max()) if exact.numel() else 0.0
    scale = 2.0 ** int(np.frexp(largest)[1]) if largest else 1.0
    halves = (exact / scale).numpy().astype("<f2")
    planes = np.frombuffer(halves.tobytes(), dtype=np.uint8).reshape(-1, 2).T
    rounded = torch.from_numpy(halves.astype(np.float64)) * scale
    return Encoded("f16", halves.shape, planes.tobytes(), scale=scale), rounded
