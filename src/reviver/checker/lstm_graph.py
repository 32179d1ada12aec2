"""Read the steps of an LSTM in the graph that autograd recorded, whatever its classes are called and how they hold weights.

A step is a sum c = f * c' + i * g and a product h = o * tanh(c). Its gates are functions of sums of products, in which h of
the step before has a part, and c of it none. Steps that follow each other are a chain, one for each layer and direction.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise, product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.pieces import Failure, Unclear

MAX_NODES, MAX_STEPS = 100_000, 2000
"""Nodes of a graph, and steps in it, that are looked at."""
CUTS = "Slice|Select|Split|Chunk|Unbind|Index"
"""Nodes that take a part of a tensor."""
MOVES = f"{CUTS}|View|Reshape|Transpose|^TBackward|Permute|queeze|Expand|Clone|ToCopy|Alias|Strided|Repeat|Stack|Cat"
"""Nodes that move numbers and do not change them."""
SUMS = f"{MOVES}|Add|Sub|Mm|Mv|Dot|Linear|GateInput|Mean|Neg|Dropout|Mul|Div|CopySlices"
"""Nodes of which sums of products consist, if one factor is a weight."""
WEIGHT = "AccumulateGrad"
NAMED = {each.name: each for each in (*wrong.SEQUENCE_MISTAKES, *wrong.SEQUENCE_GRADIENT_MISTAKES)}
NO_TANH = NAMED["tanh(c) is missing in the hidden state"]
SIGMOID, RELU = (NAMED[f"the cell candidate has a {name}"] for name in ("sigmoid", "relu"))
VARIANT = "hand in the plain LSTM, whose gates are sigmoids and tanh of W x + U h + b"


class Factor(NamedTuple):
    """A factor of a product."""

    node: Any
    """What computed it, before others moved its numbers; None for a constant."""
    value: Tensor | None

    def name(self) -> str:
        """Return the name of the node."""
        return name_of(self.node)


class GraphStep(NamedTuple):
    """A step in a graph: the node that computes c, those of f, i and g, c before it, and the value of c."""

    c: Any
    gates: tuple[Any, ...]
    before: Factor
    value: Tensor | None


class Shown(NamedTuple):
    """What shows a cell state: the nodes of h and of o, and whether o multiplies tanh(c)."""

    h: Any
    o: Any
    has_tanh: bool


class GraphOfSteps(NamedTuple):
    """What a graph shows of an LSTM."""

    problem: Exception | None
    lengths: tuple[int, ...]
    """Steps of each chain."""
    sigmoids: int
    """How often a sigmoid is in the graph."""
    weights: tuple[Tensor, ...]

    def verdict(self, how: str) -> str:
        """Return a line about it. Raises the problem."""
        if self.problem:
            raise self.problem
        return f"each of {max(self.lengths)} steps takes h and c of the step before, with the gates of the equations, {how}"


class Sigmoids(TorchFunctionMode):
    """Counts how often sigmoids are computed in its context, whether their results are used or not."""

    number = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a call."""
        self.number += "sigmoid" in getattr(function, "__name__", "")
        return function(*args, **(kwargs or {}))


def name_of(node: Any) -> str:
    """Return the name of a node, empty for a constant."""
    return node.name() if node is not None else ""


def inputs_of(node: Any) -> list[Any]:
    """Return the nodes before a node, without constants."""
    return [each for each, _ in node.next_functions if each is not None]


def source_of(node: Any) -> Any:
    """Return the node that computed the numbers that others moved."""
    while re.search(MOVES, name_of(node)) and len(inputs_of(node)) == 1:
        node = inputs_of(node)[0]
    return node


def saved(node: Any, name: str) -> Tensor | None:
    """Return a tensor that a node keeps for backward; None if it has none, or it was overwritten."""
    with suppress(RuntimeError):
        value = getattr(node, f"_saved_{name}", None)
        return value.detach() if isinstance(value, Tensor) else None
    return None


def factors_of(node: Any) -> list[Factor]:
    """Return the two factors of a product; none of another node."""
    if not re.match("MulBackward", name_of(node)):
        return []
    nodes, values = (source_of(each) for each, _ in node.next_functions), (saved(node, "self"), saved(node, "other"))
    return [
        Factor(each, saved(each, "result") if value is None else value)
        for each, value in zip(nodes, values, strict=True)
    ]


def find_steps(nodes: Iterable[Any]) -> Iterator[GraphStep]:
    """Yield the sums f * c' + i * g, where g may also be a sigmoid or a relu."""
    for node in nodes:
        terms = [factors_of(source_of(each)) for each, _ in node.next_functions] if "Add" in name_of(node) else []
        if len(terms) != 2 or not all(terms):
            continue
        for (keep, write), turn, other in product((terms, terms[::-1]), (1, -1), (1, -1)):
            (f, before), (i, g) = keep[::turn], write[::other]
            is_gated = "Sigmoid" in f.name() and "Sigmoid" in i.name()
            if is_gated and re.search("Tanh|Sigmoid|Relu", g.name()) and not re.search("Sigmoid|Tanh", before.name()):
                written = i.value * g.value if i.value is not None and g.value is not None else None
                kept = before.value if before.value is None or not before.value.any() else f.value
                is_known = written is not None and kept is not None and before.value is not None
                yield GraphStep(
                    node, (f.node, i.node, g.node), before, written + kept * before.value if is_known else None
                )


