"""The derivative of a step: reverse-mode differentiation of its graph, as nodes of the same graph.

Gradients are nodes, too, so equal ones are merged and everything is planned alike. Operations of gradients:

    carry         gradient of the state `value` after the step, from later steps
    grad_output   gradient of the output
    transposed    sum over the products of an operand: U^T dz; arguments are the dz, `value` the operand
    sigmoid_grad  g y (1 - y)             tanh_grad    g (1 - y²)         relu_grad   g where y > 0
    abs_grad      g sign(a)               pick         g where a > b, g / 2 where a = b
    normalize_grad, dropout_grad, dropout_bypass
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from reviver.cells.graph import StepGraph

RULES: dict[str, Callable[..., tuple[int, ...]]] = {
    "add": lambda add, g, y, a, b: (g, g),
    "sub": lambda add, g, y, a, b: (g, add("neg", g)),
    "neg": lambda add, g, y, a: (add("neg", g),),
    "mul": lambda add, g, y, a, b: (add("mul", g, b), add("mul", g, a)),
    "div": lambda add, g, y, a, b: (add("div", g, b), add("neg", add("mul", add("div", g, b), y))),
    "sigmoid": lambda add, g, y, a: (add("sigmoid_grad", g, y),),
    "tanh": lambda add, g, y, a: (add("tanh_grad", g, y),),
    "relu": lambda add, g, y, a: (add("relu_grad", g, y),),
    "exp": lambda add, g, y, a: (add("mul", g, y),),
    "log": lambda add, g, y, a: (add("div", g, a),),
    "softplus": lambda add, g, y, a: (add("mul", g, add("sigmoid", a)),),
    "sqrt": lambda add, g, y, a: (add("div", g, add("add", y, y)),),
    "abs": lambda add, g, y, a: (add("abs_grad", g, a),),
    "max": lambda add, g, y, a, b: (add("pick", g, a, b), add("pick", g, b, a)),
    "min": lambda add, g, y, a, b: (add("pick", g, b, a), add("pick", g, a, b)),
    "normalize": lambda add, g, y, a: (add("normalize_grad", g, y),),
    "dropout": lambda add, g, y, a, *h: (add("dropout_grad", g), *(add("dropout_bypass", g) for _ in h)),
}
"""Gradients of the arguments a and b of y from its gradient g; `add` adds a node to the graph."""


class Derivative(NamedTuple):
    """Gradients of a step: `graph` begins with the nodes of the step; the others are nodes, absent where it is 0."""

    graph: StepGraph
    sums: dict[int, int]  # dz of each sum of products, by node
    vectors: dict[str, int]
    states: dict[str, int]  # of each state before the step, without what comes by products


def differentiate(forward: StepGraph, outputs: dict[str, int]) -> Derivative:
    """Differentiate a step with sums of products (`plan.py`); `outputs` are the nodes of the new states by name."""
    graph, result = StepGraph(forward.nodes), Derivative(StepGraph(), {}, {}, {})
    parts: dict[int, list[int]] = defaultdict(list)  # gradients of each node, which are to be added
    for state, output in outputs.items():
        carry = graph.add("carry", value=state)
        parts[output].append(graph.add("add", carry, graph.add("grad_output")) if state == "h" else carry)
    products: dict[int, list[int]] = defaultdict(list)  # dz of the products of each operand
    for index, node in reversed(list(enumerate(forward.nodes))):
        if index in products and node.op != "state":
            parts[index].append(graph.add("transposed", *products[index], value=index))
        if not parts[index]:
            continue
        g = parts[index][0]
        for part in parts[index][1:]:
            g = graph.add("add", g, part)
        name: Any = node.value
        if node.op == "sum":
            result.sums[index] = g
            for operand in node.args:
                products[operand].append(g)
        elif node.op == "vector":
            result.vectors[name] = g
        elif node.op == "state":
            result.states[name] = g
        elif node.op in RULES:
            for arg, gradient in zip(node.args, RULES[node.op](graph.add, g, index, *node.args), strict=True):
                parts[arg].append(gradient)
    return result._replace(graph=graph)
