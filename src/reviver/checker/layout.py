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
from torch import Tensor

from reviver.checker.conventions import LSTMSizes
from reviver.checker.lstm_mistakes import BIAS_PER_EXAMPLE
from reviver.checker.pieces import Failure, Unclear
from reviver.lstm.cell import LSTMWeights

LETTERS = "ifco"
"""The gates in the names of the weights; c is the cell candidate."""
ORDERS = ["".join(order) for order in permutations(LETTERS)]
WORDS = {"input": "i", "in": "i", "forget": "f", "cell": "c", "cand": "c", "candidate": "c", "new": "c", "g": "c"}
WORDS |= {"output": "o", "out": "o", "modulation": "c"} | {letter: letter for letter in LETTERS}
BIAS_PARTS = {1: (1.0,), 2: (0.25, 0.75), 3: (0.125, 0.25, 0.625)}
"""What each of several biases that add up gets of the sum."""
IS_STATE = re.compile(r"init|(^|[._])([hc]_?[t0]?|hidden|cell)$|[hc]_?(prev|state|start)|(prev|last)_?[hc]")
"""Names of parameters that hold the state before the first step."""
NEEDED = {"W": ("[H, I]", {1, 4}), "U": ("[H, H]", {1, 4}), "b": ("[H]", {0, 1, 2, 4, 8, 12})}
"""Shape of each kind of weights, and how many a module may have."""


class ParameterPart(NamedTuple):
    """What a parameter consists of."""

    kinds: str
    """Kinds of weights from left to right: W, U or both; or b; or V, the output matrix, or v, its bias."""
    gates: str
    """Gates from top to bottom."""
    axes: str
    """Its dimensions: gates g if they are stacked, rows r, columns k, and 1."""
    fraction: float = 1.0
    """Fraction of the bias that this one holds."""


class Layout(NamedTuple):
    """The parts of the parameters of a module, by name."""

    parts: Mapping[str, ParameterPart]
    remarks: tuple[str, ...] = ()
    is_named: bool = False
    """Whether names tell the gates apart."""

    def assemble(self, w: LSTMWeights, W_out: Tensor | None = None, b_out: Tensor | None = None) -> dict[str, Tensor]:
        """Return the parameters that hold these weights, of any sizes; gradients flow through."""
        values = {**w._asdict(), "V": W_out, "v": b_out}
        result = {}
        for name, (kinds, gates, axes, fraction) in self.parts.items():
            tensor = values.get(kinds)
            if tensor is not None:
                tensor = tensor * fraction
            else:
                rows = [torch.cat([values[f"{kind}_{gate}"] for kind in kinds], dim=-1) for gate in gates]
                tensor = torch.stack(rows) * fraction  # [gates, rows] or [gates, rows, columns]
                tensor = tensor if "g" in axes else tensor.flatten(0, 1)
            result[name] = arranged(tensor, axes)
        return result

    def read(self, parameters: Mapping[str, Tensor], like: LSTMWeights) -> dict[str, Tensor]:
        """Return the numbers of the weights by their names, biases as sums, for weights of the shapes of those of `like`."""
        codes = {name: torch.full_like(value, code) for code, (name, value) in enumerate(by_name(like).items(), 1)}
        inner = Layout({name: part for name, part in self.parts.items() if part.gates})
        coded = inner.assemble(LSTMWeights(**codes, W_proj=None))
        found: dict[str, Tensor] = {}
        for name, part in inner.parts.items():
            for kind, gate in product(part.kinds, part.gates):
                weight = f"{kind}_{gate}"
                values = parameters[name].detach()[coded[name] == codes[weight].flatten()[0] * part.fraction]
                found[weight] = found.get(weight, 0) + values
        return found


def by_name(w: LSTMWeights) -> dict[str, Tensor]:
    """Return the weights of a cell without a projection by name."""
    return {name: value for name, value in w._asdict().items() if value is not None}


def arranged(tensor: Tensor, axes: str) -> Tensor:
    """Return a tensor whose dimensions are gates, rows and columns, with the `axes` in this order."""
    plain = [axis for axis in "grk" if axis in axes]
    tensor = tensor.permute([plain.index(axis) for axis in axes if axis != "1"])
    for index in (index for index, axis in enumerate(axes) if axis == "1"):
        tensor = tensor.unsqueeze(index)
    return tensor


