"""Compare what the code under test computes with the truth, and with what well-known mistakes compute."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reviver.checker.pieces import Failure, Hint, Mistake, describe
from reviver.text import short_repr

Quantities = Mapping[str, Any]
"""What is compared, by name: tensors, the first that differs being the one to report."""
Observe = Callable[[Any, bool], Quantities]
"""Call an implementation with examples; those of the second kind have equal sizes, for code that mixes up sizes."""


class Program:
    """A piece as it is right, as text, so that a mistake is an edit; a call calls the last function in the text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The last function."""
        names = {**vars(torch), **vars(functional), **vars(nn.utils), "functional": functional}
        exec(compile(self.text, "<frozen reference>", "exec"), names)  # noqa: S102
        function: Callable[..., Any] = names[re.findall(r"^def (\w+)", self.text, re.MULTILINE)[-1]]
        return function

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the last function."""
        return self.function(*args, **options)

    def edited(self, *changes: str) -> "Program | None":
        """Return the program after edits `old -> new && old -> new`; None if what one of them replaces is not there."""
        text = self.text
        for edit in " && ".join(changes).split(" && "):
            old, new = edit.split(" -> ")
            if old not in text:
                return None
            text = text.replace(old, new)
        return Program(text)


def sample(seed: int, *shape: int) -> Tensor:
    """Return normal random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def compare(
    observe: Observe,
    theirs: Sequence[Any],
    ours: Program,
    mistakes: Sequence[Mistake],
    text: str = "",
    tolerance: float = 1e-7,
    alone: Sequence[Mistake] = (),
) -> Any:
    """Return the first of `theirs` of which `observe` gives the same quantities as of `ours`.

    Otherwise raise a Failure with the mistake, or the two, whose quantities are those of one of `theirs`, by the second
    examples if the first raise an error. `text` is the message instead of the difference. Mistakes of `alone` are not paired.
    """
    problems, found, is_square, right = list[str](), list[Quantities](), False, observe(ours, False)
    for candidate in theirs:
        try:
            found.append(observe(candidate, False))
            problems.append(difference(found[-1], right, tolerance))
        except NotImplementedError:
            raise
        except Exception as error:
            if isinstance(error, Failure) and error.mistake:
                raise
            problems.append(describe(error))
            is_square = True
        if not problems[-1]:
            return candidate
    if is_square:
        found = [each for each in (attempt(observe, each, True) for each in theirs) if each is not None]
    for mistake in likely(mistakes, alone):
        program = ours.edited(mistake.change)
        expected = program and attempt(observe, program, is_square)
        if expected and any(agree(each, expected, tolerance) for each in found):
            raise Failure(text or problems[0], mistake)
    raise Failure(text or problems[0])


def attempt(observe: Observe, candidate: Any, is_square: bool) -> Quantities | None:
    """Return what is observed, None if that raises an error."""
    try:
        return observe(candidate, is_square)
    except Exception:
        return None


def likely(mistakes: Sequence[Mistake], alone: Sequence[Mistake]) -> Iterator[Mistake]:
    """Yield mistakes, then each two of them as one."""
    yield from (*mistakes, *alone)
    for a, b in combinations(mistakes, 2):
        hint = Hint(a.hint.section, " ".join(dict.fromkeys((a.hint.text, b.hint.text))))
        yield Mistake(f"two mistakes: {a.name}; {b.name}", hint, f"{a.change} && {b.change}")


def agree(found: Quantities, expected: Quantities, tolerance: float) -> bool:
    """Return whether there is no difference. It is faster: a wrong piece is compared with thousands of programs."""
    pairs = ((found[name], right) for name, right in expected.items() if name in found)
    return all(
        isinstance(value, Tensor)
        and (value.shape, value.dtype) == (right.shape, right.dtype)
        and torch.allclose(value, right, rtol=tolerance, atol=tolerance)
        for value, right in pairs
    )


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


def upstream(value: Tensor) -> Tensor:
    """Return a sum of all numbers with weights that all differ, since equal ones hide mistakes."""
    return (value * torch.linspace(-1, 1.3, value.numel()).view(value.shape).sin()).sum()


def derivatives(function: Callable[..., Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the derivative of a scalar by each input in a direction."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    result = function(**leaves)
    if not result.requires_grad:
        raise Failure("the result has no gradient")
    found = {}
    grads = torch.autograd.grad(result, list(leaves.values()), allow_unused=True, materialize_grads=True)
    for name, grad in zip(leaves, grads, strict=True):
        direction = torch.linspace(-1, 1, grad.numel()).view(grad.shape).cos()
        found[f"the gradient by {name}"] = (grad * direction).sum()
    return found
