"""Networks as the explorer embeds them: BatchNorm folded into the weights, and the weights rounded.

Shapes: N batch, I inputs, O outputs of a layer.
"""

import copy
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Context
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from reviver.explorer.blocks import Blocks, encode_weights
from reviver.explorer.manifest import Activation, LayerSpec, Rounding, TensorBlock

ACTIVATIONS: Mapping[type[nn.Module], Activation] = {nn.LeakyReLU: "leaky-relu", nn.ReLU: "relu", nn.Tanh: "tanh"}


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


def shorten(values: Tensor, bits: int) -> Tensor:
    """Return numbers with so many significant bits, which deflate better."""
    mantissas, exponents = torch.frexp(values)
    return torch.ldexp((mantissas * 2**bits).round(), exponents - bits)


def rounding_of(network: str, unit: str, rounded: Tensor, exact: Tensor) -> Rounding:
    """Return the absolute differences between the outputs of the embedded, rounded network and the trained one."""
    errors = (rounded - exact.double()).abs()
    context = Context(prec=3, rounding=ROUND_CEILING)  # what the page states is never too good
    largest, mean = (float(context.create_decimal_from_float(float(value))) for value in (errors.max(), errors.mean()))
    return Rounding(network=network, unit=unit, max=largest, mean=mean)
