"""ONNX graphs of the layers of a text, a `Scan` per layer and direction, whose body is a step; and of one step with its state.

Shapes: B batch, T time, I input size, H hidden size, D directions (1 or 2).
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from reviver.data.sequences.standardization import Standardization
from reviver.files.onnx_graph import Graph, Port
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.emit import layer_cells
from reviver.recurrent.grammar import Cell
from reviver.recurrent.graph import EPSILON, OPERATIONS
from reviver.recurrent.onnx import Batch, add_outputs, check_exportable, linear, standardize
from reviver.recurrent.rnn import RNN
from reviver.recurrent.rnn_classifier import RNNClassifier
from reviver.settings.tasks import TargetKind


def scan_layers(graph: Graph, network: RNNClassifier, batch: Batch) -> tuple[str, str]:
    """Add the layers in eval mode; return each h [T, B, D·H] and the last [B, D·H] of the top layer."""
    rnn, output, last = network.rnn, batch.x, ""
    size = graph.add("Concat", graph.add("Shape", batch.lengths), graph.integers(rnn.hidden_size), axis=0)
    zeros = graph.add("Expand", graph.constant(np.zeros(1, np.float32)), size)  # [B, H]
    for layer in range(rnn.num_layers):
        outputs, finals = [], []
        for reverse in (False, True)[: rnn.num_directions]:
            body = _step(graph, rnn, layer * rnn.num_directions + reverse)
            states = [zeros] * len(rnn.cell.states)
            *after, h = graph.scan(body, states, [output, batch.inside], reverse)
            outputs.append(h)
            finals.append(after[0])
        output, last = (graph.add("Concat", *parts, axis=-1) for parts in (outputs, finals))
    return output, last


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


def _step(graph: Graph, rnn: RNN, at: int) -> Graph:
    """Return a step of a layer and direction: from states [B, H], x [B, I] and inside [B, 1] to states and h."""
    cell, prefix, H = rnn.cell, f"cell{at}_", rnn.hidden_size
    body = graph.body(prefix)
    before = {name: body.input(Port(f"{prefix}{name}", "float32", ("batch", H), "")) for name in cell.states}
    x = body.input(Port(f"{prefix}x", "float32", ("batch", "size"), ""))
    inside = body.input(Port(f"{prefix}inside", "bool", ("batch", 1), ""))
    values = add_cell(body, graph, cell, rnn.weights(at), H, x, before, prefix)
    for name in cell.states:
        new = body.add("Where", inside, values[cell.quantities[name].node], before[name])
        body.output(new, Port(f"{prefix}{name}_after", "float32", ("batch", H), ""))
    h = values[cell.quantities["h"].node]
    body.output(h, Port(f"{prefix}output", "float32", ("batch", H), ""))
    return body


def add_cell(
    body: Graph,
    graph: Graph,
    cell: Cell,
    weights: Mapping[str, Tensor],
    H: int,
    x: str,
    before: Mapping[str, str],
    prefix: str,
) -> list[str]:
    """Add a step of a cell to `body`, with constants in `graph`; return the values of the nodes of its graph."""
    values: list[str] = []
    for op, args, value in cell.graph.nodes:
        entries, name = [values[arg] for arg in args], str(value)
        if op == "x":
            found = x
        elif op == "number":
            found = graph.constant(np.full(H, value, np.float32))
        elif op in ("state", "vector"):
            found = before[name] if op == "state" else graph.constant(weights[name], f"{prefix}{name}_weight")
        elif op == "matmul":
            found = body.add("MatMul", entries[0], graph.constant(weights[name].T, f"{prefix}{name}_weight"))
        elif op == "dropout":
            found = entries[0]
        elif op == "normalize":
            centered = body.add("Sub", entries[0], body.reduce("ReduceMean", entries[0], -1, keepdims=1))
            variance = body.reduce("ReduceMean", body.add("Mul", centered, centered), -1, keepdims=1)
            epsilon = graph.constant(np.full(1, EPSILON, np.float32))
            found = body.add("Div", centered, body.add("Sqrt", body.add("Add", variance, epsilon)))
        else:
            found = body.add(OPERATIONS[op].onnx, *entries)
        values.append(found)
    return values
