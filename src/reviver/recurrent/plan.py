"""The plan of a cell: what the interpreter of the native library does at a step, forward and backward.

A step is a sequence of segments. A segment begins with products and goes on with a program, whose instructions work on
rows of H numbers. A product that waits for another one stands in a later segment; all products of an operand are one.

The sums of products `W @ x + U @ v + b` are fused, so that they are finished in registers, and have a slot each: rows of
memory per step and row of the batch. The backward pass gets, from slots, outputs of functions, in place of the sums where
nobody else reads these, and computed operands; it computes the rest again.
"""

from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from reviver.recurrent.derivative import differentiate
from reviver.recurrent.grammar import Cell
from reviver.recurrent.graph import FUNCTIONS, OPERATIONS, Node, StepGraph

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


class Sum(NamedTuple):
    """A sum of products, `W @ x + U @ v + b`, with names of weights, None for what it lacks, and the operand v."""

    W: str | None
    U: str | None
    b: str | None
    operand: int | None


Product = tuple[int, int, int, int]
"""Products of `size` sums from `first`: forward (operand or -1, has x, first, size), backward (target, add, first, size)."""
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


def fuse(cell: Cell, dropout: str) -> tuple[StepGraph, dict[str, int], dict[int, Sum]]:
    """Return the graph of a step with sums of products, the nodes of the new states by name, and the sums by node."""
    nodes = cell.graph.nodes
    outputs = {name: cell.quantities[name].node for name in cell.states}
    needed = sorted(cell.graph.reachable(outputs.values()))
    users = _readers(nodes, outputs.values(), {})
    graph, sums, new = StepGraph(), dict[int, Sum](), dict[int, int]()

    def is_part(index: int, op: str) -> bool:  # of a larger sum
        is_read_once = len(users[index]) == 1 and index not in outputs.values()
        return nodes[index].op == op and is_read_once and nodes[users[index][0]].op == "add"

    def terms(index: int) -> list[int]:
        return [term for arg in nodes[index].args for term in (terms(arg) if is_part(arg, "add") else [arg])]

    def add_sum(W: int | None, U: int | None, b: int | None) -> int:
        name_W, name_U, name_b = (None if index is None else str(nodes[index].value) for index in (W, U, b))
        found = Sum(name_W, name_U, name_b, None if U is None else new[nodes[U].args[0]])
        at = graph.add("sum", *(() if found.operand is None else (found.operand,)), value=f"{found[:3]}")
        sums[at] = found
        return at

    for index in needed:
        op, args, value = nodes[index]
        if op == "x" or is_part(index, "matmul") or is_part(index, "add"):
            continue
        if op in ("matmul", "add"):
            found = [index] if op == "matmul" else terms(index)
            products = [term for term in found if term == index or is_part(term, "matmul")]
            inputs = [term for term in products if nodes[nodes[term].args[0]].op == "x"]
            recurrent: list[int | None] = [term for term in products if term not in inputs]
            biases = [term for term in found if nodes[term].op == "vector"]
            total = []
            for U in [*recurrent, *[None] * (len(inputs) - len(recurrent))]:
                W = inputs.pop(0) if inputs else None
                total.append(add_sum(W, U, biases.pop(0) if biases else None))
            rest = [term for term in found if term not in products and nodes[term].op != "vector"]
            total += [new[term] for term in [*biases, *rest]]
            new[index] = total[0]
            for term in total[1:]:
                new[index] = graph.add("add", new[index], term)
        elif op == "dropout" and dropout == "none":
            new[index] = new[args[0]]
        else:
            kept = args[:1] if op == "dropout" and dropout == "scaled" else args
            new[index] = graph.add(op, *(new[arg] for arg in kept), value=value)
    return graph, {name: new[index] for name, index in outputs.items()}, sums


