"""Check the functions and classes of a notebook or a file: which pieces they are, and a report about them."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from torch import nn

from reviver.checker.gan_pieces import GAN_PIECES, is_own
from reviver.checker.loading import SourceFile
from reviver.checker.loops import find_loops
from reviver.checker.lstm_pieces import LSTM_PIECES
from reviver.checker.pieces import Namespace, Piece, PieceOutcome, run_pieces
from reviver.errors import ConfigError

PIECES = (*LSTM_PIECES, *GAN_PIECES)
"""All pieces, each after those that it needs."""
SIGNATURES = {("x", "state", "w"): "lstm_step", ("G", "D", "opt_G", "opt_D", "real", "z"): "gan_step"}
"""Parameters by which a function of another name is recognized."""
CLASSES = {
    "LSTM": r"^(?!.*(cell|peep|bilstm|bi_lstm|gate|layer|dataset)).*(lstm|rnn)",
    "LSTMCell": r"^(?!.*peep).*(lstm|rnn).*cell|^cell$",
    "Recaller": "^recaller$",
    "Generator": r"^(?!.*(dataset|loader)).*(generator|^gen(net)?$|^g$|^netg$|^gnet$)",
    "Discriminator": r"discriminator|^disc?(net)?$|^d$|^netd$|^dnet$|critic",
}
"""By which names of classes a network is recognized."""
ARITY = {"lstm_step": (3, 4), "reset_weights": (1,), "update": (5,), "generator_loss": (1,), "discriminator_loss": (2,)}
ARITY |= {"gan_step": (6,), "interpolate": (3,)}
"""Functions that are recognized by name, and how many arguments they have."""
NOT_ASKED = ("initialization", "dropout", "learning", "samples", "interpolation")
"""Pieces that another course's file is not asked for, unless the course says so."""
WIDTH = 80
LABELS = {"passed": "passed", "failed": "FAILED", "waits": "waits", "missing": "missing", "unclear": "?"}


class CheckReport(NamedTuple):
    """What became of the pieces of a file, or of a notebook."""

    file: str
    outcomes: tuple[PieceOutcome, ...]
    error: str = ""
    """Why the file could not be read or run, or had to be stopped; empty if it was checked to the end."""
    missing: tuple[str, ...] = ()
    """Modules that are not there, so that a stand-in took their place."""

    @property
    def points(self) -> float | None:
        """The points of all pieces that are understood; None without any."""
        points = [outcome.points for outcome in self.outcomes if outcome.points is not None]
        return sum(points) if points else None

    def scored(self, worth: Mapping[str, float] | None) -> "CheckReport":
        """Return the report with the points of each piece, 0 for one without; without any each has 1."""
        if worth is None:
            return self
        return self._replace(outcomes=tuple(each._replace(worth=worth.get(each.piece, 0)) for each in self.outcomes))

    @property
    def is_unclear(self) -> bool:
        """Whether a person must look at it: the check does not understand all of it, or nothing in it."""
        return any(outcome.status == "unclear" for outcome in self.outcomes) or (bool(self.error) and not self.outcomes)

    @property
    def summary(self) -> str:
        """How many pieces pass, or what is the matter."""
        num_passed = sum(outcome.status == "passed" for outcome in self.outcomes)
        count = f"{num_passed} of {len(self.outcomes)} pieces pass" if self.outcomes else ""
        return f"{self.file}: {'; '.join(filter(None, [count, self.error]))}"

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yield the report in lines of at most WIDTH characters."""
        yield from wrap(self.summary, "")
        for outcome in self.outcomes:
            head = f"  {LABELS[outcome.status]:<8}{outcome.piece:<15} "
            yield from wrap("not understood: " * (outcome.status == "unclear") + outcome.text, head)
            for label, text in outcome.notes:
                yield from wrap(text, f"{'':10}{label + ':':<15} ")
        if self.missing:
            yield from wrap(f"not there, so that a stand-in took its place: {', '.join(self.missing)}", "  ")


def wrap(text: str, head: str) -> list[str]:
    """Return lines of text behind a head, below which they begin."""
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head) or "  ") or [head.rstrip()]


def check(*pieces: Callable[..., Any], **named: Callable[..., Any]) -> CheckReport:
    """Check functions and classes that you wrote, in this process, and return a report, which a notebook shows.

        reviver.check(lstm_step)                   a function or class with the name of a piece
        reviver.check(LSTMCell, Recaller, update)
        reviver.check(gan_step=my_step)            of another name

    `reviver check --start lstm` and `--start gan` write all names with their arguments. An object that is no piece is a
    `ConfigError`.
    """
    known = {name for piece in PIECES for name in piece.names}
    names: dict[str, Any] = {}
    for piece in pieces:
        name = getattr(piece, "__name__", type(piece).__name__)
        if name not in known and callable(piece) and not inspect.isclass(piece):
            name = SIGNATURES.get(tuple(inspect.signature(piece).parameters), name)
        names[name] = piece
    names |= named
    for name in names.keys() - known:
        raise ConfigError(
            f"{name} is no piece of an assignment; give it as NAME={name}, NAME being one of {', '.join(sorted(known))}"
        )
    outcomes = tuple(outcome for outcome in run_pieces(names, find_pieces(names)) if outcome.status != "missing")
    return CheckReport("your code", outcomes)


def find_pieces(names: Namespace) -> list[Piece]:
    """Return the pieces that a course asks for of the networks in `names`; another course's file is asked for what it has."""
    course, found = names.get("*course", {}), {piece.name for piece in PIECES if set(piece.names) & names.keys()}
    networks = {piece.network for piece in PIECES if piece.name in found}

    def is_asked(piece: Piece) -> bool:
        if piece.name == "initialization" and course.get("initialization") == "any":
            return False
        if course.get("points"):
            return piece.name in course["points"]
        is_foreign = piece.network in names.get("*foreign", ())
        return not is_foreign or (piece.name in found and piece.name not in NOT_ASKED)

    return [piece for piece in PIECES if piece.network in networks and is_asked(piece)]