def known_shapes(input_size: int, sizes: LSTMSizes) -> dict[tuple[int, ...], ParameterPart]:
    """Return the shapes that the weights of an LSTM may have, each with what a parameter of this shape holds."""
    I, H, C = input_size, sizes.H, sizes.C  # noqa: E741
    found: dict[tuple[int, ...], ParameterPart] = {}
    columns_of = {"W": I, "U": H, "WU": I + H, "b": 0}
    weights = [(kinds, rows, columns) for rows in (H, 4 * H) for kinds, columns in columns_of.items()]
    for kinds, rows, columns in (("V", C, H), ("v", C, 0), *weights):
        for axes in ("rk", "kr", "grk", "gkr") if columns else ("r", "1r", "r1", "gr", "g1r"):
            is_stacked = rows == 4 * H or "g" in axes
            if "g" not in axes or rows == H:
                shape = tuple({"g": 4, "r": rows, "k": columns, "1": 1}[axis] for axis in axes)
                found.setdefault(shape, ParameterPart(kinds, LETTERS * is_stacked, axes))
    return found


def find_parts(shapes: Mapping[str, tuple[int, ...]], input_size: int, sizes: LSTMSizes) -> dict[str, ParameterPart]:
    """Return what parameters hold by their shapes, those that are weights of an LSTM. Raises Failure."""
    B, H, C = sizes.B, sizes.H, sizes.C
    for name, shape in shapes.items() if B != H else ():
        per_example = {(B, H), (4, B, H), (B, C), (B, 4 * H), (H, B), (C, B)}
        if (shape in per_example and not IS_STATE.search(name.lower())) or list(shapes.values()).count((B,)) >= 4:
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
        kinds = Counter(kind for part in parts.values() for kind in part.kinds * (len(part.gates) or 1))
        if len(parts) == len(shapes) and kinds["W"] == kinds["U"] == 4 and kinds["V"] == 1:
            return found
    return sizes


def drop_extra(parts: dict[str, ParameterPart], kind: str, unused: Collection[str]) -> int:
    """Leave out parameters that are too many of a kind: those without a part in the result, and states; count the others."""
    for drop in (lambda name: name in unused, lambda name: IS_STATE.search(name.lower())):
        names = [name for name, part in parts.items() if kind in part.kinds]
        number = sum(len(parts[name].gates) or 1 for name in names)
        if number in NEEDED[kind][1]:
            break
        for name in filter(drop, names):
            del parts[name]
    return sum(len(part.gates) or 1 for part in parts.values() if kind in part.kinds)


def find_layouts(
    shapes: Mapping[str, tuple[int, ...]], input_size: int, sizes: LSTMSizes, unused: Collection[str] = ()
) -> Iterator[Layout]:
    """Yield the layouts that parameters of these shapes may have, the likeliest first. Raises Failure, or Unclear if none."""
    parts = find_parts(shapes, input_size, sizes)
    remarks = tuple(f"{name} has no part in the result" for name in sorted(set(unused) & parts.keys()))
    for kind, (shape, numbers) in NEEDED.items():
        if (found := drop_extra(parts, kind, unused)) not in numbers:
            held = [name for name, part in parts.items() if kind in part.kinds]
            raise Unclear(
                f"{found} parameters have the shape {shape} of {kind}, where four gates need four "
                f"(H = {sizes.H}, I = {input_size}: {', '.join(held or [f'{n} {list(s)}' for n, s in shapes.items()] or ['none'])})",
                "give each of the four gates one W [H, I], one U [H, H] and one b [H], or stack them",
            )
    is_shared = drop_extra(parts, "W", ()) == 1
    if not is_shared and drop_extra(parts, "b", ()) == 2:
        raise Unclear("two biases for four gates", "give each of the four gates one b [H], or stack them")
    named = letters_of_all(
        {name: part.kinds for name, part in parts.items() if not part.gates and part.kinds not in "Vv"}
    )
    for turned in turns(parts):
        yield Layout(arrange(turned, named, LETTERS), remarks, bool(named))
    for turned in turns(parts) if not is_shared else ():
        if not named or any(part.gates for part in parts.values()):
            for order in ORDERS:
                yield Layout(arrange(turned, named, order), remarks, bool(named))
        for kind, order in product("bWU", ORDERS[1:]) if named else ():
            moved = dict(zip(LETTERS, order, strict=True))
            changed = {
                name: moved.get(gate, gate) if kind in parts[name].kinds else gate for name, gate in named.items()
            }
            which = [f"{name} is that of {changed[name]}" for name in named if named[name] != changed[name]]
            yield Layout(arrange(turned, changed, LETTERS), (*remarks, f"by what they do, {', '.join(which)}"))


