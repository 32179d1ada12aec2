"""The recurrent layers of a classifier in an ONNX graph: an `LSTM` node per layer if that is their cell, else a `Scan` of a step.

Shapes: B batch, T time, I input size, H hidden size, D directions (1 or 2).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reviver.files.onnx_graph import Graph, Port
from reviver.recurrent.grammar import Cell
from reviver.recurrent.graph import EPSILON, OPERATIONS
from reviver.recurrent.torch_layers import Names, find_torch_cell


class Batch(NamedTuple):
    """Values of a batch inside the graph."""

    x: str  # input of a layer, [T, B, I]
    lengths: str  # number of steps of each sequence, [B] int64
    inside: str  # whether a step is one of its sequence, [T, B, 1] bool


def add_layers(graph: Graph, layers: Any, batch: Batch) -> tuple[str, str]:
    """Add the layers of an `LSTM` or `RNN` in eval mode; return each h [T, B, D·H] and the last [B, D·H] of the top layer."""
    found = find_torch_cell(layers.cell)
    if found is not None and found[0] == "LSTM":
        return _lstm_nodes(graph, layers, found[1], batch)
    return _scans(graph, layers, batch)


def _lstm_nodes(graph: Graph, layers: Any, names: Names, batch: Batch) -> tuple[str, str]:
    output, last = batch.x, ""
    sequence_lens = graph.add("Cast", batch.lengths, to=graph.element_type(np.int32))
    directions, size = layers.num_directions, layers.hidden_size
    for index in range(layers.num_layers):
        cells = [_cell_arrays(layers.weights(index * directions + way), names) for way in range(directions)]
        weights = [graph.constant(np.stack(arrays)) for arrays in zip(*cells, strict=True)]
        attributes = {"hidden_size": size, "direction": "bidirectional" if directions == 2 else "forward"}
        inputs = [output, *weights, sequence_lens]
        Y, Y_h = graph.add_many("LSTM", inputs, 2, name=f"lstm_{index}", **attributes)
        output = graph.add("Reshape", graph.add("Transpose", Y, perm=[0, 2, 1, 3]), graph.integers(0, 0, -1))
        last = graph.add("Reshape", graph.add("Transpose", Y_h, perm=[1, 0, 2]), graph.integers(0, -1))
    return output, last


def _cell_arrays(weights: Mapping[str, Tensor], names: Names) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return W [4H, I], R [4H, H] and the two biases B [8H] of a cell in the order of ONNX: i, o, f, c."""
    W, R, b = (torch.cat([weights[names[f"{letter}_{gate}"]] for gate in "iofc"]) for letter in "WUb")
    return W.cpu().numpy(), R.cpu().numpy(), torch.cat([b, torch.zeros_like(b)]).cpu().numpy()


def _scans(graph: Graph, rnn: Any, batch: Batch) -> tuple[str, str]:
    output, last = batch.x, ""
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


def _step(graph: Graph, rnn: Any, at: int) -> Graph:
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