def recognize(sources: Sequence[SourceFile]) -> dict[str, Any]:
    """Return the pieces of a submission by the names that the checks look up."""
    names, classes, nodes = dict[str, Any](), dict[str, Any](), dict[str, ast.ClassDef]()
    for source in sources:
        for node in source.tree.body:
            value = source.names.get(getattr(node, "name", ""))
            if isinstance(node, ast.ClassDef) and value is not None:
                classes[node.name], nodes[node.name] = value, node
            elif isinstance(node, ast.FunctionDef) and callable(value):
                number = num_required(value)
                if number in ARITY.get(node.name, ()):
                    names[node.name] = value
                elif node.name in ("generator", "discriminator") and not number:  # they build a network
                    names[node.name.capitalize()] = value
    for role, pattern in CLASSES.items():
        found = [name for name in classes if re.search(pattern, name.lower())]
        for best in sorted(found, key=lambda name: (name != role, name.lower() != role.lower(), len(name)))[:1]:
            names[role] = classes[best]
    if not CLASSES.keys() & names.keys():
        names |= guess_lstm(classes, nodes)
    tell_cells(names, nodes)
    own = {"lstm": {"lstm_step", "Recaller", "update"} & names.keys(), "gan": is_own(names) or "gan_step" in names}
    names |= {"*sources": list(sources), "*foreign": [network for network, is_asked in own.items() if not is_asked]}
    for loop in find_loops(sources):
        if loop.is_gan and {"Generator", "Discriminator"} <= names.keys():
            names.setdefault("GAN loop", loop)
        elif not loop.is_gan and "Generator" not in names and "update" not in names:
            names.setdefault("LSTM loop", loop)
    return names


def guess_lstm(classes: Mapping[str, Any], nodes: Mapping[str, ast.ClassDef]) -> dict[str, Any]:
    """Return the last module that no other one builds as an LSTM, if there are a sigmoid and a tanh somewhere."""
    text = {name: ast.unparse(node) for name, node in nodes.items()}
    if not all(word in "".join(text.values()).lower() for word in ("sigmoid", "tanh")):
        return {}
    modules = [name for name, each in classes.items() if isinstance(each, type) and issubclass(each, nn.Module)]
    modules = [name for name in modules if not re.search("peep|bi_?lstm", name.lower())]
    outer = [each for each in modules if not any(f"{each}(" in text[name] for name in text if name != each)]
    return {role: classes[outer[-1]] for role in ("LSTM", "*guessed") if outer}


def tell_cells(names: dict[str, Any], nodes: Mapping[str, ast.ClassDef]) -> None:
    """Rename an LSTM that is called with a state and has no loop to a cell, and drop a cell without a state."""

    def takes_state(cls: Any, *, or_none: bool = False) -> bool:
        return num_required(getattr(cls, "forward", cls), or_none=or_none) > 2  # with self

    if "LSTM" in names and takes_state(names["LSTM"]):
        body = getattr(nodes.get(names["LSTM"].__name__), "body", ())
        forward = [each for method in body if getattr(method, "name", "") == "forward" for each in ast.walk(method)]
        if not any(isinstance(each, ast.For | ast.While) for each in forward):
            names.setdefault("LSTMCell", names.pop("LSTM"))
    if "LSTMCell" in names and not takes_state(names["LSTMCell"], or_none=True):
        del names["LSTMCell"]
    if "Recaller" in names:
        names.pop("LSTM", None)


def num_required(function: Any, *, or_none: bool = False) -> int:
    """Return how many positional arguments without a default a function has, or with None as one; 0 if it does not say."""
    parameters = list[inspect.Parameter]()
    with suppress(TypeError, ValueError):  # such as a scripted function
        parameters += inspect.signature(function).parameters.values()
    defaults = (inspect.Parameter.empty, None) if or_none else (inspect.Parameter.empty,)
    return sum(each.default in defaults and each.kind in (0, 1) for each in parameters)
