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

from reviver.cells.derivative import differentiate
from reviver.cells.grammar import Cell
from reviver.cells.graph import FUNCTIONS, Node, StepGraph

OPS = (
    *("move", "add", "sub", "mul", "div", "neg", "fma"),
    *("sigmoid", "tanh", "relu", "exp", "log", "softplus", "sqrt", "abs", "max", "min", "normalize", "dropout"),
    *("sigmoid_grad", "tanh_grad", "relu_grad", "abs_grad", "pick", "normalize_grad", "dropout_grad"),
    *("dropout_bypass", "accumulate"),
)
"""Instructions, in the order of `Op` in cell_program.h."""


class Place(IntEnum):
    """Where an operand is, in the order of `Place` in cell_program.h: its code is kind × 65536 + index."""

    REGISTER = 0
    SLOT = 1
    BEFORE = 2  # state before the step
    AFTER = 3  # state after it
    VECTOR = 4  # weights, then numbers
    CARRY = 5  # gradient of a state, in and out
    GRAD_OUTPUT = 6
    GRAD_SUM = 7  # dz
    GRAD_OPERAND = 8  # U^T dz
    GRAD_VECTOR = 9
    SPILL = 10

    def __call__(self, index: int) -> int:
        """Return the code of an operand."""
        return self * 65536 + index


class Sum(NamedTuple):
    """A sum of products, `W @ x + U @ v + b`, with names of weights, None for what it lacks, and the operand v."""

    W: str | None
    U: str | None
    b: str | None
    operand: int | None


class ProductGroup(NamedTuple):
    """Sums with the same operand, all with or all without x, whose slots are `size` from `first`."""

    operand: int  # code, or -1
    has_x: int
    first: int
    size: int


class BackwardProduct(NamedTuple):
    """The gradient U^T dz of an operand, from the dz of `size` sums from `first`, to `target`; added or written."""

    target: int  # code
    add: int
    first: int
    size: int


class Store(NamedTuple):
    """Where the value of a node is wanted: a code, None for any slot, and the segment by whose end."""

    node: int
    code: int | None
    segment: int


Instruction = tuple[int, int, int, int, int, int]
"""op, target, three arguments, index of the scalar of `normalize`."""


def fuse(cell: Cell, dropout: str) -> tuple[StepGraph, dict[str, int], dict[int, Sum]]:
    """Return the graph of a step with sums of products, the nodes of the new states by name, and the sums by node."""
    nodes = cell.graph.nodes
    outputs = {name: cell.quantities[name].node for name in cell.states}
    needed = sorted(cell.graph.reachable(outputs.values()))
    users: dict[int, list[int]] = {index: [-1] * list(outputs.values()).count(index) for index in needed}
    for index in needed:
        for arg in nodes[index].args:
            users[arg].append(index)
    graph, sums, new = StepGraph(), dict[int, Sum](), dict[int, int]()

    def is_part(index: int, op: str) -> bool:  # of a larger sum
        return nodes[index].op == op and len(users[index]) == 1 and nodes[users[index][0]].op == "add"

    def terms(index: int) -> list[int]:
        return [term for arg in nodes[index].args for term in (terms(arg) if is_part(arg, "add") else [arg])]

    def add_sum(W: int | None, U: int | None, b: int | None) -> int:
        name_W, name_U, name_b = (None if index is None else str(nodes[index].value) for index in (W, U, b))
        operand = None if U is None else new[nodes[U].args[0]]
        found = graph.add("sum", *(() if operand is None else (operand,)), value=f"{name_W},{name_U},{name_b}")
        sums[found] = Sum(name_W, name_U, name_b, operand)
        return found

    for index in needed:
        node = nodes[index]
        if node.op == "x" or is_part(index, "matmul") or is_part(index, "add"):
            continue
        if node.op in ("matmul", "add"):
            found = [index] if node.op == "matmul" else terms(index)
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
        elif node.op == "dropout" and dropout == "none":
            new[index] = new[node.args[0]]
        else:
            args = node.args[:1] if node.op == "dropout" and dropout == "scaled" else node.args
            new[index] = graph.add(node.op, *(new[arg] for arg in args), value=node.value)
    return graph, {name: new[index] for name, index in outputs.items()}, sums


