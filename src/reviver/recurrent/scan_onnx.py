"""The layers of a text in an ONNX graph: a `Scan` per layer and direction, whose body is a step.

Shapes: B batch, T time, I input size, H hidden size, D directions (1 or 2).
"""

import numpy as np

from reviver.files.onnx_graph import Graph, Port
from reviver.recurrent.graph import EPSILON, OPERATIONS
from reviver.recurrent.onnx import Batch
from reviver.recurrent.rnn import RNN
from reviver.recurrent.rnn_classifier import RNNClassifier


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


def _step(graph: Graph, rnn: RNN, at: int) -> Graph:
    """Return a step of a layer and direction: from states [B, H], x [B, I] and inside [B, 1] to states and h."""
    cell, weights, prefix, H = rnn.cell, rnn.weights(at), f"cell{at}_", rnn.hidden_size
    body = graph.body(prefix)
    before = {name: body.input(Port(f"{prefix}{name}", "float32", ("batch", H), "")) for name in cell.states}
    x = body.input(Port(f"{prefix}x", "float32", ("batch", "size"), ""))
    inside = body.input(Port(f"{prefix}inside", "bool", ("batch", 1), ""))
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
    for name in cell.states:
        new = body.add("Where", inside, values[cell.quantities[name].node], before[name])
        body.output(new, Port(f"{prefix}{name}_after", "float32", ("batch", H), ""))
    h = values[cell.quantities["h"].node]
    body.output(h, Port(f"{prefix}output", "float32", ("batch", H), ""))
    return body
