"""ONNX graphs of sequence classifiers, of whole sequences or of one step with its state.

The graph is built node by node, from the same parameters as the equations. An export by tracing would need a
`torch.nn.LSTM` in between, and its nodes would depend on the version of torch.

Shapes: B batch, T time, I input size, H hidden size, D directions (1 or 2), k steps of a patch, C classes.
"""

import numpy as np
import torch
from torch import Tensor

from reviver.data.sequences.standardization import Standardization
from reviver.files.onnx_graph import Graph, Port
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.emit import layer_cells
from reviver.recurrent.onnx_layers import Batch, add_cell, add_layers
from reviver.settings.tasks import TargetKind
from reviver.settings.validation import refuse

WHOLE = -1
"""Length that stands for all T steps: the default of the input `lengths`."""
INPUT = "Sequences, padded at the end to the longest"


@torch.no_grad()
def build_graph(
    network: RecurrentClassifier,
    opset: int | None = None,
    *,
    target: TargetKind = "class",
    standardization: Standardization | None = None,
    description: str = INPUT,
) -> Graph:
    """Return the graph of a classifier in eval mode; for the `opset` see `Graph`.

    Inputs: `x` [batch, time, I] float32, raw numbers with a `standardization`, and `lengths` [batch] int64, which may be left
    out if all sequences have T steps. Outputs: `logits` and `probabilities`, [batch, C], or [batch, time, C] for classes at
    every step; or `value` [batch] for a number. Batch and time are dynamic.

    Raises:
        ConfigError: if the graph cannot compute the same as the network, see `check_exportable`, or see `Graph`.
    """
    check_exportable(network)
    graph = Graph(opset)
    channels = network.input_size
    x = graph.input(Port("x", "float32", ("batch", "time", channels), description))
    lengths = graph.input(
        Port("lengths", "int64", ("batch",), "Steps of each sequence; all, if this input is left out"),
        default=np.array([WHOLE], np.int64),
    )
    if standardization is not None:
        x = standardize(graph, x, standardization)
    batch = _enter(graph, x, lengths, channels, network.patch_size)
    output, last = add_layers(graph, network.recurrent, batch)
    if target == "class at every step":
        masked = graph.add("Where", batch.inside, output, graph.constant(np.float32(0).reshape(1)))
        pooled = graph.add("Transpose", masked, perm=[1, 0, 2])  # [B, T, D·H]
    elif network.pooling != "last":
        pooled = _pool(graph, network, output, batch)
    else:
        pooled = last
    logits = linear(graph, pooled, network.W_out, network.b_out)
    add_outputs(graph, logits, target, len(network.W_out))
    return graph


