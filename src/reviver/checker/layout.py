"""Which parameters of a module are the weights of an LSTM: by their shapes, their names, or else every order of the gates.

A module may hold them as W_i, U_i, b_i and so on, as linear layers of each gate, or stacked; matrices either way round.

Shapes: I input size, H hidden size, C classes, B batch.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.checker.conventions import LSTMSizes
from reviver.checker.lstm_mistakes import BIAS_PER_EXAMPLE
from reviver.checker.pieces import Failure, Unclear
from reviver.lstm.cell import LSTMWeights

LETTERS = "ifco"
"""The gates in the names of the weights; c is the cell candidate."""
WORDS = {"input": "i", "in": "i", "forget": "f", "cell": "c", "cand": "c", "candidate": "c", "new": "c", "g": "c"}
WORDS |= {"output": "o", "out": "o", "modulation": "c"} | {letter: letter for letter in LETTERS}
BIAS_PARTS = (0.25, 0.75)
"""What each of two biases gets of the sum."""
IS_STATE = re.compile(r"init|(^|[._])([hc]_?[t0]?|hidden|cell)$|[hc]_?(prev|state|start)|(prev|last)_?[hc]")
"""Names of parameters that hold the state before the first step."""


class ParameterPart(NamedTuple):
    """What a parameter consists of."""

    kinds: tuple[str, ...]
    """Kinds of weights from left to right: W, U or both; or b; or out."""
    gates: str
    """Gates from top to bottom."""
    form: str = ""
    """`T` if the matrix is transposed, `row` or `column` for a bias with two dimensions, `stack` for one matrix behind another."""
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
        weights = w._asdict()
        result = {}
        for name, part in self.parts.items():
            if part.kinds == ("out",):
                tensor = b_out if part.gates == "b" else W_out
                assert tensor is not None
            else:
                rows = [torch.cat([weights[f"{kind}_{gate}"] for kind in part.kinds], dim=-1) for gate in part.gates]
                if part.form.startswith("stack"):
                    turn = {"stackT": Tensor.t, "stack row": lambda row: row[None]}
                    rows = [turn[part.form](row) if part.form in turn else row for row in rows]
                    result[name] = torch.stack(rows) * part.fraction
                    continue
                tensor = torch.cat(rows) * part.fraction
            forms = {"T": Tensor.t, "row": lambda b: b[None], "column": lambda b: b[:, None]}
            result[name] = forms[part.form](tensor) if part.form else tensor
        return result

    def read(self, parameters: Mapping[str, Tensor], input_size: int) -> dict[str, Tensor]:
        """Return the weights by their names that are in the parameters, biases as sums."""
        result: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            if part.kinds == ("out",):
                continue
            tensor = parameters[name].detach()
            if part.form.startswith("stack"):
                tensor = torch.cat([each.T if part.form == "stackT" else each.squeeze(0) for each in tensor])
            elif part.form:
                tensor = tensor.T if part.form == "T" else tensor.flatten()
            for gate, rows in zip(part.gates, tensor.chunk(len(part.gates)), strict=True):
                sizes = [input_size if kind == "W" else rows.shape[-1] - input_size for kind in part.kinds]
                blocks = rows.split(sizes, dim=1) if len(sizes) > 1 else [rows]
                for kind, block in zip(part.kinds, blocks, strict=True):
                    key = f"{kind}_{gate}"
                    result[key] = result[key] + block if key in result else block
        return result


def shapes_of_parts(input_size: int, sizes: LSTMSizes) -> Iterator[tuple[tuple[int, ...], ParameterPart]]:
    """Yield the shapes that the weights of an LSTM may have, each with what a parameter of this shape holds."""
    I, H, C = input_size, sizes.H, sizes.C  # noqa: E741
    yield from (((C, H), ParameterPart(("out",), "W")), ((H, C), ParameterPart(("out",), "W", "T")))
    for shape, form in (((C,), ""), ((1, C), "row"), ((C, 1), "column")):
        yield shape, ParameterPart(("out",), "b", form)
    for rows, gates in ((H, ""), (4 * H, LETTERS)):
        for kinds, columns in ((("W",), I), (("U",), H), (("W", "U"), I + H)):
            yield (rows, columns), ParameterPart(kinds, gates)
            yield (columns, rows), ParameterPart(kinds, gates, "T")
            if not gates:
                yield (4, rows, columns), ParameterPart(kinds, LETTERS, "stack")
                yield (4, columns, rows), ParameterPart(kinds, LETTERS, "stackT")
        for shape, form in (((rows,), ""), ((1, rows), "row"), ((rows, 1), "column")):
            yield shape, ParameterPart(("b",), gates, form)
    yield (4, H), ParameterPart(("b",), LETTERS, "stack")
    yield (4, 1, H), ParameterPart(("b",), LETTERS, "stack row")


def find_parts(shapes: Mapping[str, tuple[int, ...]], input_size: int, sizes: LSTMSizes) -> dict[str, ParameterPart]:
    """Return what parameters hold by their shapes, those that are weights of an LSTM. Raises Failure."""
    known: dict[tuple[int, ...], ParameterPart] = {}
    for shape, part in shapes_of_parts(input_size, sizes):
        known.setdefault(shape, part)
    B, H, C = sizes.B, sizes.H, sizes.C
    if not sizes.is_square and list(shapes.values()).count((B,)) >= 4:
        raise Failure(f"biases have the shape [{B}] of the batch", BIAS_PER_EXAMPLE)
    for name, shape in shapes.items():
        if IS_STATE.search(name.lower()) or sizes.is_square:
            continue
        if shape in {(B, H), (4, B, H), (B, C), (B, 4 * H), (H, B), (C, B)}:
            raise Failure(f"a parameter of shape {list(shape)} has the batch size {B} in it", BIAS_PER_EXAMPLE)
    return {name: known[shape] for name, shape in shapes.items() if shape in known}


def drop_extra(parts: dict[str, ParameterPart], kind: str, unused: frozenset[str]) -> int:
    """Leave out parameters that are too many of a kind: those without a part in the result, and states; return how many are left."""

    def names() -> list[str]:
        return [name for name, part in parts.items() if kind in part.kinds]

    for drop in (lambda name: name in unused, lambda name: bool(IS_STATE.search(name.lower()))):
        if sum(len(parts[name].gates) or 1 for name in names()) in {0, 4, 8 if kind == "b" else 4}:
            break
        for name in filter(drop, names()):
            del parts[name]
    return sum(len(parts[name].gates) or 1 for name in names())


def find_layouts(
    shapes: Mapping[str, tuple[int, ...]], input_size: int, sizes: LSTMSizes, unused: frozenset[str] = frozenset()
) -> Iterator[Layout]:
    """Yield the layouts that parameters of these shapes may have, the likeliest first. Raises Failure, or Unclear if none."""
    parts = find_parts(shapes, input_size, sizes)
    remarks = [f"{name} has no part in the result" for name in sorted(unused & parts.keys())]
    for kind in "WUb":
        found = drop_extra(parts, kind, unused)
        if found not in ({0, 1, 4, 8} if kind == "b" else {4}):
            sizes_of = {"W": "[H, I]", "U": "[H, H]", "b": "[H]"}[kind]
            raise Unclear(
                f"{found} parameters have the shape {sizes_of} of {kind}, where four gates need four "
                f"(H = {sizes.H}, I = {input_size}: {', '.join(f'{n} {list(s)}' for n, s in shapes.items()) or 'none'})",
                "give each of the four gates one W [H, I], one U [H, H] and one b [H], or stack them",
            )
    named = letters_of_all({name: part.kinds for name, part in parts.items() if not part.gates})
    orders = ["".join(order) for order in permutations(LETTERS)]
    for turned in turns(parts):
        places = named or {}
        yield Layout(arrange(turned, places, LETTERS), tuple(remarks), bool(named))
    for turned in turns(parts):
        if any(part.gates == LETTERS for part in parts.values()) or not named:
            for order in orders:
                yield Layout(arrange(turned, named or {}, order), tuple(remarks), bool(named))
        for kind in "bWU" if named else "":
            for order in orders[1:]:
                swapped = dict(zip(LETTERS, order, strict=True))
                changed = {
                    name: swapped.get(letter, letter) if kind in parts[name].kinds else letter
                    for name, letter in named.items()
                }
                which = [f"{name} is that of {changed[name]}" for name in named if named[name] != changed[name]]
                text = f"by what they do, {', '.join(which)}"
                yield Layout(arrange(turned, changed, LETTERS), (*remarks, text))


def turns(parts: Mapping[str, ParameterPart]) -> Iterator[dict[str, ParameterPart]]:
    """Yield the parts, again with U before W where a matrix holds both, and each with U turned."""
    is_transposed = any(part.form == "T" and "W" in part.kinds for part in parts.values())
    for is_swapped in (False, True)[: 1 + any(len(part.kinds) == 2 for part in parts.values())]:
        for is_turned in (False, True)[: 1 + any(part.kinds == ("U",) for part in parts.values())]:
            result = {}
            for name, part in parts.items():
                each = part._replace(kinds=part.kinds[::-1]) if is_swapped and len(part.kinds) == 2 else part
                if part.kinds == ("U",) and len(part.gates) != 4 and is_transposed != is_turned:
                    each = each._replace(form="T")
                if part.kinds == ("U",) and part.form == "stack" and is_turned:
                    each = each._replace(form="stackT")
                result[name] = each
            yield result


def letters_of_all(kinds: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the gate of each parameter by its name; empty unless the names of each kind tell all gates apart."""
    result: dict[str, str] = {}
    for kind in dict.fromkeys(kinds.values()):
        names = [name for name in kinds if kinds[name] == kind]
        letters = letters_of(names)
        if kind == ("b",) and len(names) == 1:
            letters = {names[0]: "="}
        if not letters:
            return {}
        result |= letters
    for name in result:  # a linear layer is that of one gate
        weight = name.removesuffix("bias") + "weight"
        if name.endswith("bias") and weight in result:
            result[name] = result[weight]
    return result


