"""Networks as the explorer embeds them: BatchNorm folded into the weights, and the weights rounded.

Shapes: N batch, I inputs, O outputs of a layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.explorer.blocks import Blocks, Encoded, encode_f16, encode_f32
from reviver.explorer.manifest import Activation, LayerSpec, Rounding, TensorBlock
from reviver.gan.networks import NEGATIVE_SLOPE

ACTIVATIONS: Mapping[type[nn.Module], Activation] = {nn.LeakyReLU: "leaky-relu", nn.ReLU: "relu", nn.Tanh: "tanh"}


@dataclass(frozen=True)
class FoldedLayer:
    """A linear layer or a convolution with its BatchNorm, as one affine map in float64, and its activation."""

    weight: Tensor
    """[O, I], or [O, I, 3, 3] of a convolution."""
    bias: Tensor
    activation: Activation

    @property
    def is_convolution(self) -> bool:
        """Whether the layer is a convolution; max pooling follows it."""
        return self.weight.dim() == 4

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the layer to x, [N, I] or [N, I, H, W], in the dtype of the weights."""
        if self.is_convolution:
            x = functional.conv2d(x, self.weight, self.bias, padding=1)
        else:
            x = functional.linear(x.flatten(1), self.weight, self.bias)
        if self.activation == "leaky-relu":
            x = functional.leaky_relu(x, NEGATIVE_SLOPE)
        elif self.activation != "none":
            x = torch.relu(x) if self.activation == "relu" else torch.tanh(x)
        return functional.max_pool2d(x, 2) if self.is_convolution else x


def fold(modules: Sequence[nn.Module]) -> list[FoldedLayer]:
    """Return layers in eval mode as affine maps: y = γ (W x + b - μ) / √(σ² + ε) + β is one with W' and b'."""
    layers: list[FoldedLayer] = []
    for module in modules:
        tensors = {name: tensor.detach().cpu().double() for name, tensor in module.state_dict().items()}
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight = tensors["weight"]
            layers.append(FoldedLayer(weight, tensors.get("bias", torch.zeros(len(weight)).double()), "none"))
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            layer = layers[-1]
            factor = tensors["weight"] / torch.sqrt(tensors["running_var"] + module.eps)  # [O]
            weight = layer.weight * factor.view(-1, *[1] * (layer.weight.dim() - 1))
            bias = (layer.bias - tensors["running_mean"]) * factor + tensors["bias"]
            layers[-1] = FoldedLayer(weight, bias, layer.activation)
        elif type(module) in ACTIVATIONS:
            layers[-1] = FoldedLayer(layers[-1].weight, layers[-1].bias, ACTIVATIONS[type(module)])
        else:
            assert isinstance(module, nn.MaxPool2d | nn.Flatten | nn.Sigmoid), f"{module} has no form in the explorer"
    return layers


def embed(
    blocks: Blocks, name: str, layers: Sequence[FoldedLayer]
) -> tuple[TensorBlock, list[LayerSpec], list[FoldedLayer]]:
    """Add weights to the block `name`, matrices in half precision; return where, the layers, and the rounded layers."""
    tensors: dict[str, Encoded] = {}
    specs, rounded_layers = [], []
    for index, layer in enumerate(layers):
        weight, bias = f"W{index}", f"b{index}"
        tensors[weight], rounded = encode_f16(layer.weight)
        tensors[bias] = encode_f32(layer.bias)
        specs.append(LayerSpec(weight=weight, bias=bias, activation=layer.activation))
        rounded_layers.append(FoldedLayer(rounded, layer.bias.float().double(), layer.activation))
    return blocks.add_tensors(name, tensors), specs, rounded_layers


def shorten(values: Tensor, bits: int) -> Tensor:
    """Return numbers with so many significant bits, which deflate better."""
    mantissas, exponents = torch.frexp(values)
    return torch.ldexp((mantissas * 2**bits).round(), exponents - bits)


def evaluate(layers: Sequence[FoldedLayer], x: Tensor) -> Tensor:
    """Return the outputs of a network for x in float64, which the page is tested against."""
    x = x.double()
    for layer in layers:
        x = layer(x)
    return x


def rounding_of(network: str, unit: str, rounded: Tensor, exact: Tensor) -> Rounding:
    """Return the absolute differences between the outputs of the embedded, rounded network and the trained one."""
    errors = (rounded - exact.double()).abs()
    return Rounding(
        network=network, unit=unit, max=_round_up(float(errors.max())), mean=_round_up(float(errors.mean()))
    )


def _round_up(value: float) -> float:
    """Round up in the third digit, so that what the page states is never too good."""
    return float(Context(prec=3, rounding=ROUND_CEILING).create_decimal_from_float(value))
