"""The derivative of a step: reverse-mode differentiation of its graph, as nodes of the same graph.

Gradients are nodes, too, so equal ones are merged and everything is planned alike. Operations of gradients:

    carry         gradient of the state `value` after the step, from later steps
    grad_output   gradient of the output
    transposed    sum over the products of an operand: U^T dz; arguments are the dz, `value` the operand
    sigmoid_grad  g y (1 - y)             tanh_grad    g (1 - y²)         relu_grad   g where y > 0
    abs_grad      g sign(a)               pick         g where a > b, g / 2 where a = b
    normalize_grad, dropout_grad, dropout_bypass
"""

from dataclasses import dataclass

from reviver.cells.graph import Graph


@dataclass
class Derivative:
    """Gradients of a step: `graph` begins with the nodes of the step; values are nodes, of no gradient absent."""

    graph: Graph
    sums: dict[int, int]  # dz of each sum of products, by node
    vectors: dict[str, int]
    states: dict[str, int]  # of each state before the step, without what comes by products


def differentiate(forward: Graph, outputs: dict[str, int]) -> Derivative:
    """Differentiate a step with sums of products (`plan.py`); `outputs` are the nodes of the new states by name."""
    graph = Graph(forward.nodes)
    gradients: dict[int, list[int]] = {}
    for name, node in outputs.items():
        carry = graph.add("carry", value=name)
        gradients.setdefault(node, []).append(
            graph.add("add", carry, graph.add("grad_output")) if name == "h" else carry
        )
    result = Derivative(graph, {}, {}, {})
    products: dict[int, list[int]] = {}  # dz of the products of each operand
    for index in range(len(forward.nodes) - 1, -1, -1):
        node = forward.nodes[index]
        parts = gradients.get(index, [])
        if node.op == "state" or (index in products and node.op != "x"):
            if node.op != "state":
                parts = [*parts, graph.add("transposed", *products[index], value=str(index))]
        if not parts:
            continue
        g = parts[0]
        for part in parts[1:]:
            g = graph.add("add", g, part)
        if node.op == "sum":
            result.sums[index] = g
            for operand in node.args:
                products.setdefault(operand, []).append(g)
        elif node.op == "vector":
            result.vectors[str(node.value)] = g
        elif node.op == "state":
            result.states[str(node.value)] = g
        else:
            for arg, gradient in _local(graph, index, g):
                if arg >= 0:
                    gradients.setdefault(arg, []).append(gradient)
    return result


def _local(graph: Graph, index: int, g: int) -> list[tuple[int, int]]:
    """Return the arguments of a node with their gradients, from its gradient g."""
    node, add = graph.nodes[index], graph.add
    a, b = (*node.args, -1, -1)[:2]
    match node.op:
        case "add":
            return [(a, g), (b, g)]
        case "sub":
            return [(a, g), (b, add("neg", g))]
        case "neg":
            return [(a, add("neg", g))]
        case "mul":
            return [(a, add("mul", g, b)), (b, add("mul", g, a))]
        case "div":
            quotient = add("div", g, b)
            return [(a, quotient), (b, add("neg", add("mul", quotient, index)))]
        case "sigmoid" | "tanh" | "relu" | "normalize":
            return [(a, add(f"{node.op}_grad", g, index))]
        case "exp":
            return [(a, add("mul", g, index))]
        case "log":
            return [(a, add("div", g, a))]
        case "softplus":
            return [(a, add("mul", g, add("sigmoid", a)))]
        case "sqrt":
            return [(a, add("div", g, add("add", index, index)))]
        case "abs":
            return [(a, add("abs_grad", g, a))]
        case "max":
            return [(a, add("pick", g, a, b)), (b, add("pick", g, b, a))]
        case "min":
            return [(a, add("pick", g, b, a)), (b, add("pick", g, a, b))]
        case "dropout":
            return [(a, add("dropout_grad", g)), (b, add("dropout_bypass", g))]
    return []  # numbers
