"""Compare the equations of a cell with those of another, line by line and exactly: `reviver check my.cell --against lstm`.

Shapes: B batch, I input size, H hidden size.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reviver.checker.assignment import CheckReport
from reviver.checker.compare import difference, sample
from reviver.checker.pieces import PieceOutcome
from reviver.recurrent import reference
from reviver.recurrent.grammar import Cell, load_cell

B, I, H = 4, 3, 5  # noqa: E741
TOLERANCE = 1e-12
FUNCTIONS = {**reference.OPERATORS, "normalize": lambda v: reference.OPERATORS["normalize"](v.T).T}
"""Functions of columns."""
SECTION = "The equations"


def check_cell(path: Path, against: str) -> CheckReport:
    """Return which lines of a cell's text agree with those of another cell of the same names. Raises ConfigError."""
    mine, other = load_cell(path), load_cell(against)
    ours, theirs = roles(mine), roles(other)
    problems = [f"{name} is no {role} there" for name, role in ours.items() if theirs.get(name) != role]
    problems += [f"the state {name} is missing" for name in other.states if name not in ours]
    if problems:  # a weight that no line has shows in the line that should
        return CheckReport(str(path), (), f"cannot be compared with {other.name} line by line: {'; '.join(problems)}")
    weights = {name: sample(seed, *shape).double() for seed, (name, shape) in enumerate(other.shapes(I, H).items())}
    before = {name: sample(100 + seed, B, H).double() for seed, name in enumerate(other.states)}
    x = sample(99, B, I).double()
    right = {name: value.T for name, value in reference.step(other, weights, x, before).items()}
    values = {name: value[:, None] if value.ndim == 1 else value for name, value in weights.items()}
    values |= {"x": x.T} | {name: value.T for name, value in before.items()}  # columns, as the text has them
    outcomes = []
    for name, quantity in mine.quantities.items():
        source = quantity.source.partition("#")[0].strip()
        tree = ast.parse(source.partition("=")[2].strip(), mode="eval")
        found, line = evaluate(tree, values), f"line {quantity.line}: {source}"
        if name in right:  # later lines get the right value, so that each mistake shows once
            text = difference({name: found.T}, {name: right[name].T}, TOLERANCE)
            how = next(explain(tree, values, right[name]), "") if text else ""
            verdict = ("failed", f"{line}; {text}", how, "", SECTION) if text else ("passed", line)
            outcomes.append(PieceOutcome(name, "lstm", *verdict))
        values[name] = right.get(name, found)
    for name, begin in other.vectors.items():
        if mine.vectors.get(name, begin) != begin:
            text = f"begins at {mine.vectors[name]:g}, should be {begin:g}"
            outcomes.append(PieceOutcome(name, "lstm", "failed", text, section=SECTION))
    return CheckReport(str(path), tuple(outcomes))


def roles(cell: Cell) -> dict[str, str]:
    """Return what each state and weight of a cell is."""
    matrices = {name: "matrix on x" if on_x else "matrix on h" for name, on_x in cell.matrices.items()}
    return dict.fromkeys(cell.states, "state") | matrices | dict.fromkeys(cell.vectors, "vector")


def evaluate(tree: ast.Expression, values: Mapping[str, Tensor]) -> Tensor:
    """Return what an expression of a cell's text computes, [H, B]; the grammar has admitted only names, numbers and functions."""
    code = compile(ast.fix_missing_locations(tree), "<frozen cell>", "eval")
    return torch.as_tensor(eval(code, {"__builtins__": {}, **FUNCTIONS}, values)).expand(H, B)  # noqa: S307


def explain(tree: ast.Expression, values: Mapping[str, Tensor], right: Tensor) -> Iterator[str]:
    """Yield what alone makes an expression wrong: a name, a function or an operator, for which another would be right."""
    for node in ast.walk(tree):
        others: list[Any] = []
        if isinstance(node, ast.Name):
            is_value, field = node.id in values, "id"
            others = list(values if is_value else FUNCTIONS)
            text = f"only {node.id} is not {'what' if is_value else 'the function that'} belongs there"
        elif isinstance(node, ast.BinOp) and not isinstance(node.op, ast.MatMult):
            others, field = [ast.Add(), ast.Sub(), ast.Mult(), ast.Div()], "op"
            text = f"only the operator between {ast.unparse(node.left)} and {ast.unparse(node.right)} is another"
        for other in others:
            before = getattr(node, field)
            setattr(node, field, other)
            try:
                if not difference({"": evaluate(tree, values)}, {"": right}, TOLERANCE):
                    yield text
            except (RuntimeError, TypeError):  # shapes that do not fit
                pass
            setattr(node, field, before)
