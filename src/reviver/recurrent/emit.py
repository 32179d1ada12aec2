"""C and JavaScript of a trained classifier: a step of a sequence and its state, in one file that needs nothing else.

The frames of the files are `network.h.txt` and `network.mjs.txt`; a section, `//? words` to `//?`, is kept for a network that has one of
the words. Here the equations become loops over the units in C, and the weights tiles of rows; `JAVASCRIPT` translates both.

Shapes: I input size, H hidden size, C classes.
"""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from reviver.data.sequences.standardization import Standardization
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.recurrent.grammar import Cell
from reviver.recurrent.graph import StepGraph
from reviver.recurrent.plan import Sum, fuse
from reviver.settings.validation import check, refuse

WeightFormat = Literal["float", "fp16", "int8"]
"""Format of the matrices in C: 4, 2 or 1 bytes a number; with `int8` each row has a scale."""
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
NEEDS = {
    **dict.fromkeys(("sigmoid", "tanh", "exp"), ("expm1",)),
    "softplus": ("expm1", "exp", "log"),
    "normalize": ("sqrt",),
}
"""Functions of the frame of C that another one calls."""
JAVASCRIPT = {
    r"static const float net_(\w+)\[\d+\] \w+ = \{([^}]*)\};": r"const net_\1 = new Float32Array([\2]);",
    r"static inline void net_(\w+)\(.*\) \{": r"function net_\1(s, x, skip, symbol) {",
    r"float (\w+)\[NET_LAYERS\].*;": r"\1: layers(),",
    r"float (\w+)\[(\d+)\];": r"const \1 = new Float64Array(\2);",
    r"const float |float \*": "const ",
    r"\bint (?=j;)|\bfloat (?=m\d)": "let ",
    r", \*": ", ",
    r"net_sums_(\d+)x\d\(": r"sums(\1, ",
    r"(\w+) \+ (\d+)(?=[,)])": r"\1.subarray(\2)",
    r"(\d)f\b": r"\1",
    r"\bnet_(?!\w+(_|_new)\b)": "",  # but in names of the text
    r"->": ".",
    r"\(float\)": "",
}
"""Translation of what is emitted: patterns, and what takes their places, in this order."""
WIDE = 32
"""Units from which vectors of 512 bits pay on processors that have them; a smaller step waits for their latency."""


def to_c(network: RecurrentClassifier, *, weights: WeightFormat = "float", name: str = "net", **about: Any) -> str:
    """Return a trained classifier as a header of C99 and C++ without `malloc`, files and global state.

    It defines `net_state`, `net_init`, `net_step` and, where a step can be one-hot, `net_symbol`; `name` takes the place of `net`.
    `weights` is the format of the matrices. `about` may have `classes`, their names in order; the `standardization` of raw numbers;
    and a `comment`.

    Raises:
        ConfigError: if the network cannot run step by step, or a weight is not finite, or too large for the format.
    """
    check("weights", weights, WeightFormat)
    emitter = _Emitter(network, weights, **about)
    name = re.sub(r"\W", "_", f"net_{name}" if name[:1].isdigit() else name, flags=re.ASCII)
    classes = ", ".join(f'"{_escape(name)}"' for name in emitter.classes or ())
    text = emitter.file("network.h.txt", classes, lambda text: text)
    return re.sub(r"\bnet_", f"{name}_", re.sub(r"\bNET_", f"{name.upper()}_", text)).replace('"net.h"', f'"{name}.h"')


def to_js(network: RecurrentClassifier, *, name: str = "net", **about: Any) -> str:
    """Return a trained classifier as an ES module with `init`, `step` and `symbol`; `name` is that of the file. See `to_c`."""
    emitter = _Emitter(network, "float", **about)

    def translate(text: str) -> str:
        for pattern, replacement in JAVASCRIPT.items():
            text = re.sub(pattern, replacement, text)
        return text

    return emitter.file("network.mjs.txt", json.dumps(emitter.classes), translate).replace("./net.mjs", f"./{name}.mjs")