def letters_of(names: list[str]) -> dict[str, str]:
    """Return the gate of each of these names where it is the letter, or the word, in which they differ; else nothing."""
    plain = [name.lower() for name in names]
    candidates = []
    if len(set(map(len, plain))) == 1:
        candidates = [[WORDS.get(name[index], "") for name in plain] for index in range(len(plain[0]))]
    words = [re.findall("[a-z]+", name) for name in plain]
    common = set.intersection(*map(set, words)) if words else set()
    candidates.append(
        [next((WORDS[word] for word in each if word in WORDS and word not in common), "") for each in words]
    )
    ends = [[word for word in each if word not in common] for each in words]
    for index in (0, -1):
        candidates.append([next((WORDS[word[index]] for word in each if word[index] in WORDS), "") for each in ends])
    for letters in candidates:
        if len(names) in {4, 8} and all(letters.count(letter) == len(names) // 4 for letter in LETTERS):
            return dict(zip(names, letters, strict=True))
    return {}


def arrange(parts: Mapping[str, ParameterPart], places: Mapping[str, str], order: str) -> dict[str, ParameterPart]:
    """Return the parts with their gates; those that no name tells come in an `order`."""
    result: dict[str, ParameterPart] = {}
    num_biases = sum(len(part.gates) or 1 for part in parts.values() if part.kinds == ("b",))
    has_bias: set[str] = set()
    counts: dict[tuple[str, ...], int] = {}
    for name, part in parts.items():
        if part.kinds == ("out",):
            result[name] = part
            continue
        index = counts.get(part.kinds, 0)
        counts[part.kinds] = index + 1
        gates = order if part.gates else places.get(name, order[index % 4]).replace("=", "i")
        fraction = BIAS_PARTS[gates[0] in has_bias] if part.kinds == ("b",) and num_biases == 8 else 1.0
        has_bias |= set(gates) if part.kinds == ("b",) else set()
        result[name] = part._replace(gates=gates, fraction=fraction)
    return result
