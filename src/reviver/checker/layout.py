"""Which parameters of a module are the weights of an LSTM: by their shapes, their names, or else every order of the gates.

A module may hold them as W_i, U_i, b_i and so on, as linear layers of each gate, or stacked; matrices either way round.

Shapes: I input size, H hidden size, C classes, B batch.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import permutations, product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reviver.checker.conventions import LSTMSizes
from reviver.checker.lstm_mistakes import BIAS_PER_EXAMPLE
from reviver.checker.pieces import Failure, Unclear
from reviver.recurrent.lstm_step import LSTMWeights

LETTERS = "ifco"
"""The gates in the names of the weights; c is the cell candidate."""
ORDERS = ["".join(order) for order in permutations(LETTERS)]
CANDIDATE_FIRST = "cfio"
"""The order of files that call the cell candidate the input, and its gate something else."""
WORDS = {"input": "i", "in": "i", "forget": "f", "cell": "c", "cand": "c", "candidate": "c", "new": "c", "g": "c"}
WORDS |= {"output": "o", "out": "o", "modulation": "c"} | {letter: letter for letter in LETTERS}
BIAS_PARTS = {1: (1.0,), 2: (0.25, 0.75), 3: (0.125, 0.25, 0.625)}
"""What each of several biases that add up gets of the sum."""
IS_STATE = re.compile(r"init|(^|\.)([hc]|hidden|cell)$|(^|[._])[hc]_?[t0]$|[hc]_?(prev|state|start)|(prev|last)_?[hc]")
"""Names of parameters that hold the state before the first step."""
MATRICES = ("rk", "kr", "sk", "ks", "grk", "gkr", "1rk", "1kr")
VECTORS = ("r", "1r", "r1", "s", "1s", "s1", "gr", "g1r", "11r")
"""Axes that a matrix and a vector may have, see `ParameterPart`."""
NEEDED = {"W": ("[H, I]", {1, 4}), "U": ("[H, H]", {1, 4}), "b": ("[H]", {0, 1, 2, 4, 8, 12})}
"""Shape of each kind of weights, and how many a module may have."""


class ParameterPart(NamedTuple):
    """What a parameter consists of."""

    kinds: str
    """Kinds of weights from left to right: W, U or both; or b; or V, the output matrix, or v, its bias."""
    gates: str
    """Gates from top to bottom."""
    axes: str
    """Its dimensions: gates g, rows r, or s for the rows of all gates, columns k, and 1."""
    fraction: float = 1.0
    """Fraction of the bias that this one holds."""

    def views(self, parameter: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the weights that the parameter holds by their names, each as a view of it: [rows, columns] or [rows]."""
        axes = self.axes
        if "s" in axes:
            parameter, axes = parameter.unflatten(axes.index("s"), (4, -1)), axes.replace("s", "gr")
        parameter = parameter.view([size for size, axis in zip(parameter.shape, axes, strict=True) if axis != "1"])
        axes = axes.replace("1", "")
        gates = parameter.permute([axes.index(axis) for axis in "grk" if axis in axes])
        for index, gate in enumerate(self.gates or [""]):
            weight = gates[index] if "g" in axes else gates
            num_units, num_columns = weight.shape[0], weight.shape[-1]
            start = 0
            for kind in self.kinds:
                size = num_columns if len(self.kinds) == 1 else num_units if kind == "U" else num_columns - num_units
                yield f"{kind}_{gate}".rstrip("_"), weight[..., start : start + size]
                start += size


class Layout(NamedTuple):
    """The parts of the parameters of a module, by name."""

    parts: Mapping[str, ParameterPart]
    remarks: tuple[str, ...] = ()
    is_named: bool = False
    """Whether names tell the gates apart."""

    def assemble(self, module: nn.Module, w: LSTMWeights, W_out: Tensor, b_out: Tensor) -> dict[str, Tensor]:
        """Return parameters for a module that hold these weights, others being 0; gradients flow through."""
        result = {name: torch.zeros(each.shape) for name, each in module.named_parameters() if each.requires_grad}
        values = by_name(w) | {"V": W_out, "v": b_out}
        for name, part in self.parts.items():
            for weight, view in part.views(result[name]):
                view.copy_(part.fraction * values[weight])
        return result

    def read(self, module: nn.Module) -> dict[str, Tensor]:
        """Return the weights that the parameters of a module hold, by their names, biases as sums."""
        found: dict[str, Tensor] = {}
        parameters = dict(module.named_parameters())
        for name, part in self.parts.items():
            for weight, view in part.views(parameters[name].detach()):
                found[weight] = found.get(weight, 0) + view
        return found


