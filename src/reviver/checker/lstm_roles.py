"""Which class of a submission is the cell and which the network that reads sequences: what agrees in a role has that role."""

import ast
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.compare import compare
from reviver.checker.conventions import FORMS, LSTM_KEYS, LSTMSizes, build_module
from reviver.checker.loops import find_loops
from reviver.checker.lstm_errors import lacks_attribute
from reviver.checker.lstm_pieces import find_steps, step_values
from reviver.checker.lstm_reading import read_network
from reviver.checker.lstm_sequence import check_sequence, values
from reviver.checker.pieces import Failure, Namespace, Unclear


def find_roles(names: Namespace, classes: Mapping[str, Any]) -> dict[str, Any]:
    """Return LSTM and LSTMCell, the first class that agrees in each role; those by name where none does."""
    modules = [each for each in classes.values() if isinstance(each, type) and issubclass(each, nn.Module)]
    found: dict[str, Any] = {role: names[role] for role in ("LSTMCell", "LSTM") if role in names}
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.set_default_dtype(torch.float64)
        torch.set_deterministic_debug_mode("warn")
        try:
            cells = agreeing(names, "LSTMCell", modules, is_cell)
            others = [each for each in modules if each not in cells]
            sequences = agreeing(names, "LSTM", others, is_sequence)
            if not cells + sequences:  # some hold their weights in float32
                torch.set_default_dtype(torch.float32)
                sequences = agreeing(names, "LSTM", others, is_sequence)
                torch.set_default_dtype(torch.float64)
            if not cells + sequences:
                for role, agrees in (("LSTMCell", is_cell), ("LSTM", is_sequence)):
                    if nearly := agreeing(names, role, modules, partial(is_explained, agrees)):
                        kept = {name: each for name, each in found.items() if each is not nearly[0]}
                        found = kept | {role: nearly[0]}
                        break
        finally:
            torch.set_default_dtype(dtype)
            torch.set_deterministic_debug_mode("default")
    texts = {
        node.name: ast.unparse(node) for source in names["*sources"] for node in source.tree.body if is_class(node)
    }
    if sequences:
        others = [each for each in modules if each not in sequences + cells and has_gates(texts, each)]
        found["LSTM"] = next((each for each in others if is_broken(names, each)), sequences[0])
        by_name = [found["LSTMCell"]] if not cells and "LSTMCell" in found else []
        if by_name and (
            not has_gates(texts, by_name[0]) or agreeing({**names, "LSTM": None}, "LSTM", by_name, is_sequence)
        ):
            del found["LSTMCell"]
    if cells:
        found |= {"LSTMCell": cells[0], "*cell": cells[0]}
        if not sequences:
            found = around_cell(names, found, modules, texts)
    elif found.get("LSTMCell") in sequences:
        del found["LSTMCell"]
    return found


def around_cell(
    names: Namespace, found: dict[str, Any], modules: Sequence[Any], texts: Mapping[str, str]
) -> dict[str, Any]:
    """Return the roles with the network around a cell that agrees, without it if it cannot be compared and nothing trains it."""
    name = found["LSTMCell"].__name__
    around = [each for each in modules if re.search(rf"\b{name}\(", texts.get(each.__name__, ""))]
    by_name = found.pop("LSTM", None)
    if not around and by_name not in (None, found["LSTMCell"]) and has_gates(texts, by_name):
        return found | {"LSTM": by_name}
    around = [each for each in around if each is not found["LSTMCell"]]
    for cls in sorted(around, key=lambda each: each is not by_name)[:1]:
        try:
            check_sequence({**names, **found, "LSTM": cls})
        except Exception as error:
            if isinstance(error, Unclear) and not any(find_loops(names["*sources"])):
                found["*aside"] = cls.__name__
                continue
        found["LSTM"] = cls
    return found


def is_broken(names: Namespace, cls: Any) -> bool:
    """Return whether a class lacks an attribute of its own as soon as it is built."""
    try:
        build_module(cls, LSTM_KEYS, LSTMSizes()._asdict())
    except AttributeError as error:
        return lacks_attribute(names, error)
    except Exception:
        return False
    return False


def is_class(node: ast.AST) -> bool:
    """Return whether a statement defines a class."""
    return isinstance(node, ast.ClassDef)


def has_gates(texts: Mapping[str, str], cls: Any) -> bool:
    """Return whether a class itself computes gates."""
    return "sigmoid" in texts.get(cls.__name__, "sigmoid").lower()


def agreeing(names: Namespace, role: str, modules: Sequence[Any], agrees: Any) -> list[Any]:
    """Return the first class that agrees in a role as a list, that by name before others; empty if none does."""
    for cls in dict.fromkeys([*([names[role]] if names.get(role) in modules else []), *modules]):
        try:
            agrees(dict(names) | {role: cls})
            return [cls]
        except Exception:  # noqa: S112 whatever the class raises, called in a way that is not its own
            continue
    return []


def is_explained(agrees: Any, names: Namespace) -> None:
    """Raise an error unless the numbers of a class are those of a known mistake in a role."""
    try:
        agrees(names, with_mistakes=True)
    except Failure as failure:
        if not failure.mistake or "should be" not in str(failure):
            raise


def is_cell(names: Namespace, *, with_mistakes: bool = False) -> None:
    """Raise an error unless a class agrees with the equations as a cell."""
    mistakes = (*wrong.STEP_MISTAKES, *wrong.BORROWED) if with_mistakes else ()
    compare(step_values, find_steps(names), wrong.step, (), alone=mistakes)


def is_sequence(names: Namespace, *, with_mistakes: bool = False) -> None:
    """Raise an error unless a class agrees with the equations over a sequence."""
    problem: Exception | None = None
    tolerance = 1e-7 if torch.get_default_dtype() == torch.float64 else 1e-3
    for form in FORMS:
        try:
            if reading := read_network(names, form, LSTMSizes()):
                mistakes, named = wrong.SEQUENCE_MISTAKES, [each for each in reading.layouts if each.is_named]
                if with_mistakes:
                    compare(partial(values, reading, False), named or reading.layouts, wrong.recall, (), alone=mistakes)
                else:
                    compare(partial(values, reading, False), reading.layouts, wrong.recall, (), tolerance=tolerance)
                return
        except Exception as error:
            problem = error
            if isinstance(error, Failure) and error.mistake:
                break
    raise problem or TypeError
