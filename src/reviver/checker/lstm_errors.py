"""What the error says that a submitted LSTM raises: a mistake, or that it may have been called in a wrong way."""

import ast
import inspect
import json
import re
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.conventions import Form, LSTMSizes
from reviver.checker.lstm_reading import sizes_of
from reviver.checker.pieces import Failure, Mistake, Namespace, Unclear, describe, is_library, unparsed
from reviver.checker.standins import StandIn

ELSEWHERE = "(?i)cuda|nvidia|device|StandIn"
"""Words in errors of what is not on this machine."""


def judge_errors(names: Namespace, cls: Any, errors: Mapping[tuple[Form, torch.dtype], Exception]) -> Exception:
    """Return what to raise for a network that raised an error in each form of its input: a Failure, or Unclear."""
    problem, usual = furthest(errors.values()), LSTMSizes()
    if mistake := mistake_of(names, problem):
        return Failure(describe(problem), mistake)
    if "Recaller" in names or isinstance(problem, Unclear):
        return problem
    if is_its_own(names, cls, problem):
        shown = {form.name: describe(error) for (form, _), error in errors.items()}
        known = ", ".join(f"{size} = {number}" for size, number in usual._asdict().items())
        texts = {shown[name]: name for name in ("[B, T]", "[B, T, I]")}  # once, if they are the same
        each = "; ".join(f"for {name}: {text}" for text, name in texts.items())
        is_lost = "IndexError" in shown["[B, T, I]"] and overwrites(names, cls)
        return Failure(f"forward raises for every x ({known}); {each}", wrong.LOST if is_lost else None)
    form = next(form for (form, _), error in errors.items() if error is problem)
    return Unclear(
        f"no way of calling {cls.__name__} works; with x {form.name}: {describe(problem)}",
        "write forward(x) for x [batch, time] or [batch, time, inputs], which returns [batch, classes]",
    )


def furthest(errors: Iterable[Exception]) -> Exception:
    """Return the error that says most: of the attempt that came furthest in the code, the first of several."""

    def depth(error: Exception) -> int:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno or 0 for frame in frames if not is_library(frame.filename)]
        return 10**6 * isinstance(error, Unclear) + max(lines, default=0)

    return max(errors, key=depth)


def mistake_of(names: Namespace, error: Exception) -> Mistake | None:
    """Return the mistake that an error of a submission shows, however it is called; None if the call may be wrong."""
    if isinstance(error, AttributeError) and "'super' object" in str(error):
        return wrong.MISSPELT
    if isinstance(error, AttributeError) and lacks_attribute(names, error):
        return wrong.NOT_SET
    if (
        type(error) is NameError
        and error.name not in ("display", "get_ipython")
        and lacks_name(names, error.name or "")
    ):
        return wrong.NOT_DEFINED
    return wrong.CHANGED_LEAF if wrong.LEAF in str(error) else None


def is_its_own(names: Namespace, cls: Any, error: Exception) -> bool:
    """Return whether an error is not due to the call: forward of an LSTM raises it, takes x alone, and the class says all its sizes."""
    forward = cls.forward
    if isinstance(error, NameError | AttributeError | AssertionError) or re.search(ELSEWHERE, str(error)):
        return False  # what is missing may be somewhere else, and a network may assert sizes
    if "sigmoid" not in unparsed(names).lower():  # without gates it is no LSTM
        return False
    is_inside = any(frame.name == "forward" for frame in traceback.extract_tb(error.__traceback__))
    is_whole = not any(isinstance(forward.__globals__.get(name), StandIn) for name in forward.__code__.co_names)
    is_plain = len(inspect.signature(forward).parameters) == 2 and set("THC") <= set(sizes_of(cls))
    return is_inside and is_whole and is_plain


def overwrites(names: Namespace, cls: type) -> bool:
    """Return whether a loop over an index sets it again, or sets the sequence to the step that the index reads: x = x[t]."""
    classes = [
        each for source in names["*sources"] for each in source.tree.body if getattr(each, "name", "") == cls.__name__
    ]
    loops = [each for node in classes for each in ast.walk(node) if isinstance(each, ast.For)]
    for loop in loops:
        index = re.escape(ast.unparse(loop.target))
        for node in (each for each in ast.walk(loop) if isinstance(each, ast.Assign)):
            name, value = ast.unparse(node.targets[0]), ast.unparse(node.value)
            if re.escape(name) == index or re.match(rf"{re.escape(name)}\[[^]]*\b{index}\b", value):
                return True
    return False


