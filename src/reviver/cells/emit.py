"""C and JavaScript of a trained classifier: a step of a sequence and its state, in one file that needs nothing else.

The frame of a file is `network.h.txt` or `network.mjs.txt`, whose sections, `//? words` to `//?`, are kept for a network that has
one of the words. Here the equations of the cells become loops over their units, and the weights become tiles of rows.

Shapes: L layers, I input size, H hidden size, C classes.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from reviver.cells.grammar import Cell, built_in_cell
from reviver.cells.graph import StepGraph
from reviver.cells.plan import Sum, fuse
from reviver.lstm.classifier import RecurrentClassifier
from reviver.settings.validation import check, refuse

WeightFormat = Literal["float", "fp16", "int8"]
"""How the matrices of a C file are stored: 4, 2 or 1 bytes a number; of `int8` each row has a scale."""
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
NEEDS = {
    "sigmoid": ("expm1()",),
    "tanh": ("expm1()",),
    "exp": ("expm1()",),
    "softplus": ("expm1()", "exp()", "log()"),
    "normalize": ("sqrt()",),
}
"""Sections that a function needs besides its own."""
WIDE = 32
"""Units from which vectors of 512 bits pay, where a processor has them: a narrower step waits for their latency."""


def to_c(network: RecurrentClassifier, *, weights: WeightFormat = "float", name: str = "net", **about: Any) -> str:
    """Return a trained classifier as C99, which is C++ as well: one header without `malloc`, files and global state.

    It declares `net_state`, `net_init`, `net_step` and `net_symbol`; `name` takes the place of `net`. `weights` is the format of the
    matrices. `about` may have `classes`, names in their order, `standardization` of raw numbers, and the text `comment`.

    Raises:
        ConfigError: if the network cannot run step by step, or a weight is not finite or too large for the format.
    """
    check("weights", weights, WeightFormat)
    return _Emitter(network, weights, name=re.sub(r"\W", "_", f"net_{name}" if name[:1].isdigit() else name), **about).text()


def to_js(network: RecurrentClassifier, **about: Any) -> str:
    """Return a trained classifier as an ES module with `init`, `step` and `symbol`; see `to_c`."""
    return _Emitter(network, "float", is_c=False, **about).text()


def layer_cells(network: RecurrentClassifier) -> tuple[Cell, list[Mapping[str, Tensor]]]:
    """Return the cell of a classifier and the weights by name of each layer; ConfigError if it cannot run step by step."""
    layers = network.recurrent
    if not hasattr(layers, "options"):
        refuse("cell", "must be a text, got a class of your own, of which there are no equations; write it as a text")
    if layers.num_directions == 2:
        refuse("bidirectional", "must be False for a network that runs step by step: it reads from the last step, too")
    if layers.options.precision != "fp32":
        refuse("precision", f"must be fp32, got {layers.options.precision!r}, whose rounding is torch's; train with fp32")
    if hasattr(layers, "weights"):
        return layers.cell, [layers.weights(at) for at in range(layers.num_layers)]
    stacked = [layers.stacked_weights(at).by_gate()._asdict() for at in range(layers.num_layers)]
    return built_in_cell("lstm"), stacked


class Group(NamedTuple):
    """Sums of products of one operand, which are one matrix: [x, operand], or one of both."""

    has_x: bool
    operand: int | None
    members: list[int]


class Stage(NamedTuple):
    """What a step computes before it waits: sums, then moments of vectors, then values unit by unit."""

    groups: list[Group]
    moments: list[int]
    values: list[int]


IN_MEMORY = ("state", "vector", "sum")


def stages_of(graph: StepGraph, outputs: Iterable[int], sums: Mapping[int, Sum]) -> tuple[list[Stage], set[int]]:
    """Return the stages of a step, and the values that a later stage, or a product, reads from memory.

    A value is computed as late as possible, so that few of them are kept.
    """
    nodes, outputs = graph.nodes, set(outputs)
    needed = sorted(graph.reachable(outputs))
    level: dict[int, int] = {}
    for index in needed:
        op, args, _ = nodes[index]
        found = max((level[arg] for arg in args), default=0)
        waits = op == "sum" and bool(args) and nodes[args[0]].op != "state"
        waits |= op == "normalize" and nodes[args[0]].op not in IN_MEMORY
        level[index] = found + waits
    last = max(level.values())
    due: dict[int, int] = {}
    for index in reversed(needed):
        op, args, _ = nodes[index]
        due.setdefault(index, last)
        for arg in args:
            reads_all = op == "sum" or (op == "normalize" and nodes[arg].op not in IN_MEMORY)
            due[arg] = min(due.get(arg, last), level[index] - 1 if reads_all else due[index])
    kept = {
        arg
        for index in needed
        for arg in nodes[index].args
        if nodes[index].op in ("sum", "normalize") or due[arg] < due[index]
    } | {index for index in outputs if due[index] < last}
    kept -= {index for index in needed if nodes[index].op in IN_MEMORY}
    stages = []
    for at in range(last + 1):
        groups: dict[tuple[bool, int | None], list[int]] = {}
        for index in needed:
            if index in sums and level[index] == at:
                groups.setdefault((sums[index].W is not None, sums[index].operand), []).append(index)
        moments = [index for index in needed if nodes[index].op == "normalize" and level[index] == at]
        values = [index for index in needed if nodes[index].op not in IN_MEMORY and due[index] == at]
        stages.append(Stage([Group(*key, members) for key, members in groups.items()], moments, values))
    return stages, kept


class _Emitter:
    def __init__(
        self,
        network: RecurrentClassifier,
        weights: WeightFormat,
        *,
        is_c: bool = True,
        name: str = "",
        classes: Sequence[str] | None = None,
        standardization: Any = None,
        comment: str = "",
    ) -> None:
        self.cell, self.layers = layer_cells(network)
        self.network, self.weights, self.is_c, self.name = network, weights, is_c, name
        self.classes, self.standardization, self.comment = classes, standardization, comment
        self.H, self.L = network.recurrent.hidden_size, len(self.layers)
        self.tile = 64 if self.H >= WIDE else 32
        self.words = {weights, network.pooling, "patches" if network.patch_size > 1 else "whole"}
        self.words |= {"standardized"} if standardization is not None else set()
        self.words |= {"symbol"} if {"whole"} <= self.words and standardization is None else set()
        self.words |= {"wide"} if self.H >= WIDE else set()
        self.tiles = set[tuple[int, int]]()  # rows, and columns a pass
        self.data: list[str] = []
        options = network.recurrent.options
        self.zoneout = options.hidden_dropout if options.hidden_dropout_kind == "zoneout" else 0.0
        fused = fuse(self.cell, "zoneout" if self.zoneout else "none")
        self.graph, self.outputs, self.sums = fused
        self.stages, self.kept = stages_of(self.graph, self.outputs.values(), self.sums)
        self.names: dict[int, str] = {}
        for name, node in self.outputs.items():
            self.find_names(self.cell.quantities[name].node, node)

    def find_names(self, index: int, fused: int) -> None:
        """Note which quantity of the text a node of the fused graph is, and of those that it depends on."""
        if fused in self.names:
            return
        names = {quantity.node: name for name, quantity in self.cell.quantities.items()}
        self.names[fused] = names.get(index, "")
        (op, args, _), new = self.cell.graph.nodes[index], self.graph.nodes[fused]
        pairs = list(zip(args, new.args, strict=False)) if op == new.op else []
        if op == "dropout" and new.op != op:  # which eval mode leaves out
            del self.names[fused]
            self.find_names(args[0], fused)
            self.names[fused] = "h"
        elif fused in self.sums:
            pairs = [
                (node.args[0], new.args[0])
                for node in self.cell.graph.nodes
                if node.op == "matmul" and node.value == self.sums[fused].U
            ]
        for pair in pairs:
            self.find_names(*pair)

    # Text -----------------------------------------------------------------------------------------------------------

    def text(self) -> str:
        n, H, prefix = self.network, self.H, f"{self.name}_" if self.is_c else ""
        width = n.input_size * n.patch_size
        functions = [self.layer(at, width if at == 0 else H) for at in range(self.L)]
        calls = [f"{prefix}layer0(s, x, skip, symbol);"]
        calls += [f"{prefix}layer{at}(s, s{'->' if self.is_c else '.'}h_[{at - 1}], 0, 0);" for at in range(1, self.L)]
        values = {"inputs": n.input_size, "outputs": len(n.W_out), "units": H, "layers": self.L, "patch": n.patch_size}
        values |= {"calls": "\n".join(f"{self.indent}{call}" for call in calls), "functions": "\n\n".join(functions)}
        values["count"] = {"mean": "(float)s->steps", "attention": "s->total"}.get(n.pooling, "")
        if not self.is_c:
            values["count"] = values["count"].replace("(float)", "").replace("->", ".")
        values["read"] = self.product("out", n.W_out, n.b_out, "logits", "p")
        values["attend"] = ""
        if n.pooling == "attention":
            self.words |= {"tanh()", "exp()", *NEEDS["exp"]}
            values["attend"] = self.product("att", n.W_att, n.b_att, "z", "h")
            self.array("u_att", n.u_att)
        if self.standardization is not None:
            mean = np.array(self.standardization.mean)
            self.array("mean", mean)
            self.array("deviation", np.array(self.standardization.scale))
            if self.is_c:  # in two parts a mean that is large beside the scale keeps its digits
                self.array("mean_rest", mean - mean.astype(np.float32))
        values |= {"data": "\n".join(self.data), "classes": self.class_names(), "states": self.states()}
        values["raw"] = ", raw numbers" if self.standardization is not None else ""
        values["tiles"] = "\n".join(f"{self.name.upper()}_SUMS({R}, {K})" for R, K in sorted(self.tiles))
        values["comment"] = self.head()
        frame = Path(__file__).parent / ("network.h.txt" if self.is_c else "network.mjs.txt")
        return fill(frame.read_text(encoding="utf-8"), self.words, values, self.name)

    @property
    def indent(self) -> str:
        return "    " if self.is_c else "  "

    def head(self) -> str:
        """Return the comment at the top: what, the equations, how to call it."""
        lines = [*self.comment.splitlines(), "", *self.cell.text.splitlines(), ""]
        last = "logits[NET_OUTPUTS]" if len(self.network.W_out) > 1 else "logits[1], the number"
        if self.is_c:
            lines += [f'#include "{self.name}.h"', "static net_state state;", "net_init(&state);  // of a new sequence"]
            lines += ["for (;;) {", "    float x[NET_INPUTS], " + last.partition(",")[0].replace("1", "NET_OUTPUTS") + ";"]
            lines += ["    // ... measure x", "    net_step(&state, x, logits);  // 0 for logits that nobody reads"]
            lines += ["    // the largest of logits[] is the answer after the steps so far", "}"]
            lines = [re.sub(r"\bnet_", f"{self.name}_", line.replace("NET_", f"{self.name.upper()}_")) for line in lines]
        else:
            lines += ['import { init, step } from "./net.mjs";', "const state = init();  // of a new sequence"]
            lines += ["const logits = step(state, x);  // of the sequence so far"]
        found = [line if line.isascii() and line.isprintable() else _printable(line) for line in lines]
        found = [re.sub(r"\*/|/\*|\?\?|\\", lambda match: " ".join(match[0]) if len(match[0]) > 1 else "/", line) for line in found]
        return "\n".join(["/*", *(f" * {line}".rstrip() for line in found), " */"])

    def class_names(self) -> str:
        if not self.is_c:
            return json.dumps(self.classes and list(self.classes))
        if not self.classes:
            return ""
        names = ", ".join(f'"{_escape(name)}"' for name in self.classes)
        return f"static const char *const {self.name}_classes[{self.name.upper()}_OUTPUTS] = {{{names}}};\n"

    def states(self) -> str:
        if self.is_c:
            size = f"[{self.name.upper()}_LAYERS][{self.name.upper()}_UNITS]"
            return f"    float {', '.join(f'{name}_{size}' for name in self.cell.states)};"
        return "\n".join(f"    {name}_: layers()," for name in self.cell.states)

    # Weights --------------------------------------------------------------------------------------------------------

    def array(self, name: str, values: Any, kind: str = "float") -> None:
        """Add an array of numbers to the file."""
        array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
        if not np.isfinite(array).all():
            refuse("network", f"must have finite weights to be exported, {name} has others; train with a smaller learning_rate")
        if kind == "float":
            numbers = [self.number(value) for value in array.astype(np.float32).ravel().tolist()]
        else:
            numbers = [str(value) for value in array.ravel().tolist()]
        rows = [", ".join(numbers[at : at + 8]) for at in range(0, len(numbers), 8)]
        body = ",\n".join(f"{self.indent}{row}" for row in rows)
        if self.is_c:
            name = f"{self.name}_{name}[{array.size}] {self.name.upper()}_ALIGNED"
            self.data.append(f"static const {kind} {name} = {{\n{body}}};")
        else:
            self.data.append(f"const {name} = Float32Array.of(\n{body},\n);")

    def number(self, value: float) -> str:
        text = f"{value:.9g}"
        return text + ("" if not self.is_c else "f" if re.search("[.e]", text) else ".0f")

    def product(self, name: str, matrix: Any, bias: Any, y: str, v: str, flags: str = "0, 0") -> str:
        """Add the weights of y = bias + matrix v to the file, and return the calls that compute it."""
        M = np.asarray(matrix.detach().cpu() if isinstance(matrix, Tensor) else matrix).astype(np.float32)
        rows, n = M.shape
        full = rows - rows % self.tile
        parts = [(0, full, self.tile), (full, rows - full, rows - full)]
        packed, scale = M, np.ones(rows, np.float32)
        if self.weights == "int8" and np.isfinite(M).all():
            scale = np.abs(M).max(1) / np.float32(127)
            packed = np.round(M / np.where(scale > 0, scale, 1)[:, None]).astype(np.int8)
        elif self.weights == "fp16":
            with np.errstate(over="ignore"):
                packed = M.astype(np.float16)
            if np.isinf(packed).any() and np.isfinite(M).all():
                refuse("weights", f"must be float for {name}, which has numbers beyond 65504, got 'fp16'")
        tiles = [
            packed[first : first + count].reshape(-1, width, n).transpose(0, 2, 1).ravel()
            for first, count, width in parts
            if count
        ]
        flat = np.concatenate(tiles)
        kinds = {"float": "float", "fp16": "uint16_t", "int8": "int8_t"}
        if self.weights == "fp16" and np.isfinite(M).all():
            flat = flat.view(np.uint16)
        self.array(f"w_{name}", flat, kinds[self.weights])
        self.array(f"b_{name}", bias)
        if self.weights == "int8":
            self.array(f"scale_{name}", scale)
        calls = []
        for first, count, width in parts:
            if count and self.is_c:
                columns = next(K for K in (4, 2, 1) if K * width <= 64 and (n % K == 0 or K < 4)) if width <= 32 else 1
                self.tiles.add((width, columns))
                w, b, s = (
                    f"{self.name}_{kind}_{name}" + (f" + {offset}" if offset else "")
                    for kind, offset in (("w", first * n), ("b", first), ("scale", first))
                )
                target, scales = f"{y} + {first}" if first else y, s if self.weights == "int8" else "0"
                calls.append(f"{self.name}_sums_{width}x{columns}({target}, {w}, {b}, {scales}, {count}, {v}, {n}, {flags});")
            elif count:
                calls.append(f"sums({width}, {y}, {first}, {count}, w_{name}, {first * n}, b_{name}, {v}, {n}, {flags});")
        return f"\n{self.indent}".join(calls)

    # Equations ------------------------------------------------------------------------------------------------------

    def layer(self, at: int, inputs: int) -> str:
        """Add the weights of a layer to the file, and return its function."""
        weights, H, nodes, states = self.layers[at], self.H, self.graph.nodes, self.cell.states
        for node in nodes:
            if node.op == "vector":
                self.array(f"{node.value}_{at}", weights[str(node.value)])
        places: dict[int, str] = {}  # of the vectors in memory
        for index, (op, _, value) in enumerate(nodes):
            vector = f"{self.name}_{value}_{at}" if self.is_c else f"{value}_{at}"
            places |= {"state": {index: f"{value}_"}, "vector": {index: vector}}.get(op, {})
        places |= {index: f"t{index}" for index in self.kept}
        arrays = {f"t{index}": H for index in self.kept}
        lines: list[str] = []
        for depth, stage in enumerate(self.stages):
            for number, (has_x, operand, members) in enumerate(stage.groups):
                z, v, n = f"z{depth}_{number}", "x", inputs * has_x + H * (operand is not None)
                arrays[z] = H * len(members)
                if operand is not None:
                    v = places[operand]
                if has_x and operand is not None:
                    v = f"v{depth}_{number}"
                    arrays[v] = n
                    lines += [f"{self.loop(inputs, 'skip')} {v}[j] = x[j];"]
                    lines += [f"{self.loop(H)} {v}[{inputs} + j] = {places[operand]}[j];"]
                rows = [self.row(weights, self.sums[member], inputs) for member in members]
                matrix, bias = (np.concatenate(part) for part in zip(*rows, strict=True))
                name, flags = f"{at}_{depth}_{number}", "skip, symbol" if has_x else "0, 0"
                lines += self.product(name, matrix, bias, z, v, flags).split(f"\n{self.indent}")
                for slot, member in enumerate(members):
                    places[member] = f"{z} + {slot * H}" if slot else z
            for index in stage.moments:
                source = places[nodes[index].args[0]]
                if self.is_c:
                    lines.append(f"r{index} = {self.name}_moments({source}, {H}, &m{index});")
                else:
                    offset = re.fullmatch(r"(\w+) \+ (\d+)", source)
                    source = f"{offset[1]}.subarray({offset[2]}, {int(offset[2]) + H})" if offset else f"{source}.subarray(0, {H})"
                    lines.append(f"const [m{index}, r{index}] = moments({source});")
            lines += self.loop_body(stage, places, stage is self.stages[-1])
        return self.function(at, states, arrays, lines)

    def row(self, weights: Mapping[str, Any], found: Sum, inputs: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a sum, [H, n], and its bias."""
        parts = [weights[name].detach().cpu().double().numpy() for name in (found.W, found.U) if name is not None]
        bias = weights[found.b] if found.b is not None else None
        return np.concatenate(parts, 1), np.zeros(self.H) if bias is None else bias.detach().cpu().double().numpy()

    def loop(self, count: int, first: str = "0") -> str:
        return f"for ({'' if self.is_c else 'let '}j = {first}; j < {count}; j++)"

    def loop_body(self, stage: Stage, places: Mapping[int, str], is_last: bool) -> list[str]:
        """Return the loop that computes the values of a stage unit by unit, and in the last one the new states."""
        nodes, wanted = self.graph.nodes, [*self.outputs.values()] if is_last else []
        reads = Counter(arg for index in stage.values for arg in nodes[index].args)
        reads.update(wanted)
        local = "const float" if self.is_c else "const"
        known: dict[int, str] = {}
        lines = []

        def value(index: int, outer: bool = False) -> str:
            if index in known:
                return known[index]
            op, args, number = nodes[index]
            if index in places and index not in stage.values:
                base, _, offset = places[index].partition(" + ")
                return f"{base}[{offset} + j]" if offset else f"{base}[j]"
            if op == "number":
                return self.number(float(number or 0)) if float(number or 0) >= 0 else f"({self.number(float(number or 0))})"
            entries = [value(arg) for arg in args]
            prefix = f"{self.name}_" if self.is_c else ""
            if op in INFIX:
                return f"{entries[0]} {INFIX[op]} {entries[1]}" if outer else f"({entries[0]} {INFIX[op]} {entries[1]})"
            if op == "neg":
                return f"(-{entries[0]})"
            if op == "normalize":
                return f"(({entries[0]} - m{index}) * r{index})"
            if op == "dropout":
                return f"({self.number(1 - self.zoneout)} * {entries[0]} + {self.number(self.zoneout)} * {entries[1]})"
            return f"{prefix}{op}({', '.join(entries)})"

        for index in stage.values:
            self.words |= {f"{nodes[index].op}()", *NEEDS.get(nodes[index].op, ())}
            if nodes[index].op == "number" and index not in self.kept and index not in wanted:
                continue
            name = self.names.get(index)
            if name or reads[index] != 1 or index in self.kept or index in wanted:
                code = value(index, outer=True)
                known[index] = f"{name}_new" if name in self.cell.states else f"{name}_" if name else f"n{index}"
                lines.append(f"{local} {known[index]} = {code};")
                if index in self.kept:
                    lines.append(f"{places[index]}[j] = {known[index]};")
        if is_last:
            old = {name: index for name, index in self.outputs.items() if index not in known}
            lines += [f"{local} {name}_new = {value(index)};" for name, index in old.items()]
            lines += [f"{name}_[j] = {known.get(index, f'{name}_new')};" for name, index in self.outputs.items()]
        if not lines:
            return []
        return [f"{self.loop(self.H)} {{", *(f"{self.indent}{line}" for line in lines), "}"]

    def function(self, at: int, states: Sequence[str], arrays: Mapping[str, int], lines: list[str]) -> str:
        indent = self.indent
        body = [f"{indent}{line}" for line in lines]
        moments = [index for stage in self.stages for index in stage.moments]
        if self.is_c:
            name, caps = self.name, self.name.upper()
            head = f"static inline void {name}_layer{at}({name}_state *{caps}_RESTRICT s, const float *{caps}_RESTRICT x, int skip, int symbol) {{"
            pointers = ", ".join(f"*{state}_ = s->{state}_[{at}]" for state in states)
            local = [f"float {pointers};", *(f"float {array}[{size}];" for array, size in arrays.items())]
            local += [f"float m{index}, r{index};" for index in moments] + ["int j;"]
            return "\n".join([head, *(f"{indent}{line}" for line in local), *body, "}"])
        room = [f"const {array} = new Float64Array({size});" for array, size in arrays.items()]
        pointers = ", ".join(f"{state}_ = s.{state}_[{at}]" for state in states)
        head = [f"function layer{at}(s, x, skip, symbol) {{", f"{indent}const {pointers};", *(f"{indent}{line}" for line in room)]
        return "\n".join([*head, *body, "}"])


def fill(frame: str, words: set[str], values: Mapping[str, Any], name: str) -> str:
    """Return the frame of a file with the sections that have one of the words, and with values for their names."""

    def section(match: re.Match[str]) -> str:
        return match[2] if words & set(match[1].split()) else ""

    text = re.sub(r"^//\? (.+)\n([\s\S]*?)^//\?\n", section, frame, flags=re.MULTILINE)
    values = {**values, "net": name, "NET": name.upper()}
    return re.sub(r"@(\w+)@", lambda match: str(values[match[1]]), text)


def _printable(line: str) -> str:
    return "".join(letter if letter.isalnum() or (letter.isascii() and letter.isprintable()) else " " for letter in line)


def _escape(text: str) -> str:
    """Return a text as it stands between the quotes of C: other bytes than ASCII letters as octal numbers."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode("utf-8")
    )
