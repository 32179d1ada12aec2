"""The plan of a cell: what the interpreter of the native library does at a step, forward and backward.

A step is a sequence of segments. A segment begins with products and goes on with a program, whose instructions work on
rows of H numbers. A product that waits for another one stands in a later segment; all products of an operand are one.

The sums of products `W @ x + U @ v + b` are fused, so that they are finished in registers, and have a slot each: rows of
memory per step and row of the batch. The backward pass gets, from slots, outputs of functions, in place of the sums where
nobody else reads these, and computed operands; it computes the rest again.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from reviver.recurrent.derivative import differentiate
from reviver.recurrent.grammar import Cell
from reviver.recurrent.graph import FUNCTIONS, Node, StepGraph
from reviver.recurrent.instructions import Instructions, Place, Store, program


class Sum(NamedTuple):
    """A sum of products, `W @ x + U @ v + b`, with names of weights, None for what it lacks, and the operand v."""

    W: str | None
    U: str | None
    b: str | None
    operand: int | None


Product = tuple[int, int, int, int]
"""Products of `size` sums from `first`: forward (operand or -1, has x, first, size), backward (target, add, first, size)."""


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
            rows, registers = program(computed, here[segment], memory | given, self.scalar_of)
            programs.append(rows)
            self.sizes[Place.REGISTER] = max(self.sizes[Place.REGISTER], registers)
        return programs

    def new(self, place: Place) -> int:
        """Return the code of a new place of a kind."""
        self.sizes[place] += 1
        return place(self.sizes[place] - 1)


_IN_MEMORY = ("state", "vector", "number", "sum")
"""Operations of nodes that no instruction computes."""


def _readers(nodes: list[Node], wanted: Iterable[int], given: dict[int, int]) -> dict[int, list[int]]:
    """Return the nodes to compute, with their readers."""
    readers: dict[int, list[int]] = {index: [] for index in wanted if index not in given}
    for index in reversed(range(len(nodes))):  # readers stand after what they read
        if index in readers:
            for arg in nodes[index].args:
                if arg not in given:
                    readers.setdefault(arg, []).append(index)
    return readers
