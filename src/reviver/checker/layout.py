"""Which parameters of a module are the weights of an LSTM: by their shapes, their names, or else every order of the gates.

A module may hold them as W_i, U_i, b_i and so on, as linear layers of each gate, or stacked in one matrix.

Shapes: I input size, H hidden size, C classes.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reviver.checker.pieces import Failure
from reviver.lstm.cell import LSTMWeights

I, H, C = 3, 5, 10  # noqa: E741
"""Sizes at which all shapes differ."""
LETTERS = "ifco"
"""The gates in the names of the weights; c is the cell candidate."""
WORDS = {"input": "i", "in": "i", "forget": "f", "cell": "c", "cand": "c", "candidate": "c", "new": "c", "g": "c"}
WORDS |= {"output": "o", "out": "o"} | {letter: letter for letter in LETTERS}
BIAS_PARTS = (0.25, 0.75)
"""What each of two biases gets of the sum."""


class ParameterPart(NamedTuple):
    """What a parameter consists of."""

    kinds: tuple[str, ...]
    """Kinds of weights from left to right: W, U or both; or b; or out."""
    gates: str
    """Gates from top to bottom."""
    is_transposed: bool
    fraction: float = 1.0
    """Fraction of the bias that this one holds."""


class Layout(NamedTuple):
    """The parts of the parameters of a module, by name."""

    parts: Mapping[str, ParameterPart]

    def assemble(self, w: LSTMWeights, W_out: Tensor | None = None, b_out: Tensor | None = None) -> dict[str, Tensor]:
        """Return the parameters that hold these weights, of any sizes; gradients flow through."""
        weights = w._asdict()
        result = {}
        for name, part in self.parts.items():
            if part.kinds == ("out",):
                tensor = b_out if part.gates == "b" else W_out
                assert tensor is not None
            else:
                rows = [torch.cat([weights[f"{kind}_{gate}"] for kind in part.kinds], dim=-1) for gate in part.gates]
                tensor = torch.cat(rows) * part.fraction
            result[name] = tensor.T if part.is_transposed else tensor
        return result

    def read(self, parameters: Mapping[str, Tensor], input_size: int) -> dict[str, Tensor]:
        """Return the weights by their names that are in the parameters, biases as sums."""
        result: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            if part.kinds == ("out",):
                continue
            tensor = parameters[name].detach().T if part.is_transposed else parameters[name].detach()
            for gate, rows in zip(part.gates, tensor.chunk(len(part.gates)), strict=True):
                sizes = [input_size if kind == "W" else rows.shape[-1] - input_size for kind in part.kinds]
                blocks = rows.split(sizes, dim=1) if len(sizes) > 1 else [rows]
                for kind, block in zip(part.kinds, blocks, strict=True):
                    key = f"{kind}_{gate}"
                    result[key] = result[key] + block if key in result else block
        return result


def find_layouts(module: nn.Module) -> list[Layout]:
    """Return all layouts that a module of sizes I, H and C may have; raise Failure if there is none."""
    shapes = {name: tuple(value.shape) for name, value in module.named_parameters()}
    is_transposed = any(shape in {(I, H), (I, 4 * H), (I + H, H), (I + H, 4 * H)} for shape in shapes.values())
    parts: dict[str, ParameterPart] = {}
    for name, shape in shapes.items():
        rows, *columns = shape[::-1] if is_transposed and len(shape) == 2 else shape
        kinds = {(I,): ("W",), (H,): ("U",), (I + H,): ("W", "U"), (): ("b",)}.get(tuple(columns))
        if shape in {(C,), (C, H), (H, C)}:
            parts[name] = ParameterPart(("out",), "W" if columns else "b", shape == (H, C))
        elif kinds and rows in {H, 4 * H}:
            parts[name] = ParameterPart(kinds, "" if rows == H else LETTERS, is_transposed and len(shape) == 2)
        else:
            raise Failure(f"{name} of shape {list(shape)} is none of W [H, I], U [H, H] and b [H] for I = {I}, H = {H}")
    for kind in "WUb":
        count = sum(len(part.gates) or 1 for part in parts.values() if kind in part.kinds)
        if count != 4 and (kind, count) != ("b", 8):
            raise Failure(
                f"each of the four gates must have one {kind} of the shape in the text, found {count} of them"
            )
    places = find_places({name: "".join(part.kinds) for name, part in parts.items() if not part.gates})
    is_known = all(isinstance(place, str) for place in places.values()) and all(
        part.gates != LETTERS for part in parts.values()
    )
    orders = [LETTERS] if is_known else ["".join(order) for order in permutations(LETTERS)]
    return [arrange(found, places, order) for order in orders for found in both_orders(parts)]


def both_orders(parts: Mapping[str, ParameterPart]) -> Iterator[Mapping[str, ParameterPart]]:
    """Yield the parts, and again with U before W where a matrix holds both."""
    yield parts
    if any(len(part.kinds) == 2 for part in parts.values()):
        yield {name: part._replace(kinds=part.kinds[::-1]) for name, part in parts.items()}


def find_places(kinds: Mapping[str, str]) -> dict[str, str | int]:
    """Return which gate each parameter of a single gate belongs to: its letter where names tell, else its place from 0 to 3."""
    places: dict[str, str | int] = {}
    for kind in dict.fromkeys(kinds.values()):
        names = [name for name in kinds if kinds[name] == kind]
        words = {name: re.findall("[a-z]+", name.lower()) for name in names}
        common = set.intersection(*map(set, words.values()))
        letters = {
            name: next((WORDS[word] for word in words[name] if word in WORDS and word not in common), "")
            or next((WORDS[word[-1]] for word in words[name] if word[-1] in WORDS and word not in common), "")
            for name in names
        }
        is_told = all(list(letters.values()).count(letter) == len(names) // 4 for letter in LETTERS)
        places |= letters if is_told else {name: index % 4 for index, name in enumerate(names)}
    for name in places:  # a linear layer is that of one gate
        weight = name.removesuffix("bias") + "weight"
        if name.endswith("bias") and weight in places:
            places[name] = places[weight]
    return places


def arrange(parts: Mapping[str, ParameterPart], places: Mapping[str, str | int], order: str) -> Layout:
    """Return the layout in which gates that no name tells come in an `order`."""
    result: dict[str, ParameterPart] = {}
    num_biases = sum(len(part.gates) or 1 for part in parts.values() if part.kinds == ("b",))
    has_bias: set[str] = set()
    for name, part in parts.items():
        place = places.get(name, "")
        gates = order[place] if isinstance(place, int) else place or (order if part.gates == LETTERS else part.gates)
        fraction = BIAS_PARTS[gates[0] in has_bias] if part.kinds == ("b",) and num_biases == 8 else 1.0
        has_bias |= set(gates) if part.kinds == ("b",) else set()
        result[name] = part._replace(gates=gates, fraction=fraction)
    return Layout(result)