@torch.no_grad()
def step_graph(
    network: RecurrentClassifier,
    opset: int | None = None,
    *,
    target: TargetKind = "class",
    standardization: Standardization | None = None,
    description: str = "",
) -> Graph:
    """Return the graph of one step of a classifier in eval mode, with its state as inputs and outputs.

    Inputs: `x` [batch, I], or a patch of k steps [batch, k·I]; each state of each layer, `h0` [batch, H] and so on; with pooling
    also `steps` [batch, 1] and `sum` or `highest` [batch, H], for attention `total` and `score` [batch, 1]. All are 0 before the first
    step. Outputs: those of `build_graph` for the sequence so far, and each state after the step, `h0_after` and so on.

    Raises:
        ConfigError: if the network cannot run step by step, or the graph cannot compute the same, see `check_exportable`.
    """
    check_exportable(network)
    cell, layers = layer_cells(network)
    graph, H, k = Graph(opset), network.recurrent.hidden_size, network.patch_size
    output = graph.input(Port("x", "float32", ("batch", k * network.input_size), description))
    if standardization is not None:
        tiled = standardization.model_copy(
            update={name: getattr(standardization, name) * k for name in ("mean", "scale")}
        )
        output = standardize(graph, output, tiled)
    after: dict[str, str] = {}

    def state(name: str, size: int) -> str:
        return graph.input(Port(name, "float32", ("batch", size), "Before the step; 0 at first"))

    for at, weights in enumerate(layers):
        before = {name: state(f"{name}{at}", H) for name in cell.states}
        values = add_cell(graph, graph, cell, weights, H, output, before, f"cell{at}_")
        after |= {f"{name}{at}": values[cell.quantities[name].node] for name in cell.states}
        output = after[f"h{at}"]
    if network.pooling != "last":
        steps = state("steps", 1)
        after["steps"] = count = graph.add("Add", steps, graph.constant(np.ones((1, 1), np.float32)))
        is_first = graph.add("Equal", steps, graph.constant(np.zeros((1, 1), np.float32)))
    if network.pooling == "max":
        highest = state("highest", H)
        after["highest"] = output = graph.add("Where", is_first, output, graph.add("Max", highest, output))
    elif network.pooling == "mean":
        after["sum"] = graph.add("Add", state("sum", H), output)
        output = graph.add("Div", after["sum"], count)
    elif network.pooling == "attention":
        hidden = graph.add("Tanh", linear(graph, output, network.W_att, network.b_att))
        score, before_score = graph.add("MatMul", hidden, graph.constant(network.u_att.unsqueeze(1))), state("score", 1)
        after["score"] = best = graph.add("Where", is_first, score, graph.add("Max", score, before_score))
        fade, weight = (graph.add("Exp", graph.add("Sub", one, best)) for one in (before_score, score))
        for name, size, value in (("total", 1, weight), ("sum", H, graph.add("Mul", weight, output))):
            kept = graph.add(
                "Where", is_first, value, graph.add("Add", graph.add("Mul", state(name, size), fade), value)
            )
            after[name] = kept
        output = graph.add("Div", after["sum"], after["total"])
    add_outputs(
        graph, linear(graph, output, network.W_out, network.b_out), target, len(network.W_out), every_step=False
    )
    sizes = {port.name: port.shape for port in graph.inputs}
    for name, value in after.items():
        graph.output(value, Port(f"{name}_after", "float32", sizes[name], "After the step"))
    return graph


def check_exportable(network: RecurrentClassifier) -> None:
    """Raise ConfigError unless standard nodes compute the same as `network` in eval mode."""
    options = network.recurrent.options
    if options.hidden_dropout_kind == "zoneout" and options.hidden_dropout > 0.0:
        problem = "got 'zoneout', which mixes h_t with h_(t-1) in eval mode, too, as no LSTM node does"
        refuse("hidden_dropout_kind", f"must be step or variational for ONNX, {problem}; train without zoneout")
    if options.precision != "fp32":
        refuse(
            "precision",
            f"must be fp32 for ONNX, got {options.precision!r}, whose rounding no node has; train with fp32",
        )


def standardize(graph: Graph, x: str, standardization: Standardization) -> str:
    """Return raw numbers [..., I] standardized."""
    mean = np.array(standardization.mean)
    # In two parts, a mean that is large beside the scale keeps its digits without float64, which many runtimes lack.
    rounded = mean.astype(np.float32)
    x = graph.add("Sub", x, graph.constant(rounded))
    x = graph.add("Sub", x, graph.constant((mean - rounded).astype(np.float32)))
    return graph.add("Div", x, graph.constant(np.array(standardization.scale, np.float32)))


