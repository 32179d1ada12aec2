"""Compare the equations of a cell with those of another, line by line and exactly: `reviver check my.cell --against lstm`.

Shapes: B batch, I input size, H hidden size.
"""

import ast
import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from reviver.cells import reference
from reviver.cells.grammar import Cell, load_cell
from reviver.checker.assignment import CheckReport
from reviver.checker.compare import difference, sample
from reviver.checker.pieces import PieceOutcome

B, I, H = 4, 3, 5  # noqa: E741
TOLERANCE = 1e-12
OPERATIONS: dict[type[ast.operator], Callable[..., Tensor]] = {
    ast.Add: torch.add,
    ast.Sub: torch.sub,
    ast.Mult: torch.mul,
    ast.Div: torch.div,
}
ONE_ARGUMENT = ("sigmoid", "tanh", "relu", "exp", "log", "softplus", "sqrt", "abs", "normalize")
SECTION = "The equations"


def check_cell(path: Path, against: str) -> CheckReport:
    """Return which lines of a cell's text agree with those of another cell of the same names. Raises ConfigError."""
    mine, other = load_cell(path), load_cell(against)
    if problem := compare_names(mine, other):
        return CheckReport(str(path), (), f"cannot be compared with {other.name} line by line: {problem}")
    weights = {name: sample(seed, *shape).double() for seed, (name, shape) in enumerate(other.shapes(I, H).items())}
    before = {name: sample(100 + seed, B, H).double() for seed, name in enumerate(other.states)}
    x = sample(99, B, I).double()
    right = reference.step(other, weights, x, before)
    values: dict[str, Tensor] = {"x": x, **weights, **before}
    outcomes = []
    for name, quantity in mine.quantities.items():
        source = quantity.source.partition("#")[0].strip()
        tree = ast.parse(source.partition("=")[2].strip(), mode="eval").body
        found, text, how = evaluate(tree, values), "", ""
        if name in right:  # later lines get the right value, so that each mistake shows once
            text = difference({name: found}, {name: right[name]}, TOLERANCE)
            how = next(explain(tree, values, right[name]), "") if text else ""
            line = f"line {quantity.line}: {source}"
            status = "failed" if text else "passed"
            outcomes.append(
                PieceOutcome(name, "lstm", status, f"{line}; {text}" if text else line, how, "", SECTION * bool(text))
            )
        values[name] = right.get(name, found)
    for name, begin in other.vectors.items():
        if mine.vectors.get(name, begin) != begin:
            text = f"begins at {mine.vectors[name]:g}, should be {begin:g}"
            outcomes.append(PieceOutcome(name, "lstm", "failed", text, section=SECTION))
    return CheckReport(str(path), tuple(outcomes))


def compare_names(mine: Cell, other: Cell) -> str:
    """Return how the names of states and weights differ, empty if they do not."""
    for what, found, right in (
        ("states", set(mine.states), set(other.states)),
        ("matrices on x", names_on_x(mine, True), names_on_x(other, True)),
        ("other matrices", names_on_x(mine, False), names_on_x(other, False)),
        ("vectors", set(mine.vectors), set(other.vectors)),
    ):
        missing = (
            right - found if what == "states" else set()
        )  # a weight that no line uses shows in the line that should
        parts = [f"{', '.join(sorted(missing))} is missing"] * bool(missing)
        parts += [f"{', '.join(sorted(found - right))} is unknown there"] * bool(found - right)
        if parts:
            return f"{what}: {'; '.join(parts)}"
    return ""


def names_on_x(cell: Cell, on_x: bool) -> set[str]:
    """Return the matrices of a cell that act on x, or the others."""
    return {name for name, acts in cell.matrices.items() if acts == on_x}


def evaluate(tree: ast.expr, values: Mapping[str, Tensor]) -> Tensor:
    """Return what an expression of a cell's text computes, [B, H]; the text was parsed before, so that it can be evaluated."""
    match tree:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=number):
            return torch.tensor(float(number)).double()  # type: ignore[arg-type]
        case ast.UnaryOp(operand=operand):
            return -evaluate(operand, values)
        case ast.BinOp(left=left, op=ast.MatMult(), right=vector):
            return functional.linear(evaluate(vector, values), evaluate(left, values))
        case ast.BinOp(left=left, op=op, right=end):
            return OPERATIONS[type(op)](evaluate(left, values), evaluate(end, values))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return reference.OPERATORS[name](*(evaluate(each, values) for each in arguments))
    raise AssertionError(ast.dump(tree))


def explain(tree: ast.expr, values: Mapping[str, Tensor], right: Tensor) -> Iterator[str]:
    """Yield what alone makes an expression wrong: a name, a function or an operator, for which another would be right."""
    for index, node in enumerate(ast.walk(tree)):
        others: list[ast.expr | ast.operator] = []
        if isinstance(node, ast.Name) and node.id in values:
            others, what = [ast.Name(name) for name in values], f"{node.id} is not what belongs there"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
            others = [ast.Call(ast.Name(name), node.args, []) for name in ONE_ARGUMENT]
            what = f"{node.func.id} is not the function that belongs there"
        elif isinstance(node, ast.BinOp) and not isinstance(node.op, ast.MatMult):
            others = [ast.BinOp(node.left, op(), node.right) for op in OPERATIONS]
            what = f"the operator between {ast.unparse(node.left)} and {ast.unparse(node.right)} is another"
        for other in others:
            changed = copy.deepcopy(ast.Expression(tree))
            target = list(ast.walk(changed.body))[index]
            target.__class__ = type(other)
            target.__dict__.update(other.__dict__)
            try:
                value = evaluate(changed.body, values)
            except (RuntimeError, KeyError):  # shapes that do not fit
                continue
            if value.shape == right.shape and not difference({"": value}, {"": right}, TOLERANCE):
                yield f"only {what}"
