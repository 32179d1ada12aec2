"""Data blocks of the explorer: tensors as deflated bytes in script elements that no browser runs.

A block is zlib-deflated and written in base64. `web/src/data/` reads it. Of networks, BatchNorm is folded into the weights, and
the weights are rounded.
"""

import base64
import copy
import zlib
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Context
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from reviver.explorer.manifest import Activation, LayerSpec, Rounding, TensorBlock, TensorSpec

LEVEL, MEMORY_LEVEL = 9, 9
"""Of zlib: the smallest file."""
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
"""Of zlib, the smaller result counts. Trained weights repeat nothing, so that Huffman codes alone are 1 to 5 % smaller."""
ALIGNMENT = 4
"""Bytes. Each tensor begins at a multiple, so that single-precision numbers can be read in place."""
ACTIVATIONS: Mapping[type[nn.Module], Activation] = {nn.LeakyReLU: "leaky-relu", nn.ReLU: "relu", nn.Tanh: "tanh"}
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


def encode_u2(images: Tensor) -> Encoded:
    """Encode images [N, 1, H, W] of four gray levels, multiples of 85, H and W even; four pixels that touch share a byte."""
    levels = np.asarray(images, dtype=np.uint8)[:, 0] // 85
    parts = [
        levels[:, row::2, column::2] << shift for row, column, shift in ((0, 0, 0), (0, 1, 2), (1, 0, 4), (1, 1, 6))
    ]
    packed = np.bitwise_or.reduce(parts)
    return TensorSpec(dtype="u2", offset=0, shape=images.shape), packed.tobytes()


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


def fold(modules: Iterable[nn.Module]) -> nn.Sequential:
    """Return a copy of a network in eval mode, on the CPU in float64, each BatchNorm as a part of the layer before it."""
    folded = nn.Sequential()
    for module in nn.Sequential(*copy.deepcopy([*modules])).cpu().double().eval().requires_grad_(False):
        if isinstance(module, nn.BatchNorm1d):
            folded[-1] = fuse_linear_bn_eval(folded[-1], module)  # type: ignore[type-var]
        elif isinstance(module, nn.BatchNorm2d):
            folded[-1] = fuse_conv_bn_eval(folded[-1], module)  # type: ignore[type-var]
        else:
            folded.append(module)
    return folded


def embed(blocks: Blocks, name: str, network: nn.Sequential) -> tuple[TensorBlock, list[LayerSpec], nn.Sequential]:
    """Add the weights of a folded network to the block `name`, matrices in half precision.

    Return where, its linear layers and convolutions, and the network with the rounded weights.
    """
    rounded = copy.deepcopy(network)
    weights: dict[str, Tensor] = {}
    specs: list[LayerSpec] = []
    for module, after in zip_longest(list(rounded), list(rounded)[1:]):
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight, bias = f"W{len(specs)}", f"b{len(specs)}"
            weights |= dict(zip((weight, bias), module.parameters(), strict=True))
            specs.append(LayerSpec(weight=weight, bias=bias, activation=ACTIVATIONS.get(type(after), "none")))
    tensors, values = encode_weights(weights)
    for key, parameter in weights.items():
        parameter.copy_(values[key])
    return blocks.add_tensors(name, tensors), specs, rounded


def rounding_of(network: str, unit: str, rounded: Tensor, exact: Tensor) -> Rounding:
    """Return the absolute differences between the outputs of the embedded, rounded network and the trained one."""
    errors = (rounded - exact.double()).abs()
    context = Context(prec=3, rounding=ROUND_CEILING)  # what the page states is never too good
    largest, mean = (float(context.create_decimal_from_float(float(value))) for value in (errors.max(), errors.mean()))
    return Rounding(network=network, unit=unit, max=largest, mean=mean)