def _enter(graph: Graph, x: str, lengths: str, channels: int, patch_size: int) -> Batch:
    """Return x [B, T, I] and its lengths as the batch of the first layer, in patches of k steps."""
    size = graph.add("Shape", x)
    zero, one = graph.integers(0), graph.integers(1)
    batch, steps = (graph.add("Gather", size, index, axis=0) for index in (zero, one))  # [1] each
    is_whole = graph.add("Less", lengths, zero)
    lengths = graph.add("Expand", graph.add("Where", is_whole, steps, lengths), batch)  # [B]
    if patch_size > 1:
        x = graph.add("Transpose", x, perm=[1, 0, 2])  # [T, B, I]
        x = graph.add("Where", _inside(graph, lengths, steps), x, graph.constant(np.zeros(1, np.float32)))
        k, rest = graph.integers(patch_size), graph.integers(patch_size - 1)
        x = graph.add("Pad", graph.add("Transpose", x, perm=[1, 0, 2]), graph.integers(0, 0, 0, 0, patch_size - 1, 0))
        lengths = graph.add("Div", graph.add("Add", lengths, rest), k)
        steps = graph.add("Div", graph.add("Add", steps, rest), k)  # ceil(T / k)
        x = graph.add("Slice", x, zero, graph.add("Mul", steps, k), one)
        x = graph.add("Reshape", x, graph.integers(0, -1, patch_size * channels))
    x = graph.add("Transpose", x, perm=[1, 0, 2])  # [T, B, k·I]
    return Batch(x, lengths, _inside(graph, lengths, steps))


def _inside(graph: Graph, lengths: str, steps: str) -> str:
    """Return whether each of `steps` steps is one of its sequence, [T, B, 1] bool, given the lengths [B]."""
    end = graph.add("Squeeze", steps, graph.integers(0))
    scalar = {value: graph.constant(np.array(value, np.int64)) for value in (0, 1)}
    t = graph.add("Range", scalar[0], end, scalar[1])  # [T]
    inside = graph.add("Less", graph.add("Unsqueeze", t, graph.integers(1)), lengths)  # [T, B]
    return graph.add("Unsqueeze", inside, graph.integers(2))


def _pool(graph: Graph, network: RecurrentClassifier, output: str, batch: Batch) -> str:
    """Pool the hidden states [T, B, D·H] over the steps of each sequence, see `LSTMClassifier`; return [B, D·H]."""
    nothing, minimum = (graph.constant(np.array([value], np.float32)) for value in (0.0, -np.inf))
    if network.pooling == "max":
        return graph.reduce("ReduceMax", graph.add("Where", batch.inside, output, minimum), 0, keepdims=0)
    output = graph.add("Where", batch.inside, output, nothing)
    if network.pooling == "mean":
        total = graph.add("ReduceSum", output, graph.integers(0), keepdims=0)
        count = graph.add("Unsqueeze", batch.lengths, graph.integers(1))
        return graph.add("Div", total, graph.add("Cast", count, to=graph.element_type(np.float32)))
    hidden = graph.add("Tanh", linear(graph, output, network.W_att, network.b_att))
    scores = graph.add("MatMul", hidden, graph.constant(network.u_att.unsqueeze(1)))  # [T, B, 1]
    weights = graph.add("Softmax", graph.add("Where", batch.inside, scores, minimum), axis=0)
    return graph.add("ReduceSum", graph.add("Mul", weights, output), graph.integers(0), keepdims=0)


def linear(graph: Graph, x: str, W: Tensor, b: Tensor) -> str:
    """Return W x + b for x [..., I]."""
    return graph.add("Add", graph.add("MatMul", x, graph.constant(W.T)), graph.constant(b))


def add_outputs(graph: Graph, logits: str, target: TargetKind, num_classes: int, *, every_step: bool = True) -> None:
    """Add the outputs for a kind of target, see `build_graph`."""
    if target == "number":
        value = graph.add("Squeeze", logits, graph.integers(1))
        graph.output(value, Port("value", "float32", ("batch",), "Predicted number"))
        return
    steps = ("time",) if target == "class at every step" and every_step else ()
    shape = ("batch", *steps, num_classes)
    graph.output(logits, Port("logits", "float32", shape, "Score of each class; softmax gives the probabilities"))
    probabilities = graph.add("Softmax", logits, axis=-1)
    graph.output(probabilities, Port("probabilities", "float32", shape, "Probability of each class"))