def turns(parts: Mapping[str, ParameterPart]) -> Iterator[dict[str, ParameterPart]]:
    """Yield the parts, again with U before W where a matrix holds both, and each with a square U turned."""
    is_transposed = any(part.axes == "kr" and "W" in part.kinds for part in parts.values())
    squares = {name for name, part in parts.items() if part.kinds == "U" and (not part.gates or "g" in part.axes)}
    for is_swapped in (False, True) if any(part.kinds == "WU" for part in parts.values()) else (False,):
        for is_turned in (False, True) if squares else (False,):
            result = {}
            for name, part in parts.items():
                if name in squares and is_turned != is_transposed:
                    part = part._replace(axes=part.axes.replace("rk", "kr"))  # noqa: PLW2901
                result[name] = part._replace(kinds="UW") if is_swapped and part.kinds == "WU" else part
            yield result


def weight_of(name: str) -> str:
    """Return the name of the weight of a linear layer, which is that of one gate, by that of its bias."""
    return f"{name.removesuffix('bias')}weight" if name.endswith("bias") else ""


def letters_of_all(kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the gate of each parameter by its name; empty unless the names of each kind tell all gates apart."""
    result: dict[str, str] = {}
    own = {name: kind for name, kind in kinds.items() if weight_of(name) not in kinds}
    for kind in dict.fromkeys(own.values()):
        names = [name for name in own if own[name] == kind]
        letters = {names[0]: "="} if kind == "b" and len(names) == 1 else letters_of(names)  # one bias for all gates
        if not letters:
            return {}
        result |= letters
    return {name: result.get(name) or result[weight_of(name)] for name in kinds}


def letters_of(names: list[str]) -> dict[str, str]:
    """Return the gate of each of these names where it is the letter, or the word, in which they differ; else nothing."""
    plain = [name.lower() for name in names]
    words = [re.findall("[a-z]+", name) for name in plain]
    common = set.intersection(*map(set, words))
    rest = [[word for word in each if word not in common] for each in words]
    candidates = [[WORDS.get(letter, "") for letter in column] for column in zip(*plain, strict=False)]
    candidates += [
        [next((WORDS[word[part]] for word in each if word[part] in WORDS), "") for each in rest]
        for part in (slice(None), slice(1), slice(-1, None))
    ]
    for letters in candidates:
        if len(names) in {4, 8} and all(letters.count(letter) == len(names) // 4 for letter in LETTERS):
            return dict(zip(names, letters, strict=True))
    return {}


def arrange(parts: Mapping[str, ParameterPart], places: Mapping[str, str], order: str) -> dict[str, ParameterPart]:
    """Return the parts with their gates; those that no name tells come in an `order`."""
    result: dict[str, ParameterPart] = {}
    number, num_biases = (sum(len(part.gates) or 1 for part in parts.values() if kind in part.kinds) for kind in "Wb")
    shares = {
        "b": BIAS_PARTS[num_biases // number or 1],
        "v": BIAS_PARTS[sum(part.kinds == "v" for part in parts.values()) or 1],
    }
    seen: list[str] = []
    for name, part in parts.items():
        weight = result.get(weight_of(name))  # a bias belongs to the gate of its matrix
        gate = weight.gates if weight is not None else order[seen.count(part.kinds) % number]
        gates = order if part.gates else places.get(name, gate).replace("=", "i")
        gates = "" if part.kinds in "Vv" else gates
        held = seen.count(part.kinds + gates[:1])
        seen += {part.kinds, *(part.kinds + gate for gate in gates)}
        result[name] = part._replace(gates=gates, fraction=shares.get(part.kinds, (1.0,))[held])
    return result