def by_name(w: LSTMWeights) -> dict[str, Tensor]:
    """Return the weights of a cell without a projection by name."""
    return {name: value for name, value in w._asdict().items() if value is not None}


def count(parts: Mapping[str, ParameterPart]) -> Counter[str]:
    """Return how many weights of each kind some parameters hold."""
    return Counter(kind for part in parts.values() for kind in part.kinds * (len(part.gates) or 1))


def known_shapes(input_size: int, sizes: LSTMSizes) -> dict[tuple[int, ...], ParameterPart]:
    """Return the shapes that the weights of an LSTM may have, each with what a parameter of this shape holds."""
    found: dict[tuple[int, ...], ParameterPart] = {}
    I, H, C = input_size, sizes.H, sizes.C  # noqa: E741
    for kinds, rows, columns in (("V", C, H), ("v", C, 0), ("W", H, I), ("U", H, H), ("WU", H, I + H), ("b", H, 0)):
        length = {"g": 4, "s": 4 * rows, "r": rows, "k": columns, "1": 1}
        for axes in MATRICES if columns else VECTORS:
            is_stacked = "g" in axes or "s" in axes
            if not is_stacked or kinds not in "Vv":
                found.setdefault(tuple(length[axis] for axis in axes), ParameterPart(kinds, LETTERS * is_stacked, axes))
    return found


def find_parts(shapes: Mapping[str, tuple[int, ...]], input_size: int, sizes: LSTMSizes) -> dict[str, ParameterPart]:
    """Return what parameters hold by their shapes, those that are weights of an LSTM. Raises Failure."""
    B, H, C = sizes.B, sizes.H, sizes.C
    per_example = {(B, H), (4, B, H), (B, C), (B, 4 * H), (H, B), (C, B)}
    per_example |= {(B,)} if list(shapes.values()).count((B,)) >= 4 else set()
    for name, shape in shapes.items() if B not in (H, 128) else ():  # 128 is tried for code that has it
        if shape in per_example and not IS_STATE.search(name.lower()):
            raise Failure(f"{name} of shape {list(shape)} has the batch size {B} in it", BIAS_PER_EXAMPLE)
    known = known_shapes(input_size, sizes)
    return {name: known[shape] for name, shape in shapes.items() if shape in known}


