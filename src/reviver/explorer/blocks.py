"""Data blocks of the explorer: tensors as deflated bytes in script elements that no browser runs.

A block is zlib-deflated and written in base64. `web/src/data/` reads it.
"""

import base64
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reviver.explorer.manifest import TensorBlock, TensorSpec

LEVEL, MEMORY_LEVEL = 9, 9
"""Of zlib: the smallest file."""
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
"""Of zlib, the smaller result counts. Trained weights repeat nothing, so that Huffman codes alone are 1 to 5 % smaller."""
ALIGNMENT = 4
"""Bytes. Each tensor begins at a multiple, so that single-precision numbers can be read in place."""


Encoded = tuple[TensorSpec, bytes]
"""A tensor as `Blocks.add_tensors` takes it, which sets the offset."""


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
        for key, (spec, content) in tensors.items():
            data += bytes(-len(data) % ALIGNMENT)
            specs[key] = spec.model_copy(update={"offset": len(data)})
            data += content
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
    return TensorSpec(dtype="u8", offset=0, shape=array.shape), array.tobytes()


def encode_f32(values: Tensor) -> Encoded:
    """Encode single-precision numbers."""
    array = values.detach().cpu().numpy().astype("<f4")
    return TensorSpec(dtype="f32", offset=0, shape=array.shape), array.tobytes()


def encode_weights(weights: Mapping[str, Tensor]) -> tuple[dict[str, Encoded], dict[str, Tensor]]:
    """Encode weights by name, matrices in half precision; return them with the float64 values that a reader gets.

    A power of two scales the largest to [0.5, 1), so that none overflows. Two planes of bytes deflate better than pairs.
    """
    encoded, rounded = dict[str, Encoded](), dict[str, Tensor]()
    for name, values in weights.items():
        exact = values.detach().cpu().double()
        if exact.dim() < 2:
            encoded[name], rounded[name] = encode_f32(values), exact.float().double()
            continue
        largest = float(exact.abs().max()) if exact.numel() else 0.0
        scale = 2.0 ** int(np.frexp(largest)[1]) if largest else 1.0
        halves = (exact / scale).numpy().astype("<f2")
        planes = np.frombuffer(halves.tobytes(), dtype=np.uint8).reshape(-1, 2).T
        rounded[name] = torch.from_numpy(halves.astype(np.float64)) * scale
        encoded[name] = TensorSpec(dtype="f16", offset=0, shape=halves.shape, scale=scale), planes.tobytes()
    return encoded, rounded
