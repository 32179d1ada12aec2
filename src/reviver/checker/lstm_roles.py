"""Which class of a submission is the cell and which the network that reads sequences: what agrees in a role has that role."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.compare import compare
from reviver.checker.conventions import FORMS, LSTMSizes
from reviver.checker.lstm_pieces import find_steps, step_values
from reviver.checker.lstm_reading import read_network
from reviver.checker.lstm_sequence import values
from reviver.checker.pieces import Namespace


def find_roles(names: Namespace, classes: Mapping[str, Any]) -> dict[str, Any]:
    """Return LSTM and LSTMCell, the first class that agrees in each role; those by name where none does."""
    modules = [each for each in classes.values() if isinstance(each, type) and issubclass(each, nn.Module)]
    found, dtype = {role: names[role] for role in ("LSTMCell", "LSTM") if role in names}, torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.set_default_dtype(torch.float64)
        torch.set_deterministic_debug_mode("warn")
        try:
            cells = agreeing(names, "LSTMCell", modules, is_cell)
            sequences = agreeing(names, "LSTM", [each for each in modules if each not in cells], is_sequence)
        finally:
            torch.set_default_dtype(dtype)
            torch.set_deterministic_debug_mode("default")
    if cells:
        found["LSTMCell"] = cells[0]
    elif found.get("LSTMCell") in sequences:
        del found["LSTMCell"]
    if sequences:
        found["LSTM"] = sequences[0]
    elif found.get("LSTM") in cells:
        del found["LSTM"]
    return found


def agreeing(names: Namespace, role: str, modules: Sequence[Any], agrees: Any) -> list[Any]:
    """Return the first class that agrees in a role as a list, that by name before others; empty if none does."""
    for cls in dict.fromkeys([*([names[role]] if names.get(role) in modules else []), *modules]):
        try:
            agrees(dict(names) | {role: cls})
            return [cls]
        except Exception:  # noqa: S112 whatever the class raises, called in a way that is not its own
            continue
    return []


def is_cell(names: Namespace) -> None:
    """Raise an error unless a class agrees with the equations as a cell."""
    compare(step_values, find_steps(names), wrong.step, ())


def is_sequence(names: Namespace) -> None:
    """Raise an error unless a class agrees with the equations over a sequence."""
    problem: Exception | None = None
    for form in FORMS:
        try:
            if reading := read_network(names, form, LSTMSizes()):
                compare(partial(values, reading, False), reading.layouts, wrong.recall, ())
                return
        except Exception as error:
            problem = error
    raise problem or TypeError
