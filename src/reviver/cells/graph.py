"""The graph of a step: nodes for inputs, products, functions and arithmetic; equal nodes are one.

A node stands after its arguments, so the order of the nodes is one in which they can be computed. Each is a vector of H
numbers per row of the batch, but the input `x`, which has I, and numbers.
"""

from collections.abc import Iterable
from typing import NamedTuple

FUNCTIONS = {
    "sigmoid": 1,
    "tanh": 1,
    "relu": 1,
    "exp": 1,
    "log": 1,
    "softplus": 1,
    "sqrt": 1,
    "abs": 1,
    "max": 2,
    "min": 2,
    "normalize": 1,
}
"""Functions of a text, and their number of arguments."""
COMMUTATIVE = ("add", "mul", "max", "min")


class Node(NamedTuple):
    """A value of a step.

    `op` is one of

        x  state  vector  number            inputs; `value` is the name, or the number
        matmul                              `value` is the name of the matrix, the argument its operand
        add  sub  mul  div  neg             arithmetic
        a name of `FUNCTIONS`
        dropout                             of h: arguments are h of the equations and h before the step

    and in derivatives (`derivative.py`) also `transposed`, `grad`, `sigmoid_grad` and so on.
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

    def has(self, op: str, value: str) -> bool:
        """Return whether there is an input of this name."""
        return Node(op, (), value) in self._index

    def reachable(self, roots: Iterable[int]) -> set[int]:
        """Return the nodes that some nodes depend on, with these."""
        found: set[int] = set()
        waiting = list(roots)
        while waiting:
            index = waiting.pop()
            if index not in found:
                found.add(index)
                waiting.extend(self.nodes[index].args)
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
        return node._replace(args=tuple(sorted(node.args))) if node.op in COMMUTATIVE else node
