"""The text of a cell: its grammar, the checks, and what follows from it, names and sizes of weights and states.

A line is an assignment, `r = sigmoid(W_r @ x + U_r @ h + b_r)`, or says where a vector begins, `b_f: 1`. Expressions
are a strict subset of Python, which `ast` reads and nothing executes: `+ - * / @`, parentheses, numbers, names and the
functions of `graph.FUNCTIONS`. What follows `#` names the quantity.

- `x` is the input, [I], and stands right of `@` only; `h` is the output, [H].
- A name that is read before its line, or in it, is state: its value of the step before, at first 0.
- A name left of `@` is a learned matrix, [H, I] on x, else [H, H].
- Any other name with an underscore is a learned vector, [H].
- Dropout of the hidden state acts on h: the lines after that of h read it after dropout.
- `normalize(v)` has mean 0 and variance 1 over the units: (v - mean) / sqrt(variance + 1e-5).

Weights have an order: matrices on x in the order of the text, the other matrices, the vectors. In this order they begin:
matrices Xavier-uniform, vectors at 0, or where their line says.
"""

import ast
import itertools
import math
import re
import textwrap
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple, NoReturn

from reviver.recurrent.graph import FUNCTIONS, Node, StepGraph
from reviver.settings.lstm_network import CELLS, cell_label, is_cell_text, read_cell_text
from reviver.settings.validation import refuse
from reviver.text import did_you_mean, one_line, short_repr

MAX_LINES, MAX_WIDTH, MAX_DEPTH, MAX_STAGES = 64, 200, 32, 6
"""Limits of a text: lines, characters of a line, nested expressions, products that wait for one another."""
OPERATORS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
FOLDER = Path(__file__).parent
PREVIOUS = re.compile(r"[A-Za-z0-9]+_(prev|previous|last|old|before|t_?(1|m1|minus_?1))")
"""Names such as h_prev and h_t_1, which papers have for a state before the step."""


class Quantity(NamedTuple):
    """A line of a text: its node, what its comment says, and where it stands."""

    node: int
    meaning: str
    line: int
    source: str


@dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent cell as its equations; names are in the order of the text."""

    text: str
    name: str  # in messages: that of a built-in text or of a file, else `text`
    title: str  # the comment before the first line
    graph: StepGraph  # of a step
    quantities: dict[str, Quantity]  # the assigned names
    states: tuple[str, ...]  # h first
    matrices: dict[str, bool]  # whether each acts on x; those that do come first
    vectors: dict[str, float]  # where each begins

    @cached_property
    def weights(self) -> tuple[str, ...]:
        """Names of all weights in their order."""
        return *self.matrices, *self.vectors

    @cached_property
    def has_memory(self) -> bool:
        """Whether h depends on any state, so on more than the last step."""
        equations = self.graph.nodes[self.quantities["h"].node].args[0]  # before dropout, which has h before the step
        return any(self.graph.nodes[index].op == "state" for index in self.graph.reachable([equations]))

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all weights in their order."""
        sizes = {name: (hidden_size, input_size if on_x else hidden_size) for name, on_x in self.matrices.items()}
        return {**sizes, **dict.fromkeys(self.vectors, (hidden_size,))}

    def parameter_count(self, input_size: int, hidden_size: int) -> int:
        """Return the number of weights."""
        return sum(math.prod(shape) for shape in self.shapes(input_size, hidden_size).values())

    def summary(self) -> str:
        """Return states and weights on one line, such as "states h, c; matrices W_i, U_i; vectors b_i"."""
        begins = [name if start == 0 else f"{name} = {start:g}" for name, start in self.vectors.items()]
        parts = {"states": self.states, "matrices on x": [name for name, on_x in self.matrices.items() if on_x]}
        parts |= {"other matrices": [name for name, on_x in self.matrices.items() if not on_x], "vectors": begins}
        text = "; ".join(f"{what} {', '.join(names)}" for what, names in parts.items() if names)
        return text if self.has_memory else f"no memory: h depends on no state; {text}"


