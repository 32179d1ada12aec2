"""Compare what the code under test computes with the truth, and with what well-known mistakes compute."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from reviver.checker.pieces import Failure, Mistake, describe
from reviver.text import short_repr

Quantities = Mapping[str, Any]
"""What is compared, by name: tensors, the first that differs being the one to report."""
Observe = Callable[[Any, bool], Quantities]
"""Call an implementation with examples; those of the second kind have equal sizes, for code that mixes up sizes."""


def sample(seed: int, *shape: int) -> Tensor:
    """Return normal random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def compare(
    observe: Observe,
    theirs: Sequence[Any],
    ours: Any,
    mistakes: Sequence[Mistake],
    text: str = "",
    tolerance: float = 1e-7,
    alone: Sequence[Mistake] = (),
) -> Any:
    """Return the first of `theirs` of which `observe` gives the same quantities as of `ours`.

    Otherwise raise a Failure with the mistake, or the two, whose quantities are those of one of `theirs`, by the second
    examples if the first raise an error. `text` is the message instead of the difference. Mistakes of `alone` are not paired.
    """
    problems, found, is_square = list[str](), list[Quantities](), False
    for candidate in theirs:
        try:
            found.append(observe(candidate, False))
            problems.append(difference(found[-1], observe(ours, False), tolerance))
        except NotImplementedError:
            raise
        except Exception as error:
            if isinstance(error, Failure) and error.mistake:
                raise
            problems.append(describe(error))
            is_square = True
        if not problems[-1]:
            return candidate

    def seen(functions: Iterable[Any]) -> Iterator[Quantities | None]:
        for function in functions:
            try:
                yield observe(function, is_square)
            except Exception:
                yield None

    if is_square:
        found = [each for each in seen(theirs) if each is not None]
    tried = [*mistakes, *alone, *pairs(mistakes)]
    likely = (
        mistake
        for mistake, expected in zip(tried, seen(mistake.compute for mistake in tried), strict=True)
        if expected is not None and any(not difference(each, expected, tolerance) for each in found)
    )
    raise Failure(text or problems[0], next(likely, None))


def pairs(mistakes: Sequence[Mistake]) -> Iterator[Mistake]:
    """Yield each two of the mistakes that are made in different parts of a piece as one."""
    for first, second in combinations(mistakes, 2):
        if both := combine(first.compute, second.compute):
            hints = " ".join(dict.fromkeys((first.hint, second.hint)))
            yield Mistake(f"two mistakes: {first.name}; {second.name}", hints, first.section, both)


def combine(first: Any, second: Any) -> Callable[..., Any] | None:
    """Return a function with the arguments of two partial ones of the same function; None if they contradict each other."""
    if not isinstance(first, partial) or not isinstance(second, partial) or first.func != second.func:
        return None
    merged = {**first.keywords, **second.keywords}
    for name in first.keywords.keys() & second.keywords.keys():
        merged[name] = combine(first.keywords[name], second.keywords[name])
    return None if None in merged.values() else partial(first.func, **merged)


def difference(found: Quantities, expected: Quantities, tolerance: float) -> str:
    """Return how the first quantity differs, or an empty text. A quantity that was not found is not compared."""
    for name, right in expected.items():
        value = found.get(name, right)
        if not isinstance(value, Tensor):
            return f"{name} must be a tensor, got {short_repr(value)}"
        if value.shape != right.shape:
            return f"{name} must have shape {list(right.shape)}, got {list(value.shape)}"
        if value.dtype != right.dtype:
            return f"{name} must keep the dtype {right.dtype} of its inputs, got {value.dtype}"
        error = torch.where(value == right, 0.0, (value - right).abs().nan_to_num(torch.inf))
        if error.numel() and bool((error > tolerance * (1 + right.abs())).any()):
            place = [int(index) for index in (error == error.max()).nonzero()[0]]
            values = (tensor[tuple(place)].item() for tensor in (value, right))
            return "{}{}: {:.4g}, should be {:.4g}".format(name, f" at {place}" if place else "", *values)
    return ""


def upstream(outputs: Quantities) -> Tensor:
    """Return a sum of all outputs with weights that all differ, since equal ones hide mistakes."""
    parts = [
        (value * torch.linspace(-1, 1.3, value.numel()).view(value.shape).sin()).sum() for value in outputs.values()
    ]
    return torch.stack(parts).sum()


def derivatives(
    function: Callable[..., Tensor], inputs: Mapping[str, Tensor], *, by_numbers: bool
) -> dict[str, Tensor]:
    """Return the derivative of a scalar by each input in a direction, from autograd or from two values beside."""
    result = {}
    leaves = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    if not by_numbers:
        value = function(**leaves)
        if not value.requires_grad:
            raise Failure("the result has no gradient")
        grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    for index, (name, value) in enumerate(inputs.items()):
        direction = torch.linspace(-1, 1, value.numel()).view(value.shape).cos()
        if by_numbers:
            with torch.no_grad():
                beside = [function(**{**inputs, name: value + sign * 1e-5 * direction}) for sign in (1, -1)]
            slope = (beside[0] - beside[1]) / 2e-5
        else:
            grad = grads[index]
            slope = torch.zeros(()) if grad is None else (grad * direction).sum()
        result[f"the gradient by {name}"] = slope
    return result
