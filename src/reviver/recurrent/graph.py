"""The graph of a step: nodes for inputs, products, functions and arithmetic; equal nodes are one.

A node stands after its arguments, so the order of the nodes is one in which they can be computed. Each is a vector of H
numbers per row of the batch, but the input `x`, which has I, and numbers.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Operation(NamedTuple):
    """An operation of a text: its arguments a and b, its names elsewhere, and its derivative."""

    arguments: int
    torch: str  # name of the function
    onnx: str  # name of the operator
    gradients: Callable[..., tuple[int, ...]]
    """Gradients of the arguments a and b of y from its gradient g, as nodes; `add` adds one to the graph."""


OPERATIONS = {
    "add": Operation(2, "add", "Add", lambda add, g, y, a, b: (g, g)),
    "sub": Operation(2, "sub", "Sub", lambda add, g, y, a, b: (g, add("neg", g))),
    "mul": Operation(2, "mul", "Mul", lambda add, g, y, a, b: (add("mul", g, b), add("mul", g, a))),
    "div": Operation(
        2, "div", "Div", lambda add, g, y, a, b: (add("div", g, b), add("neg", add("mul", add("div", g, b), y)))
    ),
    "neg": Operation(1, "neg", "Neg", lambda add, g, y, a: (add("neg", g),)),
    "sigmoid": Operation(1, "sigmoid", "Sigmoid", lambda add, g, y, a: (add("sigmoid_grad", g, y),)),
    "tanh": Operation(1, "tanh", "Tanh", lambda add, g, y, a: (add("tanh_grad", g, y),)),
    "relu": Operation(1, "relu", "Relu", lambda add, g, y, a: (add("relu_grad", g, y),)),
    "exp": Operation(1, "exp", "Exp", lambda add, g, y, a: (add("mul", g, y),)),
    "log": Operation(1, "log", "Log", lambda add, g, y, a: (add("div", g, a),)),
    "softplus": Operation(1, "softplus", "Softplus", lambda add, g, y, a: (add("mul", g, add("sigmoid", a)),)),
    "sqrt": Operation(1, "sqrt", "Sqrt", lambda add, g, y, a: (add("div", g, add("add", y, y)),)),
    "abs": Operation(1, "abs", "Abs", lambda add, g, y, a: (add("abs_grad", g, a),)),
    "max": Operation(2, "maximum", "Max", lambda add, g, y, a, b: (add("pick", g, a, b), add("pick", g, b, a))),
    "min": Operation(2, "minimum", "Min", lambda add, g, y, a, b: (add("pick", g, b, a), add("pick", g, a, b))),
    "normalize": Operation(1, "layer_norm", "", lambda add, g, y, a: (add("normalize_grad", g, y),)),
}
"""Operations of a text, in the order of `Op` in cell_program.h."""
FUNCTIONS = dict(list(OPERATIONS.items())[5:])
"""Those that a text calls by their names."""
EPSILON = 1e-5
"""Added to the variance in `normalize`."""


class Node(NamedTuple):
    """A value of a step.

    `op` is one of

        x  state  vector  number            inputs; `value` is the name, or the number
        matmul                              `value` is the name of the matrix, the argument its operand
        a name of `OPERATIONS`
        dropout                             of h: arguments are h of the equations and h before the step

    and in derivatives (`derivative.py`) also `transposed`, `carry`, `sigmoid_grad` and so on.
    """

    op: str
    args: tuple[int, ...] = ()
    value: str | float | None = None


class StepGraph:
    """Nodes, each of which occurs once."""

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self.nodes = list(nodes)
        self._index = {self._key(node): index for index, node in enumerate(self.nodes)}

    def add(self, op: str, *args: int, value: str | float | None = None) -> int:
        """Return the index of a node, which is added unless there is an equal one."""
        node = Node(op, args, value)
        key = self._key(node)
        if key not in self._index:
            self._index[key] = len(self.nodes)
            self.nodes.append(node)
        return self._index[key]

    def reachable(self, roots: Iterable[int]) -> set[int]:
        """Return the nodes that some nodes depend on, with these."""
        found = set(roots)
        for index in reversed(range(len(self.nodes))):
            if index in found:
                found.update(self.nodes[index].args)
        return found

    def stages(self) -> int:
        """Return how many products wait for one another, beyond those of inputs and states."""
        stages: list[int] = []
        for op, args, _ in self.nodes:
            waits = op == "matmul" and self.nodes[args[0]].op not in ("x", "state")
            stages.append(max((stages[arg] for arg in args), default=0) + waits)
        return max(stages)

    @staticmethod
    def _key(node: Node) -> Node:
        return node._replace(args=tuple(sorted(node.args))) if node.op in ("add", "mul", "max", "min") else node
