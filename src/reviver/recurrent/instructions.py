"""The instructions of a program: in which order nodes are computed, and what stays in registers between two of them.

The interpreter in `kernel/program.h` runs a program on some units at a time, and keeps the result of an instruction for the next
one. So nodes are computed in chains, in which most read the one before.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from reviver.recurrent.graph import OPERATIONS, Node

OPS = (
    *("move", "fma", *OPERATIONS, "dropout", "sigmoid_grad", "tanh_grad", "relu_grad", "abs_grad", "pick"),
    *("normalize_grad", "dropout_grad", "dropout_bypass", "add_product", "subtract_from", "divide_into"),
)
"""Instructions, in the order of `Op` in program.h."""
FROM_RESULT: dict[str, tuple[str, ...]] = {  # instructions whose argument 0, 1, ... is the result of the last one
    "add": ("add", "add"),
    "mul": ("mul", "mul"),
    "sub": ("sub", "subtract_from"),
    "div": ("div", "divide_into"),
    "fma": ("fma", "fma", "add_product"),
    "normalize": (),
    "normalize_grad": (),
}
RESULT = -1
"""In place of the code of an operand that an instruction does not have."""


class Place(IntEnum):
    """Where an operand is, in the order of `Place` in program.h: its code is kind × 65536 + index."""

    REGISTER = 0
    SLOT = 1
    BEFORE = 2  # state before the step
    AFTER = 3  # state after it
    VECTOR = 4  # weights, then numbers
    CARRY = 5  # gradient of a state after the step
    CARRIED = 6  # gradient of a state before it
    GRAD_OUTPUT = 7
    GRAD_SUM = 8  # dz
    GRAD_OPERAND = 9  # U^T dz
    GRAD_VECTOR = 10
    SPILL = 11

    def __call__(self, index: int) -> int:
        """Return the code of an operand."""
        return self * 65536 + index


PLACES = ("target", "a", "b", "c", "factor", "sum")


class Instruction(NamedTuple):
    """An instruction: codes of its operands, -1 for those that it lacks.

    It takes the operand `a`, or without one the result of the instruction before, times `factor`, and computes with it and `b` and
    `c`. The result goes to `target` and is added to `sum`.
    """

    op: int
    target: int
    a: int = RESULT
    b: int = RESULT
    c: int = RESULT
    scalar: int = 0
    """Index of the scalar of `normalize`."""
    factor: int = RESULT
    sum: int = RESULT

    def places(self) -> list[int]:
        """Return the codes of the operands, in the order of `PLACES`."""
        return [getattr(self, name) for name in PLACES]


Instructions = list[Instruction]
Store = tuple[int, int, int]
"""A node, the code of the place where its value is wanted, and the segment by whose end."""


def program(
    nodes: dict[int, Node], stores: list[Store], memory: dict[int, int], scalar_of: Mapping[int, int]
) -> tuple[Instructions, int]:
    """Return the program of a segment that computes `nodes`, of which those in `memory` go there, and the registers that it needs.

    `scalar_of` are the scalars of the nodes `normalize`.
    """
    order = _in_chains(nodes, [node for node, _, _ in stores])
    last_reader = {arg: at for at, index in enumerate(order) for arg in nodes[index].args}
    codes, free, rows = dict(memory), list(range(len(nodes), -1, -1)), list[Instruction]()
    stored: dict[int, list[int]] = {}
    registers = 0
    for node, target, _ in stores:
        stored.setdefault(node, []).append(target)

    def store(node: int, result: int) -> None:
        for target in stored.pop(node, ()):
            if target >> 16 == Place.GRAD_VECTOR:
                if result != RESULT or rows[-1].sum != RESULT:
                    rows.append(Instruction(OPS.index("move"), RESULT, result))
                    result = RESULT
                rows[-1] = rows[-1]._replace(sum=target)
            elif codes.get(node) != target:
                rows.append(Instruction(OPS.index("move"), target, result))
                result = RESULT

    result: int | None = None  # node that the last instruction has computed
    for at, index in enumerate(order):
        op, args, _ = nodes[index]
        name, operands = op, [codes.get(arg, 0) for arg in args]
        place = _place_of(result, nodes[index])
        if place is not None:
            name, operands = FROM_RESULT.get(op, (op,))[place], [RESULT, *operands[:place], *operands[place + 1 :]]
        ended = [arg for arg in dict.fromkeys(args) if last_reader[arg] == at and arg in codes and arg not in memory]
        free += [codes[arg] for arg in ended]
        is_chained = op not in _ON_ROWS and last_reader.get(index) == at + 1
        if is_chained:  # only the next instruction reads it, which can take it as the result of this one
            following = nodes[order[at + 1]]
            is_chained = following.args.count(index) == 1 and _place_of(index, following) is not None
        if index not in memory and not is_chained and index in last_reader:
            codes[index] = free.pop()  # of a register, whose code is its number
            registers = max(registers, codes[index] + 1)
        scalar = scalar_of.get(args[1] if op == "normalize_grad" else index, 0)
        factor = RESULT
        last = rows[-1] if operands[0] == RESULT else None
        if last and last[:2] == (OPS.index("mul"), RESULT) and last.factor == last.sum == RESULT:
            operands[0], factor = rows.pop()[2:4]  # a product that only this instruction reads becomes a part of it
        a, b, c = (*operands, RESULT, RESULT)[:3]
        rows.append(Instruction(OPS.index(name), codes.get(index, RESULT), a, b, c, scalar, factor))
        result = None if op in _ON_ROWS else index
        store(index, codes[index] if op in _ON_ROWS else RESULT)
    for node in list(stored):
        store(node, codes[node])
    return rows, registers


_ON_ROWS = ("normalize", "normalize_grad")
"""Operations of whole rows of units, whose operands and results are in memory."""


def _place_of(result: int | None, node: Node) -> int | None:
    """Return the index of the argument for which an instruction can take the result of the one before, None without one."""
    direct = node.args[: len(FROM_RESULT.get(node.op, (node.op,)))]
    return direct.index(result) if result in direct else None


def _in_chains(nodes: dict[int, Node], wanted: Iterable[int]) -> list[int]:
    """Return nodes in an order in which many can take the result of the one before: that of a walk through the expressions."""
    order, found = list[int](), set[int]()
    readers = Counter(arg for node in nodes.values() for arg in node.args)

    def visit(index: int) -> None:
        if index in found or index not in nodes:
            return
        found.add(index)
        op, args, _ = nodes[index]
        direct = args[: len(FROM_RESULT.get(op, (op,)))]
        last = max(direct, key=lambda arg: (arg in nodes and arg not in found, -readers[arg], arg), default=None)
        for arg in [arg for arg in args if arg != last] + ([] if last is None else [last]):
            visit(arg)
        order.append(index)

    for index in sorted({*wanted, *nodes}, reverse=True):
        visit(index)
    return order
