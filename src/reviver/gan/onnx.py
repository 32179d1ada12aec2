"""ONNX graph of the generator.

Shapes: N images, Z noise size, C channels, H height, W width, K classes.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from reviver.files.onnx_graph import Graph, Port
from reviver.gan.custom_networks import refuse_custom
from reviver.gan.networks import Generator


@torch.no_grad()
def build_graph(generator: Generator, opset: int | None = None) -> Graph:
    """Return the graph of a generator in eval mode, with a dynamic batch.

    Inputs: `z` [batch, Z] float32, noise from N(0, I); with a conditional generator also `classes` [batch] int64.
    Output: `images` [batch, C, H, W] in [-1, 1]. Raises `ConfigError` as `Graph` for the `opset`.
    """
    refuse_custom(generator)
    graph = Graph(opset)
    x = graph.input(Port("z", "float32", ("batch", generator.noise_size), "Noise, independent samples from N(0, 1)"))
    if generator.num_classes:
        last = generator.num_classes - 1
        classes = graph.input(Port("classes", "int64", ("batch",), f"Class of each image, from 0 to {last}"))
        one_hot = graph.constant(np.eye(generator.num_classes, dtype=np.float32))
        x = graph.add("Concat", x, graph.add("Gather", one_hot, classes, axis=0), axis=1)
    for index, layer in enumerate(generator.layers):
        name = f"layer_{index}"
        match layer:
            case nn.Linear():
                weights: list[Any] = [layer.weight, layer.bias]
                x = graph.add("Gemm", x, *map(graph.constant, weights), name=name, transB=1)
            case nn.BatchNorm1d():
                weights = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
                x = graph.add("BatchNormalization", x, *map(graph.constant, weights), name=name, epsilon=layer.eps)
            case nn.LeakyReLU():
                x = graph.add("LeakyRelu", x, name=name, alpha=layer.negative_slope)
            case nn.Tanh():
                x = graph.add("Tanh", x, name=name)
    x = graph.add("Reshape", x, graph.integers(-1, *generator.image_shape))
    graph.output(
        x, Port("images", "float32", ("batch", *generator.image_shape), "Pixels, from -1 (black) to 1 (white)")
    )
    return graph