def check_calls(names: Namespace, errors: Iterable[Exception]) -> None:
    """Raise a Failure for an error in which the file itself ended, if it is due to how it calls what it defines."""
    own = {getattr(node, "name", ""): node for source in names["*sources"] for node in source.tree.body}
    for error in errors:
        called = re.match(r"(\w+)(\.\w+)?\(\) (missing|takes|got an unexpected keyword)", str(error))
        if type(error) is TypeError and called and called[1] in own:
            is_class = isinstance(own[called[1]], ast.ClassDef)
            raise Failure(describe(error), wrong.NOT_BUILT if is_class else wrong.NOT_CALLED)


def check_attributes(names: Namespace, cls: Any) -> None:
    """Raise a Failure if the code of a network reads an attribute that nothing sets, which no call need show."""
    own = [each for source in names["*sources"] for each in source.names.values() if isinstance(each, type)]
    nodes = [node for source in names["*sources"] for node in ast.walk(source.tree)]
    known = {*dir(cls), *dir(nn.Module()), *(node.value for node in nodes if isinstance(node, ast.Constant))}
    known |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    dynamic = {"__dict__", "setattr", "__getattr__"} & set(map(name_of, nodes))
    bases = {each for known_class in cls.__mro__ for each in getattr(known_class, "__orig_bases__", ())}
    if dynamic or not {*cls.__mro__} <= {object, nn.Module, *own} or any(isinstance(each, StandIn) for each in bases):
        return
    classes = [node for node in nodes if isinstance(node, ast.ClassDef) and node.name == cls.__name__]
    functions = [each for node in classes for each in node.body if name_of(each) in ("__init__", "forward")]
    for node in (node for each in functions for node in ast.walk(each) if isinstance(node, ast.Attribute)):
        if node.attr not in known and ast.unparse(node.value) == "self":
            raise Failure(f"line {node.lineno}: nothing sets self.{node.attr}", wrong.NOT_SET)


def name_of(node: ast.AST) -> str:
    """Return the name that a node of a tree has or reads."""
    return str(getattr(node, "id", getattr(node, "attr", getattr(node, "name", ""))))


def lacks_attribute(names: Namespace, error: AttributeError) -> bool:
    """Return whether an object of a class of the submission lacks an attribute that is not there yet, and nothing may set."""
    own = [each for source in names.get("*sources", ()) for each in source.names.values() if isinstance(each, type)]
    text, name = unparsed(names), str(error.name)
    if (
        not {*type(error.obj).__mro__} <= {object, nn.Module, *own}
        or name.startswith("_")
        or type(error.obj) not in own
    ):
        return False
    is_new = any(frame.name == "__init__" for frame in traceback.extract_tb(error.__traceback__))
    return is_new or not re.search(rf"\.{name}\b[^=\n]* = |['\"]{name}['\"]|__dict__", text)


def lacks_name(names: Namespace, name: str) -> bool:
    """Return whether nothing in a submission, outside functions and classes, defines a name or may import it.

    A notebook may define it in a cell that is no Python, or in another file that it runs, so that this is not known.
    """
    text, bound = unparsed(names), {"__name__"}
    for source in names.get("*sources", ()):
        path = Path(source.names["__file__"])
        if path.suffix == ".ipynb" and not is_whole(path):
            return False
        for statement in source.tree.body:
            is_scope = isinstance(statement, ast.FunctionDef | ast.ClassDef)
            for node in [statement] if is_scope else ast.walk(statement):
                is_read = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
                bound |= {name_of(node)} if not is_read else set()
                aliases = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
                bound |= {(each.asname or each.name).partition(".")[0] for each in aliases}
    return not bound & {name, "*"} and not re.search(rf"global .*\b{name}\b|\b(exec|globals|vars)\(", text)


def is_whole(path: Path) -> bool:
    """Return whether all code cells of a notebook are Python, and run no other file."""
    cells = json.loads(path.read_bytes())["cells"]
    for text in ("".join(each["source"]) for each in cells if each["cell_type"] == "code"):
        try:
            ast.parse(re.sub(r"^(\s*)[!?%].*$", r"\1pass", text, flags=re.MULTILINE))
        except SyntaxError:
            return False
        if re.search(r"^\s*(%%|%(run|load)|!.*\.(py|ipynb))", text, re.MULTILINE):
            return False
    return True
