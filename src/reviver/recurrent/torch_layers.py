"""Which cells `torch.nn` has: their weights in its order, and whether a text is such a cell under other names.

Shapes: I input size, H hidden size.
"""

from collections import Counter
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reviver.recurrent.grammar import Cell, built_in_cell, parse

Names = dict[str, str]
"""Names of a text for the names of another one: states, matrices and vectors."""


class TorchCell(NamedTuple):
    """A layer of torch whose cell is a text: the weights of the text that each of its parameters holds, in their order.

    A name "" stands for zeros; a vector whose name is in both biases is their sum.
    """

    layer: type[nn.RNNBase]
    cell: Cell
    weight_ih: tuple[str, ...]
    weight_hh: tuple[str, ...]
    bias_ih: tuple[str, ...]
    bias_hh: tuple[str, ...]


_GATES = ("i", "f", "c", "o")
_W, _U, _B = (tuple(f"{letter}_{gate}" for gate in _GATES) for letter in "WUb")
_GRU = (("W_r", "W_z", "W_n"), ("U_r", "U_z", "U_n"), ("b_r", "b_z", "b_n"), ("b_r", "b_z", "a_n"))
TORCH_CELLS = {
    "LSTM": TorchCell(nn.LSTM, built_in_cell("lstm"), _W, _U, _B, _B),
    "GRU": TorchCell(nn.GRU, built_in_cell("gru-cudnn"), *_GRU),
    "RNN_TANH": TorchCell(nn.RNN, built_in_cell("rnn"), ("W",), ("U",), ("b_h",), ("b_h",)),
    "RNN_RELU": TorchCell(nn.RNN, parse("h = relu(W @ x + U @ h + b_h)", "relu"), ("W",), ("U",), ("b_h",), ("b_h",)),
}
"""By the `mode` of the layer."""


def find_torch_cell(cell: Cell) -> tuple[str, Names] | None:
    """Return the mode of the layer of torch with this cell, and the names of `cell` for those of its text; None without one."""
    for mode, known in TORCH_CELLS.items():
        names = match(known.cell, cell)
        if names is not None:
            return mode, names
    return None


def split(mode: str, layer: nn.RNNBase, suffix: str) -> dict[str, Tensor]:
    """Return copies of the weights of a layer of torch by the names of its text; `suffix` is such as `_l0_reverse`."""
    known, found = TORCH_CELLS[mode], dict[str, Tensor]()
    for kind in ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if layer.bias else ())):
        held: tuple[str, ...] = getattr(known, kind)
        for name, part in zip(held, getattr(layer, kind + suffix).detach().chunk(len(held)), strict=True):
            found[name] = found[name] + part if name in found else part.clone()
    return found


def join(mode: str, names: Names, weights: dict[str, Tensor]) -> list[Tensor]:
    """Return the parameters of a layer of torch, weight_ih, weight_hh, bias_ih and bias_hh, from the weights of a text."""
    known = TORCH_CELLS[mode]
    zeros = next(iter(weights.values())).new_zeros(len(next(iter(weights.values()))))
    second = ["" if name in known.bias_ih else name for name in known.bias_hh]
    rows = known.weight_ih, known.weight_hh, known.bias_ih, second
    return [torch.cat([weights[names[name]] if name else zeros for name in held]) for held in rows]


def match(known: Cell, cell: Cell) -> Names | None:
    """Return the names of `cell` for those of `known` if its step is the same but for names, order of terms and of lines."""
    if _operations(known) != _operations(cell):
        return None
    names: Names | None = {"h": "h"}
    done: set[str] = set()
    while names is not None and (waiting := [name for name in known.states if name in names and name not in done]):
        done.add(waiting[0])
        if names[waiting[0]] not in cell.states:
            return None
        pair = known.quantities[waiting[0]].node, cell.quantities[names[waiting[0]]].node
        names = _unify(known, cell, *pair, names)
    return names if names is not None and len(done) == len(known.states) == len(cell.states) else None


def _operations(cell: Cell) -> Counter[str]:
    return Counter(node.op for node in cell.graph.nodes)


def _terms(cell: Cell, index: int) -> list[int]:
    """Return the terms of a sum or the factors of a product, in one list, or else the arguments of a node."""
    op, args, _ = cell.graph.nodes[index]
    if op not in ("add", "mul"):
        return [*args]
    return [term for arg in args for term in (_terms(cell, arg) if cell.graph.nodes[arg].op == op else [arg])]


def _unify(known: Cell, cell: Cell, ours: int, theirs: int, names: Names) -> Names | None:
    (op, _, value), (other_op, _, other_value) = known.graph.nodes[ours], cell.graph.nodes[theirs]
    if op != other_op or (op == "number" and value != other_value):
        return None
    if op in ("state", "vector", "matmul"):
        name, other = str(value), str(other_value)
        if names.get(name, other) != other or (name not in names and other in names.values()):
            return None
        names = {**names, name: other}
    terms, others = _terms(known, ours), _terms(cell, theirs)
    if len(terms) != len(others):
        return None
    for order in permutations(others) if op in ("add", "mul") else [others]:
        found: Names | None = names
        for pair in zip(terms, order, strict=True):
            found = None if found is None else _unify(known, cell, *pair, found)
        if found is not None:
            return found
    return None