def load_cell(cell: "Cell | str | Path") -> Cell:
    """Return a cell by the name of a built-in text, by its text, or by its file, whose name ends with `.cell`.

    Raises:
        ConfigError: if there is none, or its text is wrong, with line and column.
    """
    if isinstance(cell, Cell):
        return cell
    if is_cell_text(cell):
        known = {built_in_cell(name).text: name for name in CELLS}
        found = parse(str(cell), cell_label(str(cell)))
        return built_in_cell(known[found.text]) if found.text in known else found
    if str(cell) in CELLS:
        return built_in_cell(str(cell))
    path = Path(cell)
    if path.suffix != ".cell":
        advice = did_you_mean(str(cell), CELLS) or f"the built-in ones are {', '.join(CELLS)}"
        forms = "a built-in one, a file such as mine.cell, or a text"
        refuse("cell", f"must be {forms}, got {short_repr(cell)}; {advice}")
    return parse(read_cell_text(path), path.name)


@cache
def built_in_cell(name: str) -> Cell:
    """Return a cell by the name of a built-in text."""
    return parse((FOLDER / f"{name}.cell").read_text(encoding="utf-8"), name)


def parse(text: str, name: str = "text") -> Cell:
    """Return the cell of a text; raise a ConfigError with line and column if it is wrong."""
    return _Parser(text, name).cell()


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = textwrap.dedent(text).strip("\n"), name
        self.rows = self.text.split("\n")
        self.graph = StepGraph()
        self.assigned: dict[str, int] = {}  # line of each assigned name
        self.env: dict[str, int] = {}  # node of each name that is assigned so far
        self.roles = {"x": ("the input", 0)} | dict.fromkeys(FUNCTIONS, ("a function", 0))  # and their first lines
        self.reads: dict[str, set[str]] = {}  # names that the line of a name reads
        self.target = ""
        self.matrices: dict[str, bool] = {}
        self.vectors: dict[str, float] = {}

    def cell(self) -> Cell:
        if len(self.rows) > MAX_LINES:
            self.refuse(f"has {len(self.rows)} lines; a text has at most {MAX_LINES}")
        statements = [found for number, row in enumerate(self.rows, start=1) for found in self.statement(number, row)]
        assignments = [one for one in statements if isinstance(one, ast.Assign)]
        starts = {getattr(one.target, "id", ""): one for one in statements if isinstance(one, ast.AnnAssign)}
        for one in assignments:
            self.declare(one.targets[0])
        quantities: dict[str, Quantity] = {}
        for one in assignments:
            name = self.target = str(getattr(one.targets[0], "id", ""))
            node = self.expression(one.value, 0)
            if name == "h":
                node = self.graph.add("dropout", node, self.graph.add("state", value="h"))
            self.env[name] = node
            source, _, meaning = self.rows[one.lineno - 1].partition("#")
            quantities[name] = Quantity(node, meaning.strip(), one.lineno, source.strip())
        self.check(quantities, starts)
        on_x = {name: on_x for name, on_x in self.matrices.items() if on_x}
        states = [name for name in quantities if name == "h" or Node("state", (), name) in self.graph.nodes]
        states.sort(key=lambda name: name != "h")
        comments = itertools.takewhile(lambda row: row.startswith("#"), self.rows)
        title = " ".join(" ".join(comments).replace("#", "").split())
        vectors = {name: self.start(starts[name]) if name in starts else 0.0 for name in self.vectors}
        matrices = {**on_x, **self.matrices}
        return Cell(self.text, self.name, title, self.graph, quantities, tuple(states), matrices, vectors)

    # Lines ----------------------------------------------------------------------------------------------------------

    def statement(self, number: int, row: str) -> list[ast.stmt]:
        """Return the statement of a line, none if it is empty or a comment."""
        code = row.partition("#")[0]
        if len(code) > MAX_WIDTH:
            problem = f"has {len(code)} characters; a line has at most {MAX_WIDTH}, split it by a new name"
            self.refuse(problem, (number, 0))
        code = code.strip()
        for column, letter in enumerate(code.replace("\t", " ")):
            if not letter.isascii() or not letter.isprintable():
                self.refuse(f"{letter!r} is no letter of a text; write names in ASCII letters", (number, column))
        self.check_parentheses(number, code)
        try:
            body = ast.parse("\n" * (number - 1) + code).body
        except SyntaxError as error:
            if pair := re.search(r"=.*?\b([A-Za-z_]\w*)\s+([A-Za-z_]\w*)", code):
                self.refuse(f"write @ between {pair[1]} and {pair[2]}", (number, pair.start(2)))
            problem = f"{error.msg}; a line is NAME = EXPRESSION with its parentheses closed"
            self.refuse(problem, (number, (error.offset or 1) - 1))
        except (ValueError, MemoryError, RecursionError) as error:
            self.refuse(f"cannot be read ({one_line(error)})", (number, 0))
        if len(body) > 1:
            self.refuse("has several statements; write one assignment a line", (number, 0))
        for one in body:
            if isinstance(one, ast.AnnAssign) and one.value is None and isinstance(one.target, ast.Name):
                self.start(one)
            elif not isinstance(one, ast.Assign) or len(one.targets) != 1:
                self.refuse("is no assignment; write NAME = EXPRESSION, or NAME: NUMBER where a vector begins", one)
        return body

    def check_parentheses(self, number: int, code: str) -> None:
        opened: list[int] = []
        for found in re.finditer(r"[()]", code):
            if found[0] == "(":
                opened.append(found.start())
            elif not opened:
                self.refuse("this ) closes no (", (number, found.start()))
            else:
                opened.pop()
        if opened:
            self.refuse("this ( is never closed", (number, opened[0]))

    def start(self, statement: ast.AnnAssign) -> float:
        value, sign = statement.annotation, 1.0
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
            sign, value = -1.0, value.operand
        if not isinstance(value, ast.Constant):
            self.refuse("a vector begins at a number, such as `b_f: 1`", statement.annotation)
        return sign * self.number(value)

    def declare(self, target: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            self.refuse("left of = stands one name", target)
        name = target.id
        if name.startswith("_"):
            self.refuse(f"{name} begins with an underscore; take another name", target)
        if name in self.assigned:
            self.refuse(f"{name} has line {self.assigned[name]} already; take another name", target)
        self.claim(target, "computed by the text")
        self.assigned[name] = target.lineno

    def claim(self, tree: ast.Name, role: str, remedy: str = "take another name") -> None:
        """Note the role of a name; refuse a name that has another one."""
        known, line = self.roles.setdefault(tree.id, (role, tree.lineno))
        if known != role:
            self.refuse(f"{tree.id} is {known}{f' on line {line}' if line else ''}, and {role} here; {remedy}", tree)

    # Expressions ----------------------------------------------------------------------------------------------------

    def expression(self, tree: ast.expr, depth: int) -> int:
        if depth > MAX_DEPTH:
            self.refuse(f"is nested more than {MAX_DEPTH} deep; split it by a new name", tree)
        if isinstance(tree, ast.BinOp):
            if isinstance(tree.op, ast.MatMult):
                return self.product(tree, depth)
            if type(tree.op) in OPERATORS:
                if isinstance(tree.op, ast.Div) and isinstance(tree.right, ast.Constant) and not tree.right.value:
                    self.refuse("divides by 0", tree.right)
                sides = self.expression(tree.left, depth + 1), self.expression(tree.right, depth + 1)
                return self.graph.add(OPERATORS[type(tree.op)], *sides)
        elif isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return self.graph.add("neg", self.expression(tree.operand, depth + 1))
        elif isinstance(tree, ast.Constant):
            return self.graph.add("number", value=self.number(tree))
        elif isinstance(tree, ast.Name | ast.Call):
            return self.name_of(tree) if isinstance(tree, ast.Name) else self.call(tree, depth)
        return self.refuse(
            f"{one_line(ast.unparse(tree), 40)} is not part of a text, which has + - * / @, parentheses, numbers, names "
            "and functions",
            tree,
        )

    def number(self, tree: ast.Constant) -> float:
        if type(tree.value) not in (int, float) or not abs(tree.value) < 1e30:  # type: ignore[arg-type]
            self.refuse("is not a number that a text can have; write a finite one such as 0.5", tree)
        return float(tree.value)  # type: ignore[arg-type]

    def product(self, tree: ast.BinOp, depth: int) -> int:
        matrix, right = tree.left, tree.right
        if not isinstance(matrix, ast.Name):
            left, operand = ast.unparse(matrix), ast.unparse(right)
            rest, _, last = left.rpartition(" ")
            advice = f"{rest} ({last} @ {operand})" if rest.endswith(("*", "/", "@")) else f"M @ {operand}"
            self.refuse(f"left of @ stands one matrix, got {one_line(left, 60)}; write {one_line(advice, 80)}", tree)
        name = matrix.id
        on_x = isinstance(right, ast.Name) and right.id == "x"
        remedy = "take another name, or use * for a product by units"
        self.claim(matrix, f"a matrix {'[H, I] on x' if on_x else '[H, H]'}", remedy)
        self.matrices[name] = on_x
        if on_x:
            factor = self.graph.add("x")
        elif isinstance(right, ast.Name):
            factor = self.name_of(right, "x" if name.startswith("W") else "h")
        else:
            factor = self.expression(right, depth + 1)
        return self.graph.add("matmul", factor, value=name)

    def name_of(self, tree: ast.Name, usual: str = "") -> int:  # `usual` is what such a matrix acts on
        name = tree.id
        self.reads.setdefault(self.target, set()).add(name)
        if name == "x":
            self.refuse("x has I numbers, not H; write a matrix before it, such as W_x @ x", tree)
        if name in self.env:
            return self.env[name]
        if name in self.assigned:
            return self.graph.add("state", value=name)
        if name == "b":
            self.refuse("a learned bias is called b_…, such as b_h", tree)
        if "_" not in name.strip("_") and name not in FUNCTIONS:
            near = did_you_mean(name, [*self.assigned, "x"])
            near = near or (usual and f"did you mean {usual}?")
            near = near or f"write a line {name} = ..., or b_{name} for a learned vector"
            self.refuse(f"no line computes {name}; {near}", tree)
        before, _, _ = name.partition("_")
        if PREVIOUS.fullmatch(name) and before in self.assigned:
            self.refuse(f"{name} would be a learned vector; the state before the step is read as {before}", tree)
        self.claim(tree, "a vector", f"write {name}(v)" if name in FUNCTIONS else "take another name")
        self.vectors.setdefault(name, 0.0)
        return self.graph.add("vector", value=name)

    def call(self, tree: ast.Call, depth: int) -> int:
        if isinstance(tree.func, ast.Attribute) and isinstance(tree.func.value, ast.Name):
            self.refuse(f"write {tree.func.attr}, without {tree.func.value.id}", tree)
        name = tree.func.id if isinstance(tree.func, ast.Name) else ast.unparse(tree.func)
        if name not in FUNCTIONS:
            near = did_you_mean(name, FUNCTIONS) or f"there are {', '.join(FUNCTIONS)}"
            self.refuse(f"unknown function {one_line(name, 40)}; {near}", tree)
        if tree.keywords or len(tree.args) != (count := FUNCTIONS[name].arguments):
            self.refuse(f"{name} has {count} argument{'s'[: count - 1]}: {name}({', '.join('ab'[:count])})", tree)
        return self.graph.add(name, *(self.expression(arg, depth + 1) for arg in tree.args))

    # The whole text -------------------------------------------------------------------------------------------------

    def check(self, quantities: dict[str, Quantity], starts: dict[str, ast.AnnAssign]) -> None:
        if "h" not in quantities:
            last = list(quantities)[-1:] or ["v"]
            self.refuse(f"no line computes h, the output; write one such as h = tanh({last[0]})")
        if not any(self.matrices.values()):
            self.refuse("no line reads x, the input; write a matrix before it, such as W_x @ x")
        for name, statement in starts.items():
            if name not in self.vectors:
                near = did_you_mean(name, self.vectors) or "only learned vectors begin at a number"
                self.refuse(f"no line reads a vector {name}; {near}", statement)
        read, waiting = set[str](), ["h"]
        while waiting:  # what h depends on, over steps
            name = waiting.pop()
            if name not in read:
                read.add(name)
                waiting += self.reads.get(name, ())
        for name, quantity in quantities.items():
            if name not in read:
                self.refuse(f"{name} is never used; use it, or remove the line", (quantity.line, 0))
        stages = self.graph.stages()
        if stages > MAX_STAGES:
            self.refuse(f"has {stages} products that wait for one another; at most {MAX_STAGES} may")

    def refuse(self, problem: str, at: ast.expr | ast.stmt | tuple[int, int] | None = None) -> NoReturn:
        line, column = at if isinstance(at, tuple) else (getattr(at, "lineno", 0), getattr(at, "col_offset", 0))
        place = ""
        if at is not None:
            row = self.rows[line - 1]
            place = f", line {line}, column {column + len(row) - len(row.lstrip()) + 1}"
        refuse("cell", f"{self.name}{place}: {problem}")
