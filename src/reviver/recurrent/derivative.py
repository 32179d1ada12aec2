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
from functools import reduce
from typing import Any, NamedTuple

from reviver.recurrent.graph import OPERATIONS, StepGraph


class Derivative(NamedTuple):
    """Gradients of a step: `graph` begins with the nodes of the step; the others are nodes, absent where it is 0."""

    graph: StepGraph
    sums: dict[int, int]  # dz of each sum of products, by node
    vectors: dict[str, int]
    states: dict[str, int]  # of each state before the step, without what comes by products


def differentiate(forward: StepGraph, outputs: dict[str, int]) -> Derivative:
    """Differentiate a step with sums of products (`plan.py`); `outputs` are the nodes of the new states by name."""
    graph = StepGraph(forward.nodes)
    result = Derivative(graph, {}, {}, {})
    parts: dict[int, list[int]] = defaultdict(list)  # gradients of each node, which are to be added
    for state, output in outputs.items():
        carry = graph.add("carry", value=state)
        parts[output].append(graph.add("add", carry, graph.add("grad_output")) if state == "h" else carry)
    products: dict[int, list[int]] = defaultdict(list)  # dz of the products of each operand
    for index, (op, args, value) in reversed(list(enumerate(forward.nodes))):
        name: Any = value
        if index in products and op != "state":
            parts[index].append(graph.add("transposed", *products[index], value=index))
        if not parts[index]:
            continue
        g = reduce(lambda total, part: graph.add("add", total, part), parts[index])
        if op == "sum":
            result.sums[index] = g
            for operand in args:
                products[operand].append(g)
        elif op in ("vector", "state"):
            (result.vectors if op == "vector" else result.states)[name] = g
        elif op == "dropout":
            for arg, what in zip(args, ("dropout_grad", "dropout_bypass"), strict=False):
                parts[arg].append(graph.add(what, g))
        elif op != "number":
            for arg, gradient in zip(args, OPERATIONS[op].gradients(graph.add, g, index, *args), strict=True):
                parts[arg].append(gradient)
    return result