def is_same(a: Tensor | None, b: Tensor | None) -> bool:
    """Return whether two tensors hold the same numbers, which are not all zero."""
    if a is None or b is None or a.numel() != b.numel() or not bool(a.any()):
        return False
    return bool(torch.allclose(a.flatten(), b.flatten().to(a.dtype), rtol=1e-4, atol=1e-6))


def read_graph(results: Iterable[Tensor]) -> GraphOfSteps | None:
    """Return what the graph of results shows of an LSTM; None if there is no step of one in it."""
    nodes, todo = dict[Any, None](), [each.grad_fn for each in results if each.grad_fn is not None]
    while todo and len(nodes) < MAX_NODES:
        if (node := todo.pop()) not in nodes:
            nodes[node] = None
            todo += inputs_of(node)
    steps = {step.c: step for step in find_steps(nodes)}
    if not steps or len(steps) > MAX_STEPS:
        return None
    before = {step.c: step_before(step, steps) for step in steps.values()}
    ends = steps.keys() - {each.c for each in before.values() if each}
    chains = [list(follow(steps[end], before))[::-1] for end in ends]
    shown = find_shown(nodes, steps)
    states = {*shown, *(each.h for each in shown.values())}
    sums = {c: [read_sum(gate, states) for gate in (*steps[c].gates, each.o)] for c, each in shown.items()}
    problem = None
    try:
        check_chains(chains, shown, sums)
        check_shown(nodes, steps, shown, sums, states)
    except (Failure, Unclear) as error:
        problem = error
    weights = {key: weight for gates in sums.values() for each in gates for key, (weight, _) in each.weights.items()}
    sigmoids = sum("Sigmoid" in name_of(node) for node in nodes)
    return GraphOfSteps(problem, tuple(map(len, chains)), sigmoids, tuple(weights.values()))


def step_before(step: GraphStep, steps: Mapping[Any, GraphStep]) -> GraphStep | None:
    """Return the step whose c a step begins with, also where it is copied or detached; None if it is the first."""
    others = (each for each in steps.values() if each is not step and is_same(each.value, step.before.value))
    return steps.get(step.before.node) or next(others, None)


def follow(step: GraphStep | None, before: Mapping[Any, GraphStep | None]) -> Iterator[GraphStep]:
    """Yield a step and those before it."""
    for _ in before:
        if step is not None:
            yield step
            step = before[step.c]


def find_shown(nodes: Iterable[Any], steps: Mapping[Any, GraphStep]) -> dict[Any, Shown]:
    """Return what shows the cell states, by their nodes."""
    found, kept = dict[Any, Shown](), {source_of(each) for c in steps for each in inputs_of(c)}
    for node in nodes:
        pair = factors_of(node) if node not in kept else []
        for o, shown in (pair, pair[::-1]) if pair else ():
            has_tanh = "Tanh" in shown.name()
            c = source_of(shown.node.next_functions[0][0]) if has_tanh else shown.node
            if has_tanh and c not in steps:  # it was copied
                values = ((each.c, each.value.tanh()) for each in steps.values() if each.value is not None)
                c = next((c for c, value in values if is_same(value, shown.value)), None)
            if "Sigmoid" in o.name() and c in steps:
                found.setdefault(c, Shown(node, o.node, has_tanh))
    return found


class GateInput(NamedTuple):
    """What has a part in the sum of products that a gate is a function of."""

    states: set[Any]
    weights: dict[int, tuple[Tensor, bool]]
    """Parameters, and whether only a part of each is used."""
    is_plain: bool
    """Whether nothing else than sums and products stands before it."""


def read_sum(gate: Any, states: Collection[Any]) -> GateInput:
    """Return what a gate reads, up to the nodes of h and c."""
    found, weights, seen, is_plain = set[Any](), dict[int, tuple[Tensor, bool]](), set[Any](), True
    todo = [(each, False) for each in inputs_of(gate)]
    while todo:
        node, is_cut = each = todo.pop()
        name, sources = name_of(node), [source_of(inner) for inner, _ in node.next_functions]
        if each in seen:
            continue
        seen.add(each)
        if node in states:
            found.add(node)
        elif WEIGHT in name:
            weights[id(node.variable)] = (node.variable, weights.get(id(node.variable), (None, True))[1] and is_cut)
        elif not re.search(SUMS, name) or (
            re.match("Mul|Div", name) and not any(inner is None or WEIGHT in name_of(inner) for inner in sources)
        ):
            is_plain = is_plain and "Embedding" in name
        else:
            todo += [(inner, is_cut or bool(re.search(CUTS, name))) for inner in inputs_of(node)]
    return GateInput(found, weights, is_plain)