def layer_cells(network: RecurrentClassifier) -> tuple[Cell, list[Mapping[str, Tensor]]]:
    """Return the cell of a classifier, and the weights by name of each layer; ConfigError if it cannot run step by step."""
    layers = network.recurrent
    if not hasattr(layers, "options"):
        refuse("cell", "must be a text, got a class of your own, of which there are no equations; write it as a text")
    if layers.num_directions == 2:
        refuse(
            "bidirectional",
            "must be False to run step by step, got True, which reads from the last step, too; train one that reads forward",
        )
    if layers.options.precision != "fp32":
        refuse(
            "precision", f"must be fp32, got {layers.options.precision!r}, whose rounding is torch's; train with fp32"
        )
    return layers.cell, [layers.weights(at) for at in range(layers.num_layers)]


class StepStage(NamedTuple):
    """What a step computes before it waits: sums, then moments of vectors, then values unit by unit."""

    groups: dict[tuple[bool, int | None], list[int]]
    """Sums that are one matrix, by whether they read x, and by the operand that they read."""
    moments: list[int]
    values: list[int]


IN_MEMORY = ("state", "vector", "sum")


def stages_of(graph: StepGraph, outputs: Iterable[int], sums: Mapping[int, Sum]) -> tuple[list[StepStage], set[int]]:
    """Return the stages of a step, and the values that a later stage or a product reads, which need memory.

    A value is computed as late as possible, so that these are few.
    """
    nodes, outputs = graph.nodes, set(outputs)
    needed = sorted(graph.reachable(outputs))

    def waits(index: int) -> bool:  # for all units of its argument
        op, args, _ = nodes[index]
        whole = {"sum": ("state",), "normalize": IN_MEMORY}
        return op in whole and bool(args) and nodes[args[0]].op not in whole[op]

    level: dict[int, int] = {}
    for index in needed:
        level[index] = max((level[arg] for arg in nodes[index].args), default=0) + waits(index)
    last = max(level.values())
    due: dict[int, int] = dict.fromkeys(needed, last)
    kept = set[int]()
    for index in reversed(needed):
        for arg in nodes[index].args:
            due[arg] = min(due[arg], level[index] - 1 if waits(index) else due[index])
    for index in needed:
        kept.update(arg for arg in nodes[index].args if waits(index) or due[arg] < due[index])
    kept |= {index for index in outputs if due[index] < last}
    stages = [StepStage({}, [], []) for _ in range(last + 1)]
    for index in needed:
        if index in sums:
            key = sums[index].W is not None, sums[index].operand
            stages[level[index]].groups.setdefault(key, []).append(index)
        elif nodes[index].op not in IN_MEMORY:
            stages[due[index]].values.append(index)
        if nodes[index].op == "normalize":
            stages[level[index]].moments.append(index)
    return stages, {index for index in kept if nodes[index].op not in IN_MEMORY}