class Plan:
    """What the native library gets for a cell; `dropout` of h is "none", "scaled" (dropped units are 0) or "zoneout".

    `forward` and `backward` are the programs of the segments, `groups` the products before those of the forward pass, and
    `products` those after those of the backward pass. `sums` are in the order of their slots, and `vectors`, the names of the
    learned ones, are followed by `numbers`. `sizes` count registers, slots, spills and gradients of operands.
    """

    def __init__(self, cell: Cell, dropout: str) -> None:
        self.states, self.vectors, self.sizes = list(cell.states), list(cell.vectors), Counter[Place]()
        forward, self.outputs, sums = fuse(cell, dropout)
        self.first = len(forward.nodes)  # of the nodes of the derivative
        self.derivative = differentiate(forward, self.outputs)
        self.zero = self.derivative.graph.add("number", value=0.0)
        self.nodes = self.derivative.graph.nodes
        self.levels: list[int] = []  # the first segment of its pass that can compute a node
        for index, (op, args, _) in enumerate(self.nodes):
            waits = op == "transposed" or (op == "sum" and any(self.nodes[arg].op != "state" for arg in args))
            parts = [self.levels[arg] for arg in args if index < self.first or arg >= self.first]
            self.levels.append(max(parts, default=0) + waits)

        def key(
            index: int,
        ) -> tuple[int, int, bool, int]:  # those with an operand, among them those with x, are together
            s = sums[index]
            return self.levels[index], self.first if s.operand is None else s.operand, s.W is None, index

        self.order = sorted(sums, key=key)
        self.sums = [sums[node] for node in self.order]
        self.numbers = sorted({float(node.value or 0) for node in self.nodes if node.op == "number"})
        normalized = [index for index in range(self.first) if self.nodes[index].op == "normalize"]
        self.scalar_of, self.scalars = {index: at for at, index in enumerate(normalized)}, len(normalized)
        constants = Place.VECTOR, [*self.vectors, *self.numbers]
        inputs: dict[str, tuple[Place, list[object]]] = {"state": (Place.BEFORE, [*self.states]), "vector": constants}
        inputs |= {
            "number": constants,
            "carry": (Place.CARRY, [*self.states]),
            "grad_output": (Place.GRAD_OUTPUT, [None]),
        }
        self.inputs = {  # codes of nodes that are in memory from the beginning
            index: inputs[op][0](inputs[op][1].index(value))
            for index, (op, _, value) in enumerate(self.nodes)
            if op in inputs
        }
        after = {
            node: Place.AFTER(at)
            for at, node in enumerate(self.outputs.values())
            if self.nodes[node].op not in _IN_MEMORY
        }
        saved, raw = self.find_saved(after, sums)
        memory = self.plan_forward(after, saved, raw)
        kept = saved | raw | after.keys() | self.inputs.keys()
        self.plan_backward({node: code for node, code in memory.items() if node in kept})

    def find_saved(self, after: dict[int, int], sums: dict[int, Sum]) -> tuple[set[int], set[int]]:
        """Return the computed nodes and the sums that the backward pass gets in slots."""
        operands = {s.operand for s in self.sums if s.operand is not None}
        saved = {index for index in operands if self.nodes[index].op not in _IN_MEMORY}
        raw = operands & sums.keys()
        graph, sums_g, vectors_g, states_g = self.derivative
        reached = graph.reachable([*sums_g.values(), *vectors_g.values(), *states_g.values()])
        waiting = [arg for node in reached if node >= self.first for arg in self.nodes[node].args if arg < self.first]
        given = self.inputs.keys() | after.keys()
        seen = set(given)
        while waiting:
            index = waiting.pop()
            op, args, _ = self.nodes[index]
            if index in seen:
                continue
            seen.add(index)
            if index in sums:
                raw.add(index)
            elif op == "normalize" or (op in FUNCTIONS and not given.issuperset(args)):
                saved.add(index)
            else:
                waiting.extend(args)
        return saved, raw

    def plan_forward(self, after: dict[int, int], saved: set[int], raw: set[int]) -> dict[int, int]:
        """Plan the forward pass; return the codes of all nodes that it leaves in memory."""
        slots = {node: self.new(Place.SLOT) for node in self.order}
        readers = Counter(arg for node in self.nodes[: self.first] for arg in node.args)
        readers.update([*raw, *self.outputs.values()])
        memory = dict(after)
        for node in sorted(saved - after.keys()):  # in place of a sum that nobody else reads
            free = [slots[arg] for arg in self.nodes[node].args if arg in slots and readers[arg] == 1]
            memory[node] = free[0] if free else self.new(Place.SLOT)
        last = max(self.levels[node] for node in [*self.order, *self.outputs.values()])
        stores = [(node, Place.AFTER(at), last) for at, node in enumerate(self.outputs.values())]
        stores += [(node, memory[node], self.levels[node]) for node in sorted(saved)]
        self.forward = self.schedule(self.inputs | slots, stores, last, memory, Place.SLOT)
        memory |= self.inputs | slots
        groups: dict[tuple[int, int, int], list[int]] = {}
        for slot, (node, s) in enumerate(zip(self.order, self.sums, strict=True)):
            code = -1 if s.operand is None else memory[s.operand]
            groups.setdefault((self.levels[node], code, int(s.W is not None)), []).append(slot)
        self.groups: list[list[Product]] = [[] for _ in range(last + 1)]
        for (level, code, has_x), members in groups.items():
            self.groups[level].append((code, has_x, members[0], len(members)))
        return memory

    def plan_backward(self, given: dict[int, int]) -> None:
        """Plan the backward pass; `given` are codes of the nodes that the forward pass has left."""
        _, sums, vectors, states = self.derivative
        members: dict[int | None, list[int]] = {}  # slots of the products of each operand
        for slot, s in enumerate(self.sums):
            members.setdefault(s.operand, []).append(slot)
        last = max(self.levels[g] for g in [*sums.values(), *vectors.values(), *states.values()])
        self.products: list[list[Product]] = [[] for _ in range(last + 1)]
        for index, (op, _, value) in enumerate(self.nodes):
            if op == "transposed":
                slots = members[int(value or 0)]
                given[index] = self.new(Place.GRAD_OPERAND)
                self.products[self.levels[index] - 1].append((given[index], 0, slots[0], len(slots)))
        stores = []
        for slot, (node, s) in enumerate(zip(self.order, self.sums, strict=True)):
            g = sums[node]
            stores.append((g, Place.GRAD_SUM(slot), self.levels[g]))
            if s.b is not None:
                stores.append((g, Place.GRAD_VECTOR(self.vectors.index(s.b)), self.levels[g]))
        stores += [(g, Place.GRAD_VECTOR(self.vectors.index(name)), self.levels[g]) for name, g in vectors.items()]
        for at, name in enumerate(self.states):
            slots = next(
                (members[node] for node in members if node is not None and self.nodes[node] == Node("state", (), name)),
                [],
            )
            if slots:
                self.products[last].append((Place.CARRIED(at), int(name in states), slots[0], len(slots)))
            if not slots or name in states:
                stores.append((states.get(name, self.zero), Place.CARRIED(at), last))
        self.backward = self.schedule(given, stores, last, {}, Place.SPILL)

    def schedule(
        self, given: dict[int, int], stores: list[Store], last: int, memory: dict[int, int], place: Place
    ) -> list[Instructions]:
        """Return the programs of all segments; a node is computed in that of its first reader, as late as possible.

        `given` are codes of nodes that are in memory before, `memory` those of nodes that instructions write to memory; those
        of values for later segments, at `place`, are added.
        """
        nodes = [*self.nodes]
        wanted = [node for node, _, _ in stores]
        readers = _readers(nodes, wanted, given)
        for index in sorted(readers, reverse=True):  # a product that only an addition reads becomes a part of it
            for part, other in (nodes[index].args, nodes[index].args[::-1]) if nodes[index].op == "add" else ():
                if nodes[part].op == "mul" and readers.get(part) == [index] and part not in wanted:
                    nodes[index] = Node("fma", (*nodes[part].args, other))
                    break
        readers = _readers(nodes, wanted, given)
        segment_of: dict[int, int] = {}
        for index in sorted(readers, reverse=True):
            due = [segment for node, _, segment in stores if node == index]
            segment_of[index] = min([*due, *(segment_of[reader] for reader in readers[index])])
        here: list[list[Store]] = [[] for _ in range(last + 1)]
        for node, code, segment in stores:
            here[segment_of.get(node, segment)].append((node, code, segment))
            if code >> 16 != Place.GRAD_VECTOR and node in segment_of:
                memory.setdefault(node, code)
        for index, at in sorted(segment_of.items()):
            if index not in memory and any(segment_of[reader] > at for reader in readers[index]):
                memory[index] = self.new(place)
        programs = []
        for segment in range(last + 1):
            computed = {index: nodes[index] for index in sorted(segment_of) if segment_of[index] == segment}
            programs.append(self.program(computed, here[segment], memory | given))
        return programs

    def program(self, nodes: dict[int, Node], stores: list[Store], memory: dict[int, int]) -> Instructions:
        """Return the program of a segment that computes `nodes`, of which those in `memory` go there."""
        order = _in_chains(nodes, [node for node, _, _ in stores])
        last_reader = {arg: at for at, index in enumerate(order) for arg in nodes[index].args}
        codes, free, rows = dict(memory), list(range(len(nodes), -1, -1)), list[Instruction]()
        stored: dict[int, list[int]] = {}
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
            ended = [
                arg for arg in dict.fromkeys(args) if last_reader[arg] == at and arg in codes and arg not in memory
            ]
            free += [codes[arg] for arg in ended]
            is_chained = op not in _ON_ROWS and last_reader.get(index) == at + 1
            if is_chained:  # only the next instruction reads it, which can take it as the result of this one
                following = nodes[order[at + 1]]
                is_chained = following.args.count(index) == 1 and _place_of(index, following) is not None
            if index not in memory and not is_chained and index in last_reader:
                codes[index] = free.pop()  # of a register, whose code is its number
                self.sizes[Place.REGISTER] = max(self.sizes[Place.REGISTER], codes[index] + 1)
            scalar = self.scalar_of.get(args[1] if op == "normalize_grad" else index, 0)
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
        return rows

    def new(self, place: Place) -> int:
        """Return the code of a new place of a kind."""
        self.sizes[place] += 1
        return place(self.sizes[place] - 1)


_IN_MEMORY = ("state", "vector", "number", "sum")
"""Operations of nodes that no instruction computes."""


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


def _readers(nodes: list[Node], wanted: Iterable[int], given: dict[int, int]) -> dict[int, list[int]]:
    """Return the nodes to compute, with their readers."""
    readers: dict[int, list[int]] = {index: [] for index in wanted if index not in given}
    for index in reversed(range(len(nodes))):  # readers stand after what they read
        if index in readers:
            for arg in nodes[index].args:
                if arg not in given:
                    readers.setdefault(arg, []).append(index)
    return readers