def check_chains(
    chains: Sequence[list[GraphStep]], shown: Mapping[Any, Shown], sums: Mapping[Any, Sequence[GateInput]]
) -> None:
    """Check the steps of a graph, and how they follow each other. Raises Failure or Unclear."""
    steps = [step for chain in chains for step in chain]
    if any(step.c not in shown for step in steps):
        raise Unclear("a cell state is not shown by an output gate", VARIANT)
    if all(map(share_one, sums.values())):
        raise Failure("a weight has a part in two of the four sums", wrong.SHARED_WEIGHT)
    if any(map(share_weights, sums.values())):
        raise Unclear("gates share weights, or have different numbers of them", VARIANT)
    parts = {c: tuple(frozenset(each.weights) for each in gates) for c, gates in sums.items()}
    if len(steps) == len(chains) > len({*parts.values()}) + 1:  # more than a step of each layer
        layers = {each.h: parts[c] for c, each in shown.items()}
        reads = [(c, node) for c, gates in sums.items() for each in gates for node in each.states]
        reads_h = any(layers.get(node) == parts[c] for c, node in reads)
        text = "each step begins with another c than the one before ended with"
        raise Failure(text, NAMED["c is not carried but reset at every step"] if reads_h else wrong.RESET)
    for chain in chains:
        changes = sum(parts[old.c] != parts[new.c] for old, new in pairwise(chain))
        if changes > 1:  # a decoder may begin with the state of an encoder
            text = f"the weights change {changes} times in a chain of {len(chain)} steps"
            raise Failure(text, wrong.SHARED_STATE)
    for chain in chains:
        check_chain(chain, shown, sums)
    candidates = {name_of(step.gates[2]) for step in steps}
    found = {(kind, each.has_tanh) for kind in candidates for each in shown.values()}
    for kind, has_tanh, mistake in (("Tanh", False, NO_TANH), ("Sigmoid", True, SIGMOID), ("Relu", True, RELU)):
        if all(kind in name and has_tanh == has for name, has in found):
            raise Failure("all else in its graph is an LSTM", mistake)
    if not all("Tanh" in name and has for name, has in found):
        raise Unclear("its steps are not those of an LSTM, or not alike", VARIANT)


def check_shown(
    nodes: Iterable[Any],
    steps: Mapping[Any, GraphStep],
    shown: Mapping[Any, Shown],
    sums: Mapping[Any, Sequence[GateInput]],
    states: Collection[Any],
) -> None:
    """Check that each output gate multiplies tanh(c). Raises Failure."""
    gates = {each for step in steps.values() for each in step.gates} | {each.o for each in shown.values()}
    known = [{*each[3].weights} for each in sums.values()]
    for node in (each for each in nodes if "Sigmoid" in name_of(each) and each not in gates):
        found = read_sum(node, states)
        if found.states and {*found.weights} in known:
            raise Failure("at the end an output gate is used by itself", wrong.GATE_SHOWN)


def share_weights(gates: Sequence[GateInput]) -> bool:
    """Return whether gates have a weight in common, beside those of a layer that makes x, or not as many as others."""
    common = set.intersection(*({*each.weights} for each in gates))
    is_layer = any(weight.ndim > 1 for each in gates for key, (weight, _) in each.weights.items() if key in common)
    whole = [key for each in gates for key, (_, is_cut) in each.weights.items() if not is_cut]
    own = [key for key in whole if key not in common or not is_layer]
    return len(own) > len(set(own)) or (not own and bool(whole)) or len({len(each.weights) for each in gates}) > 1


def share_one(gates: Sequence[GateInput]) -> bool:
    """Return whether just two gates have weights in common, and all have as many as the others."""
    whole = {key for each in gates for key, (_, is_cut) in each.weights.items() if not is_cut}
    holders = [[at for at, each in enumerate(gates) if key in each.weights] for key in whole]
    pairs = {tuple(each) for each in holders if len(each) > 1}
    return len(pairs) == 1 and len(pairs.pop()) == 2 and len({len(each.weights) for each in gates}) == 1


def check_chain(
    chain: Sequence[GraphStep], shown: Mapping[Any, Shown], sums: Mapping[Any, Sequence[GateInput]]
) -> None:
    """Check what each step takes from the one before. Raises Failure or Unclear."""
    first, pairs = chain[0].before, list(pairwise(chain))
    if first.node is None and first.value is not None and len(first.value.unique()) > 1:
        raise Unclear("the state before the first step is not zero", "begin with zeros")
    reads_c = any(old.c in each.states for old, new in pairs for each in sums[new.c])
    if reads_c or any(step.c in each.states for step in chain for each in sums[step.c]):
        raise Unclear("its gates read the cell state, too", VARIANT)
    reads = [shown[old.c].h in each.states for old, new in pairs for each in sums[new.c]]
    is_plain = all(each.is_plain for _, new in pairs for each in sums[new.c])
    is_cut = bool(pairs) and all(new.before.node is None for _, new in pairs)
    if not all(reads):
        if any(reads) or not is_plain:
            raise Unclear("not all gates read h of the step before as a sum of products", VARIANT)
        name = "no gradient flows back from step to step" if is_cut else "h is not carried but reset at every step"
        raise Failure("no gate reads h of the step before", NAMED[name])
    if is_cut:
        raise Failure("c of the step before is a constant for autograd", NAMED["no gradient flows back through c"])
