"""The plan of a cell: what the interpreter of the native library does at a step, forward and backward.

A step is a sequence of segments. A segment begins with products and goes on with a program, whose instructions work on
rows of H numbers. A product that waits for another one stands in a later segment; all products of an operand are one.

The sums of products `W @ x + U @ v + b` are fused, so that their product is finished in registers, and have a slot
each: rows of memory per step and row of the batch. The backward pass gets, from slots, outputs of functions, in place of
the sums where nobody else reads these, and computed operands; it computes the rest again.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import NamedTuple

from reviver.cells.derivative import differentiate
from reviver.cells.grammar import Cell
from reviver.cells.graph import FUNCTIONS, Graph, Node

OPS = (
    *("move", "add", "sub", "mul", "div", "neg", "fma"),
    *("sigmoid", "tanh", "relu", "exp", "log", "softplus", "sqrt", "abs", "max", "min", "normalize", "dropout"),
    *("sigmoid_grad", "tanh_grad", "relu_grad", "abs_grad", "pick", "normalize_grad", "dropout_grad"),
    *("dropout_bypass", "accumulate"),
)
"""Instructions, in the order of `Op` in cell.h."""


class Kind(IntEnum):
    """Where an operand is, in the order of `Place` in cell.h: its code is kind × 65536 + index."""

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


class Group(NamedTuple):
    """Sums with the same operand, all with or all without x, whose slots are `count` from `first`."""

    operand: int  # code, or -1
    has_x: int
    first: int
    count: int


class BackwardProduct(NamedTuple):
    """The gradient U^T dz of an operand, from the dz of `count` sums from `first`, to `target`; added or written."""

    target: int  # code
    add: int
    first: int
    count: int


class Store(NamedTuple):
    """Where the value of a node is wanted: a code, None for any slot, and the segment by whose end."""

    node: int
    code: int | None
    segment: int


Instruction = tuple[int, int, int, int, int, int]
"""op, target, three arguments, index of the scalar of `normalize`."""


@dataclass
class Plan:
    """What the native library gets; programs and products come by segment."""

    sums: list[Sum] = field(default_factory=list)
    vectors: list[str] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    groups: list[list[Group]] = field(default_factory=list)
    forward: list[list[Instruction]] = field(default_factory=list)
    backward: list[list[Instruction]] = field(default_factory=list)
    products: list[list[BackwardProduct]] = field(default_factory=list)  # after each segment of `backward`
    slots: int = 0
    scalars: int = 0
    registers: int = 0
    spills: int = 0
    operand_gradients: int = 0


@cache
def make_plan(cell: Cell, dropout: str) -> Plan:
    """Return the plan of a cell; `dropout` of h is "none", "scaled" (dropped units are 0) or "zoneout"."""
    return _Planner(cell, dropout).plan


def fuse(cell: Cell, dropout: str) -> tuple[Graph, dict[str, int], dict[int, Sum]]:
    """Return the graph of a step with sums of products, the nodes of the new states by name, and the sums by node."""
    nodes = cell.graph.nodes
    outputs = {name: cell.quantities[name].node for name in cell.states}
    needed = sorted(cell.graph.reachable(outputs.values()))
    users: dict[int, list[int]] = {index: [] for index in needed}
    for index in needed:
        for arg in nodes[index].args:
            users[arg].append(index)
    for index in outputs.values():
        users[index].append(-1)

    def is_part(index: int, op: str) -> bool:  # of a larger sum
        return nodes[index].op == op and len(users[index]) == 1 and nodes[users[index][0]].op == "add"

    def terms(index: int) -> list[int]:
        found, waiting = [], [*reversed(nodes[index].args)]
        while waiting:
            term = waiting.pop()
            if is_part(term, "add"):
                waiting.extend(reversed(nodes[term].args))
            else:
                found.append(term)
        return found

    graph, sums, new = Graph(), dict[int, Sum](), dict[int, int]()

    def add_sum(W: int | None, U: int | None, b: int | None) -> int:
        names = [None if index is None else str(nodes[index].value) for index in (W, U, b)]
        operand = None if U is None else new[nodes[U].args[0]]
        found = graph.add("sum", *(() if operand is None else (operand,)), value=",".join(map(str, names)))
        sums[found] = Sum(*names, operand)
        return found

    def is_on_x(index: int) -> bool:
        return nodes[nodes[index].args[0]].op == "x"

    for index in needed:
        node = nodes[index]
        if node.op == "x" or is_part(index, "matmul") or is_part(index, "add"):
            continue
        if node.op == "matmul":
            new[index] = add_sum(index, None, None) if is_on_x(index) else add_sum(None, index, None)
        elif node.op == "add":
            found = terms(index)
            products = [term for term in found if is_part(term, "matmul")]
            inputs = [term for term in products if is_on_x(term)]
            recurrent = [term for term in products if not is_on_x(term)]
            biases = [term for term in found if nodes[term].op == "vector"]
            rest = [new[term] for term in found if term not in products and term not in biases]
            total = []
            for U in [*recurrent, *[None] * (len(inputs) - len(recurrent))]:
                W = inputs.pop(0) if inputs else None
                total.append(add_sum(W, U, biases.pop(0) if biases else None))
            total += [new[term] for term in biases] + rest
            new[index] = total[0]
            for term in total[1:]:
                new[index] = graph.add("add", new[index], term)
        elif node.op == "dropout" and dropout == "none":
            new[index] = new[node.args[0]]
        else:
            args = node.args[: 1 if node.op == "dropout" and dropout == "scaled" else None]
            new[index] = graph.add(node.op, *(new[arg] for arg in args), value=node.value)
    return graph, {name: new[index] for name, index in outputs.items()}, sums


class _Planner:
    def __init__(self, cell: Cell, dropout: str) -> None:
        self.plan = plan = Plan()
        self.graph, self.outputs, sums = fuse(cell, dropout)
        self.states = list(cell.states)
        derivative = differentiate(self.graph, self.outputs)
        self.all = derivative.graph
        nodes = self.all.nodes

        levels = self.levels()
        order = sorted(sums, key=lambda node: self.sum_key(node, sums[node], levels))
        plan.sums = [sums[node] for node in order]
        plan.vectors = sorted(
            {str(node.value) for node in nodes if node.op == "vector"} | {s.b for s in plan.sums if s.b}
        )
        plan.numbers = sorted({0.0} | {float(node.value or 0) for node in nodes if node.op == "number"})
        after = {
            node: Kind.AFTER(self.states.index(name)) for name, node in self.outputs.items() if self.is_computed(node)
        }
        zero = self.all.add("number", value=0.0)
        levels = self.levels()
        self.inputs = {index: code for index, node in enumerate(nodes) if (code := self.input_code(node)) is not None}
        slots = {node: Kind.SLOT(slot) for slot, node in enumerate(order)}
        plan.slots = len(order)

        # Forward
        self.scalars = {}
        for index, node in enumerate(self.graph.nodes):
            if node.op == "normalize":
                self.scalars[index] = len(self.scalars)
        plan.scalars = len(self.scalars)
        operands = {s.operand for s in plan.sums if s.operand is not None}
        roots = [*derivative.sums.values(), *derivative.vectors.values(), *derivative.states.values()]
        saved, raw = self.saved(roots, after, operands, sums)
        last = max(levels[node] for node in [*order, *self.outputs.values()])
        stores = [Store(node, Kind.AFTER(self.states.index(name)), last) for name, node in self.outputs.items()]
        stores += [Store(node, None, levels[node]) for node in sorted(saved)]
        memory = dict(after)
        reusable = {node: slots[node] for node in order if node not in raw and node not in self.outputs.values()}
        plan.forward = self.schedule(self.inputs | slots, stores, last, _Slots(plan, reusable), memory)
        given = self.inputs | slots | memory
        by_group: dict[tuple[int, int, int], list[int]] = {}
        for slot, (node, s) in enumerate(zip(order, plan.sums, strict=True)):
            code = -1 if s.operand is None else given[s.operand]
            by_group.setdefault((levels[node], code, int(s.W is not None)), []).append(slot)
        plan.groups = [[] for _ in range(last + 1)]
        for (level, code, has_x), members in by_group.items():
            plan.groups[level].append(Group(code, has_x, members[0], len(members)))

        # Backward
        kept = saved | raw | after.keys()
        given = self.inputs | {node: code for node, code in given.items() if node in kept}
        by_operand: dict[int, list[int]] = {}
        for slot, s in enumerate(plan.sums):
            if s.operand is not None:
                by_operand.setdefault(s.operand, []).append(slot)
        last = max(levels[root] for root in roots)
        plan.products = [[] for _ in range(last + 1)]
        for index, node in enumerate(nodes):
            if node.op == "transposed":
                members = by_operand[int(str(node.value))]
                given[index] = Kind.GRAD_OPERAND(plan.operand_gradients)
                plan.operand_gradients += 1
                product = BackwardProduct(given[index], 0, members[0], len(members))
                plan.products[levels[index] - 1].append(product)
        stores = []
        for slot, node in enumerate(order):
            g = derivative.sums[node]
            stores.append(Store(g, Kind.GRAD_SUM(slot), levels[g]))
            if bias := plan.sums[slot].b:
                stores.append(Store(g, Kind.GRAD_VECTOR(plan.vectors.index(bias)), levels[g]))
        for name, g in derivative.vectors.items():
            stores.append(Store(g, Kind.GRAD_VECTOR(plan.vectors.index(name)), levels[g]))
        for at, name in enumerate(self.states):
            stores.append(Store(derivative.states.get(name, zero), Kind.CARRY(at), last))
        plan.backward = self.schedule(given, stores, last, _Slots(plan, None), {})
        for operand, members in by_operand.items():
            if nodes[operand].op == "state":
                target = Kind.CARRY(self.states.index(str(nodes[operand].value)))
                plan.products[last].append(BackwardProduct(target, 1, members[0], len(members)))

    def levels(self) -> list[int]:
        """Return for each node the first segment that can compute it: forward nodes in the forward pass, others in the backward pass."""
        levels: list[int] = []
        for index, node in enumerate(self.all.nodes):
            if index < len(self.graph.nodes):
                waits = node.op == "sum" and bool(node.args) and self.graph.nodes[node.args[0]].op != "state"
                levels.append(max((levels[arg] for arg in node.args), default=0) + waits)
            else:
                parts = [levels[arg] for arg in node.args if arg >= len(self.graph.nodes)]
                levels.append(max(parts, default=0) + (node.op == "transposed"))
        return levels

    def sum_key(self, index: int, s: Sum, levels: list[int]) -> tuple[int, int, bool, int]:
        return levels[index], 1 << 30 if s.operand is None else s.operand, s.W is None, index

    def is_computed(self, index: int) -> bool:
        """Return whether an instruction computes a node."""
        return self.graph.nodes[index].op not in ("state", "vector", "number", "sum")

    def input_code(self, node: Node) -> int | None:
        plan = self.plan
        match node.op:
            case "state":
                return Kind.BEFORE(self.states.index(str(node.value)))
            case "vector":
                return Kind.VECTOR(plan.vectors.index(str(node.value)))
            case "number":
                return Kind.VECTOR(len(plan.vectors) + plan.numbers.index(float(node.value or 0)))
            case "carry":
                return Kind.CARRY(self.states.index(str(node.value)))
            case "grad_output":
                return Kind.GRAD_OUTPUT(0)
        return None

    def saved(
        self, roots: Iterable[int], after: dict[int, int], operands: set[int], sums: dict[int, Sum]
    ) -> tuple[set[int], set[int]]:
        """Return the computed nodes and the sums that the backward pass gets in slots."""
        first, graph = len(self.graph.nodes), self.all
        reached = [node for node in graph.reachable(roots) if node >= first]
        waiting = [arg for node in reached for arg in graph.nodes[node].args if arg < first]
        saved = {index for index in operands if self.is_computed(index)}
        raw = {index for index in operands if index in sums}
        seen: set[int] = set()
        while waiting:
            index = waiting.pop()
            node = graph.nodes[index]
            if index in seen or index in self.inputs or index in after:
                continue
            seen.add(index)
            if index in sums:
                raw.add(index)
            elif node.op == "normalize" or (
                node.op in FUNCTIONS and not all(arg in self.inputs or arg in after for arg in node.args)
            ):
                saved.add(index)
            else:
                waiting.extend(node.args)
        return saved, raw

    def schedule(
        self,
        given: dict[int, int],
        stores: list[Store],
        last: int,
        slots: "_Slots",
        memory: dict[int, int],
    ) -> list[list[Instruction]]:
        """Return the programs of all segments.

        A node is computed in the segment of its first reader, as late as possible.

        Args:
            given: codes of nodes that are in memory when a segment begins that reads them.
            stores: where values are wanted.
            last: the last segment.
            slots: where slots come from for values that another segment reads, or a store without a code wants.
            memory: codes of nodes that instructions write to memory; those of slots are added.
        """
        nodes = dict(enumerate(self.all.nodes))
        wanted = [store.node for store in stores]
        users = self.users(nodes, wanted, given)
        for index in sorted(users, reverse=True):
            for part, other in (nodes[index].args, nodes[index].args[::-1]) if nodes[index].op == "add" else ():
                if nodes[part].op == "mul" and users.get(part) == [index] and part not in wanted:
                    nodes[index] = Node("fma", (*nodes[part].args, other))
                    break
        users = self.users(nodes, wanted, given)
        segment_of: dict[int, int] = {}
        for index in sorted(users, reverse=True):
            due = [store.segment for store in stores if store.node == index]
            segment_of[index] = min([*due, *(segment_of[user] for user in users[index])])
        kept = {store.node for store in stores if store.code is None}  # in memory
        for index, segment in segment_of.items():
            if any(segment_of[user] > segment for user in users[index]):
                kept.add(index)
        for store in stores:
            if store.code is not None and store.node in segment_of:
                if store.code >> 16 not in (Kind.GRAD_VECTOR, Kind.CARRY):
                    memory.setdefault(store.node, store.code)
                elif segment_of[store.node] < store.segment:
                    kept.add(store.node)
        slots.count(nodes[index].args for index in users)
        programs = []
        for segment in range(last + 1):
            here = sorted(index for index, at in segment_of.items() if at == segment)
            due_here = [
                store for store in stores if self.segment(store, segment_of) == segment and store.code is not None
            ]
            programs.append(self.program(nodes, here, due_here, given, memory, kept, slots))
        return programs

    @staticmethod
    def users(nodes: dict[int, Node], wanted: Iterable[int], given: dict[int, int]) -> dict[int, list[int]]:
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

    @staticmethod
    def segment(store: Store, segment_of: dict[int, int]) -> int:
        """Return the segment in which a store is done: that of its node, but for carries, which others may still read."""
        is_late = store.code is not None and store.code >> 16 == Kind.CARRY
        return store.segment if is_late else segment_of.get(store.node, store.segment)

    def program(
        self,
        nodes: dict[int, Node],
        here: list[int],
        stores: list[Store],
        given: dict[int, int],
        memory: dict[int, int],
        kept: set[int],
        slots: "_Slots",
    ) -> list[Instruction]:
        """Return the program of a segment that computes the nodes `here`."""
        program: list[Instruction] = []
        ends = {arg: index for index in here for arg in nodes[index].args}
        registers: dict[int, int] = {}
        free: list[int] = []
        used = 0

        def code(index: int) -> int:
            found = given.get(index, memory.get(index))
            return Kind.REGISTER(registers[index]) if found is None else found

        def register(index: int) -> int:
            nonlocal used
            used += not free
            registers[index] = free.pop() if free else used - 1
            self.plan.registers = max(self.plan.registers, used)
            return Kind.REGISTER(registers[index])

        held = {store.node for store in stores}
        for index in here:
            args = [code(arg) for arg in nodes[index].args]
            for arg in nodes[index].args:
                slots.read(arg)
            for arg in set(nodes[index].args):
                if arg in registers and ends[arg] == index and arg not in held:
                    free.append(registers[arg])
            if index in kept and index not in memory:
                memory[index] = slots.take()
            target = memory[index] if index in memory else register(index)
            program.append(self.instruction(nodes[index], index, target, args))
        moves = [(code(store.node), store.code or 0) for store in stores if code(store.node) != store.code]
        for at, (source, target) in enumerate(moves):
            if any(source == other for _, other in moves[:at]):  # a carry that another move overwrites before
                moves[at] = (register(-1 - at), target)
                program.append((OPS.index("move"), moves[at][0], source, 0, 0, 0))
        for source, target in moves:
            op = "accumulate" if target >> 16 == Kind.GRAD_VECTOR else "move"
            program.append((OPS.index(op), target, source, 0, 0, 0))
        return program

    def instruction(self, node: Node, index: int, target: int, args: list[int]) -> Instruction:
        scalar = self.scalars.get(index, 0)
        if node.op == "normalize_grad":
            scalar = self.scalars[node.args[1]]
        a, b, c = (*args, 0, 0, 0)[:3]
        return OPS.index(node.op), target, a, b, c, scalar


class _Slots:
    """Slots for values of the forward pass, in place of sums that nobody reads any more; or spills of the backward pass."""

    def __init__(self, plan: Plan, sums: dict[int, int] | None) -> None:
        self.plan, self.sums, self.reads = plan, sums, Counter[int]()
        self.free: list[int] = []

    def count(self, args: Iterable[tuple[int, ...]]) -> None:
        """Count how often instructions will read each node."""
        for several in args:
            self.reads.update(several)

    def read(self, index: int) -> None:
        """Note that an instruction reads a node."""
        self.reads[index] -= 1
        if self.sums and index in self.sums and self.reads[index] == 0:
            self.free.append(self.sums[index])

    def take(self) -> int:
        """Return the code of a slot."""
        if self.free:
            return self.free.pop()
        if self.sums is None:
            self.plan.spills += 1
            return Kind.SPILL(self.plan.spills - 1)
        self.plan.slots += 1
        return Kind.SLOT(self.plan.slots - 1)