def infer_sizes(shapes: Mapping[str, tuple[int, ...]], sizes: LSTMSizes, given: str) -> LSTMSizes:
    """Return the sizes with those that are written into the code, which the shapes tell; those that are `given` stay."""
    numbers = sorted({number for shape in shapes.values() for number in shape}, reverse=True)
    choices = {"H": [*numbers, *(n // 4 for n in numbers)], "I": [*numbers, *(n - H for n in numbers for H in numbers)]}
    choices |= {"C": numbers}
    choices = {key: [getattr(sizes, key), *(each if key not in given else ())] for key, each in choices.items()}
    for each in product(*choices.values()):
        found = sizes._replace(**dict(zip(choices, each, strict=True)))
        parts = find_parts(shapes, found.I, found) if min(each) > 0 else {}
        number = count(parts)
        if len(parts) == len(shapes) and (number["W"], number["U"]) == (4, 4) and number["V"] < 2:
            return found
    return sizes


def find_layouts(
    shapes: Mapping[str, tuple[int, ...]], input_size: int, sizes: LSTMSizes, unused: Collection[str] = ()
) -> Iterator[Layout]:
    """Yield the layouts that parameters of these shapes may have, the likeliest first. Raises Failure, or Unclear if none.

    If there are too many of a kind, those that are `unused` have no part in it, nor do states.
    """
    parts = find_parts(shapes, input_size, sizes)
    remarks = tuple(f"{name} has no part in the result" for name in sorted(set(unused) & parts.keys()))
    for extra in (set(unused), {name for name in parts if IS_STATE.search(name.lower())}):
        number = count(parts)
        unclear = {kind for kind, (_, numbers) in NEEDED.items() if number[kind] not in numbers}
        parts = {name: part for name, part in parts.items() if name not in extra or not unclear & set(part.kinds)}
    number = count(parts)
    for kind, (shape, numbers) in NEEDED.items():
        if number[kind] not in numbers:
            held = [name for name, part in parts.items() if kind in part.kinds]
            raise Unclear(
                f"{number[kind]} parameters have the shape {shape} of {kind}, where four gates need four "
                f"(H = {sizes.H}, I = {input_size}: {', '.join(held or [f'{n} {list(s)}' for n, s in shapes.items()] or ['none'])})",
                "give each of the four gates one W [H, I], one U [H, H] and one b [H], or stack them",
            )
    if number["W"] == 4 and number["b"] == 2:
        raise Unclear("two biases for four gates", "give each of the four gates one b [H], or stack them")
    gates = {name: part.kinds for name, part in parts.items() if not part.gates and part.kinds not in "Vv"}
    named = gates_by_names(gates)
    assignments = [(named, LETTERS, remarks)]
    if number["W"] == 4 and (not named or len(gates) < len(parts) - number["V"] - number["v"]):
        assignments += [(named, order, remarks) for order in ORDERS[1:]]
    moves = [("bWU", CANDIDATE_FIRST), *product("bWU", ORDERS[1:])] if named and number["W"] == 4 else []
    for kinds, order in moves:
        moved = dict(zip(LETTERS, order, strict=True))
        changed = {name: moved[gate] if {*kinds} & {*gates[name]} else gate for name, gate in named.items()}
        which = [f"{name} is that of {changed[name]}" for name in named if named[name] != changed[name]]
        assignments.append((changed, LETTERS, (*remarks, f"by what they do, {', '.join(which)}")))
    for places, order, notes in assignments:
        for turned in turns(parts):
            yield Layout(arrange(turned, places, order), notes, bool(named) and notes == remarks)


def turns(parts: Mapping[str, ParameterPart]) -> Iterator[dict[str, ParameterPart]]:
    """Yield the parts, again with U before W where a matrix holds both, and each with a square U turned."""
    squares = {name for name, part in parts.items() if part.kinds == "U" and "s" not in part.axes}
    is_transposed = any(part.axes in ("kr", "ks") and "W" in part.kinds for part in parts.values())
    orders = ("WU", "UW") if any(part.kinds == "WU" for part in parts.values()) else ("WU",)
    axes = ("kr", "rk") if is_transposed else ("rk", "kr")
    for order, turned in product(orders, axes if squares else axes[:1]):
        yield {
            name: part._replace(
                kinds=order if part.kinds == "WU" else part.kinds,
                axes=part.axes.replace("rk", turned) if name in squares else part.axes,
            )
            for name, part in parts.items()
        }


def gates_by_names(kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the gate of each parameter by its name; empty unless the names of each kind tell all gates apart."""
    result: dict[str, str] = {}
    for kind in dict.fromkeys(kinds.values()):
        names = [name for name in kinds if kinds[name] == kind]
        letters = {names[0]: "i"} if kind == "b" and len(names) == 1 else letters_of(names)  # one bias for all gates
        if not letters:
            return {}
        result |= letters
    return result


def letters_of(names: list[str]) -> dict[str, str]:
    """Return the gate of each of these names where it is the letter, or the word, in which they differ; else nothing."""
    plain = [name.lower() for name in names]
    words = [re.findall("[a-z]+", name) for name in plain]
    common = set.intersection(*map(set, words))
    rest = [[word for word in each if word not in common] for each in words]
    candidates: list[list[str]] = [[WORDS.get(letter, "") for letter in column] for column in zip(*plain, strict=False)]
    candidates += [
        [next((WORDS[word[part]] for word in each if word[part] in WORDS), "") for each in rest]
        for part in (slice(None), slice(1), slice(-1, None))
    ]
    for found in candidates:
        left = "".join(letter for letter in LETTERS if found.count(letter) < len(names) / 4)
        letters = [letter or left for letter in found]  # a name without a letter has the gate that is left
        if all(letters.count(letter) == len(names) / 4 for letter in LETTERS):
            return dict(zip(names, letters, strict=True))
    return {}


def arrange(parts: Mapping[str, ParameterPart], places: Mapping[str, str], order: str) -> dict[str, ParameterPart]:
    """Return the parts with their gates; those that no name tells come in an `order`."""
    number = count(parts)
    shares = {"b": BIAS_PARTS[number["b"] // number["W"] or 1], "v": BIAS_PARTS[number["v"] or 1]}
    result: dict[str, ParameterPart] = {}
    seen = Counter[str]()
    for name, part in parts.items():
        weight = result.get(f"{name.removesuffix('bias')}weight")  # a bias of a linear layer has the gate of its matrix
        gates = weight.gates if weight else order[seen[part.kinds] % number["W"]]
        gates = "" if part.kinds in "Vv" else order if part.gates else places.get(name, gates)
        held = seen[part.kinds + gates[:1]]
        seen.update({part.kinds, *(part.kinds + gate for gate in gates)})
        result[name] = part._replace(gates=gates, fraction=shares.get(part.kinds, (1.0,))[held])
    return result