class _Emitter:
    def __init__(
        self,
        network: RecurrentClassifier,
        weights: WeightFormat,
        *,
        classes: Sequence[str] | None = None,
        standardization: Standardization | None = None,
        comment: str = "",
    ) -> None:
        self.network, self.weights, self.H = network, weights, network.recurrent.hidden_size
        self.classes, self.standardization, self.comment = classes, standardization, comment
        self.cell, self.layers = layer_cells(network)
        if not all(bool(weight.isfinite().all()) for weight in network.parameters()):
            refuse("network", "must have finite weights, got NaN or infinite ones; train with a smaller learning_rate")
        options = network.recurrent.options
        self.zoneout = options.hidden_dropout if options.hidden_dropout_kind == "zoneout" else 0.0
        named = dataclasses.replace(self.cell, states=tuple(self.cell.quantities))  # so that each has a node
        self.graph, found, self.sums = fuse(named, "zoneout" if self.zoneout else "none")
        self.names = {node: name for name, node in found.items()}
        self.outputs = {name: found[name] for name in self.cell.states}
        self.stages, self.kept = stages_of(self.graph, self.outputs.values(), self.sums)
        words = {weights, network.pooling, "patches" if network.patch_size > 1 else "whole"}
        words |= ({"standardized"} if standardization is not None else set()) | ({"classes"} if classes else set())
        words |= {"symbol"} if words.isdisjoint(("patches", "standardized")) and network.input_size > 1 else set()
        self.words = words | ({"wide"} if self.H >= WIDE else set())
        self.tiles = set[tuple[int, int]]()  # rows, and columns a pass
        self.data: list[str] = []

    def file(self, frame: str, classes: str, translate: Callable[[str], str]) -> str:
        """Return the frame filled with this network; `translate` is applied to what is emitted."""
        n, H, L = self.network, self.H, len(self.layers)
        layers = [self.layer(at, n.input_size * n.patch_size if at == 0 else H) for at in range(L)]
        calls = ["net_layer0(s, x, skip, symbol);"] + [f"net_layer{k}(s, s->h_[{k - 1}], 0, 0);" for k in range(1, L)]
        emitted = {"functions": ["\n\n".join(layers)], "calls": calls, "data": self.data}
        emitted["states"] = [f"float {name}_[NET_LAYERS][NET_UNITS];" for name in self.cell.states]
        emitted["count"] = ["(float)s->steps" if n.pooling == "mean" else "s->total"]
        emitted["read"] = self.product("out", n.W_out, n.b_out, "logits", "p")
        if n.pooling == "attention":
            self.words |= {"tanh()", "exp()", "expm1()"}
            emitted["attend"] = self.product("att", n.W_att, n.b_att, "z", "h")
            self.array("u_att", n.u_att)
        if self.standardization is not None:
            mean = np.array(self.standardization.mean)
            self.array("mean", mean)
            self.array("mean_rest", mean - mean.astype(np.float32))  # digits of one that is large beside the deviation
            self.array("deviation", self.standardization.scale)
        values: dict[str, Any] = {"inputs": n.input_size, "outputs": len(n.W_out), "units": H, "layers": L}
        values |= {
            "patch": n.patch_size,
            "classes": classes,
            "raw": ", raw numbers" if "standardized" in self.words else "",
        }
        values["tiles"] = "\n".join(f"NET_SUMS({R}, {K})" for R, K in sorted(self.tiles))
        values["about"] = comment([*self.comment.splitlines(), "", *self.cell.text.splitlines()])
        between = {"functions": "", "data": "\n"}
        values |= {key: translate(between.get(key, "\n    ").join(lines)) for key, lines in emitted.items()}

        def section(match: re.Match[str]) -> str:
            return match[2] if self.words & set(match[1].split()) else ""

        text = (Path(__file__).parent / frame).read_text(encoding="utf-8")
        text = re.sub(r"^//\? (.+)\n([\s\S]*?)^//\?\n", section, text, flags=re.MULTILINE)
        return re.sub(r"@(\w+)@", lambda match: str(values[match[1]]), text)

    # Weights --------------------------------------------------------------------------------------------------------

    def array(self, name: str, values: Any, kind: str = "float") -> None:
        """Add an array of numbers to the file."""
        array = _numpy(values)
        if kind == "float":
            numbers = [_literal(value) for value in array.astype(np.float32).ravel().tolist()]
        else:
            numbers = [str(value) for value in array.ravel().tolist()]
        rows = [", ".join(numbers[at : at + 8]) for at in range(0, len(numbers), 8)]
        body = ",\n    ".join(rows)
        self.data.append(f"static const {kind} net_{name}[{array.size}] NET_ALIGNED = {{\n    {body}\n}};")

    def product(self, name: str, matrix: Any, bias: Any, y: str, v: str, flags: str = "0, 0") -> list[str]:
        """Add the weights of y = bias + matrix v to the file, and return the calls that compute it.

        The rows are in tiles of up to 64, column by column; the last tile has the rest.
        """
        M = _numpy(matrix).astype(np.float32)
        rows, n = M.shape
        kind, packed, scale = "float", M, ""
        if self.weights == "int8":
            scales = np.abs(M).max(1, keepdims=True) / np.float32(127)
            kind, packed, scale = (
                "int8_t",
                np.round(M / np.where(scales > 0, scales, 1)).astype(int),
                f"net_scale_{name}",
            )
            self.array(f"scale_{name}", scales)
        elif self.weights == "fp16":
            if np.abs(M).max() > 65504:
                refuse("weights", f"must be float, since {name} has numbers beyond 65504, got 'fp16'")
            kind, packed = "uint16_t", M.astype(np.float16).view(np.uint16)
        tile = 64 if self.H >= WIDE else 32
        calls, tiles, full = [], [], rows - rows % tile
        for first, count, R in ((0, full, tile), (full, rows - full, rows - full)):
            if not count:
                continue
            # More columns a pass where there are few rows; best without a rest
            K = next(K for K in (4, 2) if K * R <= 64 and (n % K == 0 or K == 2)) if R <= 32 else 1
            self.tiles.add((R, K))
            tiles.append(packed[first : first + count].reshape(-1, R, n).transpose(0, 2, 1).ravel())
            vectors = [_shift(one, first) if one else "0" for one in (y, f"net_b_{name}", scale)]
            w = _shift(f"net_w_{name}", first * n)
            calls.append(
                f"net_sums_{R}x{K}({vectors[0]}, {w}, {vectors[1]}, {vectors[2]}, {count}, {v}, {n}, {flags});"
            )
        self.array(f"w_{name}", np.concatenate(tiles), kind)
        self.array(f"b_{name}", bias)
        return calls

    # Equations ------------------------------------------------------------------------------------------------------

    def layer(self, at: int, inputs: int) -> str:
        """Add the weights of a layer to the file, and return the function of its step."""
        weights, H, nodes = self.layers[at], self.H, self.graph.nodes
        places = {index: f"t{index}" for index in self.kept}  # of the vectors in memory
        sizes, lines = {f"t{index}": H for index in self.kept}, list[str]()
        for index, (op, _, value) in enumerate(nodes):
            if op == "state":
                places[index] = f"{value}_"
            elif op == "vector":
                places[index] = f"net_v_{value}_{at}"
                self.array(f"v_{value}_{at}", weights[str(value)])
        for depth, stage in enumerate(self.stages):
            for number, ((has_x, operand), members) in enumerate(stage.groups.items()):
                name, n = f"{depth}_{number}", inputs * has_x + H * (operand is not None)
                v = "x" if operand is None else places[operand]
                if has_x and operand is not None:
                    lines += [f"for (j = skip; j < {inputs}; j++) v{name}[j] = x[j];"]
                    lines += [f"for (j = 0; j < {H}; j++) v{name}[{inputs} + j] = {v}[j];"]
                    v, sizes[f"v{name}"] = f"v{name}", n
                rows = [_row(weights, self.sums[member], H) for member in members]
                matrix, bias = (np.concatenate(part) for part in zip(*rows, strict=True))
                sizes[f"z{name}"], flags = H * len(members), "skip, symbol" if has_x else "0, 0"
                lines += self.product(f"{at}_{name}", matrix, bias, f"z{name}", v, flags)
                places |= {member: _shift(f"z{name}", k * H) for k, member in enumerate(members)}
            for index in stage.moments:
                self.words |= {"normalize()", "sqrt()"}
                vector = places[nodes[index].args[0]]
                lines += [f"m{index} = net_mean_of({vector}, {H});"]
                lines += [f"r{index} = net_factor_of({vector}, {H}, m{index});"]
            lines += self.loop(stage, places)
        states = ", ".join(f"*{name}_ = s->{name}_[{at}]" for name in self.cell.states)
        local = [f"float {states};", *(f"float {name}[{size}];" for name, size in sizes.items()), "int j;"]
        local += [f"float m{index}, r{index};" for stage in self.stages for index in stage.moments]
        parameters = "net_state *NET_RESTRICT s, const float *NET_RESTRICT x, int skip, int symbol"
        body = "\n".join(f"    {line}" for line in [*local, *lines])
        return f"static inline void net_layer{at}({parameters}) {{\n{body}\n}}"

    def loop(self, stage: StepStage, places: Mapping[int, str]) -> list[str]:
        """Return the loop that computes the values of a stage unit by unit, and in the last stage the new states."""
        nodes, is_last = self.graph.nodes, stage is self.stages[-1]
        reads = Counter(arg for index in stage.values for arg in nodes[index].args)
        local: dict[int, str] = {}

        def code(index: int) -> str:
            op, args, number = nodes[index]
            base, _, offset = places.get(index, "").partition(" + ")
            if index in local or (base and index not in stage.values):
                return local.get(index) or (f"{base}[{offset} + j]" if offset else f"{base}[j]")
            if op == "number":
                return _literal(float(number or 0))
            a, b = (*(code(arg) for arg in args), "")[:2]
            self.words |= {f"{name}()" for name in (op, *NEEDS.get(op, ()))}
            forms = {"neg": f"(-{a})", "normalize": f"(({a} - m{index}) * r{index})"}
            forms["dropout"] = f"({_literal(1 - self.zoneout)} * {a} + {_literal(self.zoneout)} * {b})"
            forms |= {name: f"({a} {sign} {b})" for name, sign in INFIX.items()}
            return forms.get(op) or f"net_{op}({a}{', ' + b if b else ''})"

        lines = []
        for index in stage.values:
            name = self.names.get(index, "")
            if name or reads[index] > 1 or index in self.kept:
                found = code(index)
                local[index] = f"{name}_new" if name in self.outputs else f"{name}_" if name else f"n{index}"
                lines += [f"const float {local[index]} = {found};"]
                lines += [f"{places[index]}[j] = {local[index]};"] if index in self.kept else []
        if is_last:  # after all is read
            others = {name: index for name, index in self.outputs.items() if local.get(index) != f"{name}_new"}
            lines += [f"const float {name}_new = {code(index)};" for name, index in others.items()]
            lines += [f"{name}_[j] = {name}_new;" for name in self.outputs]
        return [f"for (j = 0; j < {self.H}; j++) {{", *(f"    {line}" for line in lines), "}"] if lines else []


def _row(weights: Mapping[str, Any], found: Sum, H: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows [W, U] of a sum and their bias [H]."""
    bias = None if found.b is None else weights[found.b]
    matrices = [_numpy(weights[name]) for name in (found.W, found.U) if name is not None]
    return np.concatenate(matrices, 1), np.zeros(H) if bias is None else _numpy(bias)


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _shift(name: str, by: int) -> str:
    return f"{name} + {by}" if by else name


def _literal(value: float) -> str:
    number = f"{value:.9g}"
    return f"{number}f" if "." in number or "e" in number else f"{number}.0f"


def comment(lines: Iterable[str]) -> str:
    """Return lines as a comment of C, which none of them ends or continues."""
    plain = ["".join(letter if letter.isalnum() or " " <= letter <= "~" else " " for letter in line) for line in lines]
    safe = [re.sub(r"\*(?=/)|/(?=\*)|\?(?=\?)", r"\g<0> ", line).replace("\\", "|") for line in plain]
    return "\n".join(f" * {line}".rstrip() for line in safe)


def _escape(text: str) -> str:
    """Return a text as it stands between the quotes of C: what is no plain letter of ASCII as octal numbers of its bytes."""
    letters = [chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in text.encode()]
    return "".join(letters)
