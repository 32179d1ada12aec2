"""Check a network around a cell by watching it: what each step of the cell takes from the step before.

Whatever the network does beside, such as several layers, an embedding or a norm, need not be understood.

Shapes: B batch, T time.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from reviver.checker import lstm_mistakes as wrong
from reviver.checker.conventions import FORMS, LSTMSizes
from reviver.checker.lstm_reading import Reading, starts, state_arguments
from reviver.checker.pieces import Failure, Namespace, Unclear

Calls = list[tuple[list[Tensor], list[Tensor]]]
"""What a cell took as states at each step, and what it returned."""


def check_chain(names: Namespace) -> str:
    """Check that the steps of a cell over a sequence are a chain that begins with zeros. Raises Failure or Unclear."""
    cls, cell = names["LSTM"], names["LSTMCell"]
    torch.set_default_dtype(torch.float32)
    for network, inputs, least in runs(names, cls):
        calls, results = watch(network, inputs, cell)
        if calls and min(map(len, calls)) >= least:
            for each in calls:
                check_calls(each)
            if not any(reaches(results, each[-1][1]) for each in calls):
                raise Unclear(f"what {cls.__name__} returns does not depend on the last step", "return it, too")
            return f"each step of {cell.__name__} in {cls.__name__} takes the state of the step before, as watching it shows"
    raise Unclear(
        f"no way of calling {cls.__name__} runs {cell.__name__} over a sequence", "hand in what trains it, too"
    )


def runs(names: Namespace, cls: Any) -> Iterator[tuple[nn.Module, tuple[Any, ...], int]]:
    """Yield a network as its file built and called it, or else with what its names say; inputs, and the least number of steps."""
    seen = names.get("*seen")
    if seen and cls in seen.built and (found := seen.first(cls)):
        inputs = found.inputs
        with suppress(Exception):
            yield seen.built[cls].call(cls), inputs, min(inputs[0].shape[:2])
    for sizes, form in product((LSTMSizes(), LSTMSizes(C=1)), FORMS):  # one number stands for any, by broadcasting
        with suppress(Exception):
            network = Reading(cls, form, sizes).build(sizes.T)
            x = (
                torch.randint(0, 2, (sizes.B, sizes.T, 1))
                if form.has_digits
                else torch.randn(sizes.B, sizes.T, sizes.I)
            )
            needed = [each for each in state_arguments(network) if each.default is each.empty]
            for start in starts(torch.zeros(2, sizes.B, sizes.H), len(needed)):
                yield network, (form.inputs(x)[0], *start), sizes.T


def watch(network: nn.Module, inputs: tuple[Any, ...], cell: Any) -> tuple[list[Calls], list[Tensor]]:
    """Run a network; return the calls of each cell in it, and what it returns; nothing if it raises an error."""
    calls = defaultdict[int, Calls](list)

    def note(module: nn.Module, args: Any, result: Any) -> None:
        if type(module) is cell:
            calls[id(module)].append((tensors(args[1:]), tensors(result)))

    hook = register_module_forward_hook(note)
    try:
        results = tensors(network.eval()(*inputs))
    except Exception:
        return [], []
    finally:
        hook.remove()
    return list(calls.values()), results


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dictionaries, each once."""
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return list({id(each): each for part in parts for each in tensors(part)}.values())


def check_calls(calls: Calls) -> None:
    """Check what a cell takes at each step from the step before. Raises Failure or Unclear."""
    if any(bool(each.any()) for each in calls[0][0]):
        raise Unclear("the state before the first step is not zero", "begin with zeros")
    for (_, before), (taken, _) in pairwise(calls):
        if not taken or not any(bool(each.any()) for each in taken):
            raise Failure("a later step of the cell begins with zeros", wrong.RESET)
        places = [next((i for i, old in enumerate(before) if is_same(each, old)), -1) for each in taken]
        if -1 in places:
            raise Unclear("a step takes another state than the step before has returned", "hand in the LSTM alone")
        if len(places) == 2 and places[0] > places[1]:
            raise Unclear("a step takes h and c in another order than the step before returns them", "keep the order")


def is_same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors hold the same numbers."""
    return a.shape == b.shape and bool(torch.allclose(a, b))


def reaches(results: list[Tensor], state: list[Tensor]) -> bool:
    """Return whether results depend on a state."""
    with suppress(RuntimeError):  # without gradients
        total = torch.stack([each.float().sum() for each in results]).sum()
        return any(each is not None for each in torch.autograd.grad(total, state, allow_unused=True))
    return False