class Plan:
    """What the native library gets for a cell; `dropout` of h is "none", "scaled" (dropped units are 0) or "zoneout".

    Attributes:
        sums: the sums of products, in the order of their slots.
        vectors: names of the learned vectors in their order; `numbers` follow them.
        groups: products of each forward segment.
        forward: programs of the forward segments.
        backward: programs of the backward segments.
        products: products after each backward segment.
        slots: number of slots; likewise `scalars`, `registers`, `spills` and `operand_gradients`.
    """

    def __init__(self, cell: Cell, dropout: str) -> None:
        self.states = list(cell.states)
        forward, self.outputs, sums = fuse(cell, dropout)
        self.first = len(forward.nodes)  # of the nodes of the derivative
        self.derivative = differentiate(forward, self.outputs)
        self.graph = self.derivative.graph
        self.zero = self.graph.add("number", value=0.0)
        self.nodes = self.graph.nodes
        self.levels = self.find_levels()
        self.order = sorted(sums, key=lambda node: self.sum_key(node, sums[node]))
        self.sums = [sums[node] for node in self.order]
        self.vectors = list(cell.vectors)
        self.numbers = sorted({float(node.value or 0) for node in self.nodes if node.op == "number"})
        self.slots, self.registers, self.spills, self.operand_gradients = len(sums), 0, 0, 0
        normalized = [index for index in range(self.first) if self.nodes[index].op == "normalize"]
        self.scalar_of = {index: at for at, index in enumerate(normalized)}
        self.scalars = len(normalized)
        self.reads: Counter[int] = Counter()  # how often a node is still read
        self.reusable: dict[int, int] = {}  # slots of sums that the backward pass does not read
        self.free: list[int] = []
        self.is_backward = False

        self.inputs = {
            index: code for index, node in enumerate(self.nodes) if (code := self.input_code(node)) is not None
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

    def find_levels(self) -> list[int]:
        """Return for each node the first segment that can compute it, in the forward or in the backward pass."""
        levels: list[int] = []
        for index, node in enumerate(self.nodes):
            if index < self.first:
                waits = node.op == "sum" and any(self.nodes[arg].op != "state" for arg in node.args)
                levels.append(max((levels[arg] for arg in node.args), default=0) + waits)
            else:
                parts = [levels[arg] for arg in node.args if arg >= self.first]
                levels.append(max(parts, default=0) + (node.op == "transposed"))
        return levels

    def sum_key(self, index: int, s: Sum) -> tuple[int, int, bool, int]:
        """Return the key by which sums with the same operand, and among them those with x, stand side by side."""
        return self.levels[index], self.first if s.operand is None else s.operand, s.W is None, index

    def input_code(self, node: Node) -> int | None:
        """Return the code of a node that is in memory from the beginning, else None."""
        match node.op:
            case "state":
                return Place.BEFORE(self.states.index(str(node.value)))
            case "vector":
                return Place.VECTOR(self.vectors.index(str(node.value)))
            case "number":
                return Place.VECTOR(len(self.vectors) + self.numbers.index(float(node.value or 0)))
            case "carry":
                return Place.CARRY(self.states.index(str(node.value)))
        return Place.GRAD_OUTPUT(0) if node.op == "grad_output" else None

    def find_saved(self, after: dict[int, int], sums: dict[int, Sum]) -> tuple[set[int], set[int]]:
        """Return the computed nodes and the sums that the backward pass gets in slots."""
        operands = {s.operand for s in self.sums if s.operand is not None}
        saved = {index for index in operands if self.nodes[index].op not in _IN_MEMORY}
        raw = {index for index in operands if index in sums}
        roots = [*self.derivative.sums.values(), *self.derivative.vectors.values(), *self.derivative.states.values()]
        reached = [node for node in self.graph.reachable(roots) if node >= self.first]
        waiting = [arg for node in reached for arg in self.nodes[node].args if arg < self.first]
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
        slots = {node: Place.SLOT(slot) for slot, node in enumerate(self.order)}
        used = raw.union(self.outputs.values())
        self.reusable = {node: code for node, code in slots.items() if node not in used}
        last = max(self.levels[node] for node in [*self.order, *self.outputs.values()])
        stores = [Store(node, Place.AFTER(at), last) for at, node in enumerate(self.outputs.values())]
        stores += [Store(node, None, self.levels[node]) for node in sorted(saved)]
        memory = dict(after)
        self.forward = self.schedule(self.inputs | slots, stores, last, memory)
        memory |= self.inputs | slots
        groups: dict[tuple[int, int, int], list[int]] = {}
        for slot, (node, s) in enumerate(zip(self.order, self.sums, strict=True)):
            code = -1 if s.operand is None else memory[s.operand]
            groups.setdefault((self.levels[node], code, int(s.W is not None)), []).append(slot)
        self.groups: list[list[ProductGroup]] = [[] for _ in range(last + 1)]
        for (level, code, has_x), members in groups.items():
            self.groups[level].append(ProductGroup(code, has_x, members[0], len(members)))
        return memory

    def plan_backward(self, given: dict[int, int]) -> None:
        """Plan the backward pass; `given` are codes of the nodes that the forward pass has left."""
        _, sums, vectors, states = self.derivative
        self.reusable, self.is_backward = {}, True
        members: dict[int, list[int]] = {}  # slots of the products of each operand
        for slot, s in enumerate(self.sums):
            if s.operand is not None:
                members.setdefault(s.operand, []).append(slot)
        last = max(self.levels[g] for g in [*sums.values(), *vectors.values(), *states.values()])
        self.products: list[list[BackwardProduct]] = [[] for _ in range(last + 1)]
        for index, node in enumerate(self.nodes):
            if node.op == "transposed":
                slots = members[int(node.value or 0)]
                given[index] = Place.GRAD_OPERAND(self.operand_gradients)
                self.operand_gradients += 1
                self.products[self.levels[index] - 1].append(BackwardProduct(given[index], 0, slots[0], len(slots)))
        stores = []
        gradients = [
            (s.b, sums[node], Place.GRAD_SUM(slot))
            for slot, (node, s) in enumerate(zip(self.order, self.sums, strict=True))
        ]
        for bias, g, code in gradients:
            stores.append(Store(g, code, self.levels[g]))
            if bias is not None:
                stores.append(Store(g, Place.GRAD_VECTOR(self.vectors.index(bias)), self.levels[g]))
        for name, g in vectors.items():
            stores.append(Store(g, Place.GRAD_VECTOR(self.vectors.index(name)), self.levels[g]))
        for at, name in enumerate(self.states):
            slots = next((members[node] for node in members if self.nodes[node] == Node("state", (), name)), [])
            if slots:
                self.products[last].append(BackwardProduct(Place.CARRY(at), int(name in states), slots[0], len(slots)))
            if not slots or name in states:
                stores.append(Store(states.get(name, self.zero), Place.CARRY(at), last))
        self.backward = self.schedule(given, stores, last, {})

    def schedule(
        self, given: dict[int, int], stores: list[Store], last: int, memory: dict[int, int]
    ) -> list[list[Instruction]]:
        """Return the programs of all segments.

        A node is computed in the segment of its first reader, as late as possible.

        Args:
            given: codes of nodes that are in memory when a segment begins that reads them.
            stores: where values are wanted.
            last: the last segment.
            memory: codes of nodes that instructions write to memory; those of slots and spills are added.
        """
        nodes = dict(enumerate(self.nodes))
        wanted = {store.node for store in stores}
        users = _users(nodes, wanted, given)
        for index in sorted(users, reverse=True):  # a product that only an addition reads becomes a part of it
            for part, other in (nodes[index].args, nodes[index].args[::-1]) if nodes[index].op == "add" else ():
                if nodes[part].op == "mul" and users.get(part) == [index] and part not in wanted:
                    nodes[index] = Node("fma", (*nodes[part].args, other))
                    break
        users = _users(nodes, wanted, given)
        segment_of: dict[int, int] = {}
        for index in sorted(users, reverse=True):
            due = [store.segment for store in stores if store.node == index]
            segment_of[index] = min([*due, *(segment_of[user] for user in users[index])])
        kept = {index for index, at in segment_of.items() if any(segment_of[user] > at for user in users[index])}
        here: list[list[Store]] = [[] for _ in range(last + 1)]
        for store in stores:
            at = segment_of.get(store.node, store.segment)
            if store.code is None:
                kept.add(store.node)
            elif store.code >> 16 == Place.CARRY and self.is_read_later(store, nodes, segment_of, given, stores):
                here[store.segment].append(store)
                kept |= {store.node} if at < store.segment else set()
            else:
                here[at].append(store)
                if store.code >> 16 != Place.GRAD_VECTOR and store.node in segment_of:
                    memory.setdefault(store.node, store.code)
        self.reads = Counter(arg for index in users for arg in nodes[index].args)
        programs = []
        for segment in range(last + 1):
            computed = {index: nodes[index] for index in sorted(segment_of) if segment_of[index] == segment}
            programs.append(self.program(computed, here[segment], given, memory, kept))
        return programs

    @staticmethod
    def is_read_later(
        store: Store,
        nodes: dict[int, Node],
        segment_of: dict[int, int],
        given: dict[int, int],
        stores: list[Store],
    ) -> bool:
        """Return whether others read a carry when the value that is stored there is computed, or later."""
        carries = {node for node, code in given.items() if code == store.code}
        if segment_of.get(store.node) != store.segment or any(other.node in carries for other in stores):
            return True
        return any(index > store.node for index in segment_of if not carries.isdisjoint(nodes[index].args))

    def program(
        self,
        nodes: dict[int, Node],
        stores: list[Store],
        given: dict[int, int],
        memory: dict[int, int],
        kept: set[int],
    ) -> list[Instruction]:
        """Return the program of a segment that computes `nodes`, of which those in `kept` go to memory."""
        program: list[Instruction] = []
        ends = {arg: index for index, node in nodes.items() for arg in node.args}
        ends |= {store.node: self.first**2 for store in stores}
        registers: dict[int, int] = {}
        free = list(range(len(nodes) + len(stores), -1, -1))

        def code(index: int) -> int:
            found = given.get(index, memory.get(index))
            return Place.REGISTER(registers[index]) if found is None else found

        def new_register(index: int) -> int:
            registers[index] = free.pop()
            self.registers = max(self.registers, registers[index] + 1)
            return Place.REGISTER(registers[index])

        for index, node in nodes.items():
            a, b, c = (*map(code, node.args), 0, 0, 0)[:3]
            for arg in node.args:
                self.reads[arg] -= 1
                if self.reads[arg] == 0 and arg in self.reusable:
                    self.free.append(self.reusable[arg])
                if ends.get(arg) == index and arg in registers:
                    free.append(registers.pop(arg))
            if index in kept and index not in memory:
                memory[index] = self.new_memory()
            target = memory[index] if index in memory else new_register(index)
            scalar = self.scalar_of.get(node.args[1] if node.op == "normalize_grad" else index, 0)
            program.append((OPS.index(node.op), target, a, b, c, scalar))
        moves = [(code(store.node), store.code or 0) for store in stores if code(store.node) != store.code]
        for at, (source, target) in enumerate(moves):
            if any(source == other for _, other in moves[:at]):  # a carry that another move overwrites before
                moves[at] = (new_register(-1 - at), target)
                program.append((OPS.index("move"), moves[at][0], source, 0, 0, 0))
        for source, target in moves:
            op = "accumulate" if target >> 16 == Place.GRAD_VECTOR else "move"
            program.append((OPS.index(op), target, source, 0, 0, 0))
        return program

    def new_memory(self) -> int:
        """Return the code of a slot, in place of a sum if one is free, or of a spill in the backward pass."""
        if self.is_backward:
            self.spills += 1
            return Place.SPILL(self.spills - 1)
        if self.free:
            return self.free.pop()
        self.slots += 1
        return Place.SLOT(self.slots - 1)


_IN_MEMORY = ("state", "vector", "number", "sum")
"""Operations of nodes that no instruction computes."""


def _users(nodes: dict[int, Node], wanted: Iterable[int], given: dict[int, int]) -> dict[int, list[int]]:
    """Return the nodes to compute, with their readers."""
    found: dict[int, list[int]] = {index: [] for index in wanted if index not in given}
    waiting = list(found)
    while waiting:
        index = waiting.pop()
        for arg in nodes[index].args:
            if arg not in given:
                if arg not in found:
                    found[arg] = []
                    waiting.append(arg)
                found[arg].append(index)
    return found
