"""Check the functions and classes of a notebook or a file: which pieces they are, and a report about them."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from torch import nn

from reviver.checker.gan_pieces import GAN_PIECES, ROLES, check_discriminator, check_gan_step, check_generator, is_own
from reviver.checker.loading import SourceFile
from reviver.checker.loops import find_loops
from reviver.checker.lstm_pieces import LSTM_PIECES
from reviver.checker.lstm_roles import find_roles, is_class
from reviver.checker.lstm_sequence import check_graph, find_functions
from reviver.checker.pieces import VERDICTS, Namespace, Piece, PieceOutcome, Unclear, run_pieces, unparsed
from reviver.checker.watch import Seen, Watch
from reviver.errors import ConfigError

PIECES = (*LSTM_PIECES, *GAN_PIECES)
"""All pieces, each after those that it needs."""
SIGNATURES = {("x", "state", "w"): "lstm_step", ("G", "D", "opt_G", "opt_D", "real", "z"): "gan_step"}
"""Parameters by which a function of another name is recognized."""
CLASSES = {
    "LSTM": r"^(?!.*(cell|peep|bilstm|bi_lstm|gate|layer|dataset|tree)).*(lstm|rnn)",
    "LSTMCell": r"^(?!.*(peep|tree)).*(lstm|rnn).*cell|^cell$",
    "Recaller": "^recaller$",
    "Generator": r"^(?!.*(dataset|loader)).*(generator|^gen(net)?$|^g$|^netg$|^gnet$)",
    "Discriminator": r"d[ei]scriminator|^disc?(net)?$|^d$|^netd$|^dnet$|critic",
}
"""By which names of classes a network is recognized."""
ARITY = {"lstm_step": (3, 4), "reset_weights": (1,), "update": (5,), "generator_loss": (1,), "discriminator_loss": (2,)}
ARITY |= {"gan_step": (6,), "interpolate": (3,)}
"""Functions that are recognized by name, and how many arguments they have."""
NOT_ASKED = ("initialization", "dropout", "learning", "samples", "interpolation")
"""Pieces that another course's file is not asked for, unless the course says so."""
WIDTH = 80
"""Width of a report in characters."""


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

    @property
    def most(self) -> float:
        """The points that the pieces which are understood could have."""
        return sum(outcome.worth for outcome in self.outcomes if outcome.points is not None)

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
        if self.outcomes and all(outcome.status == "unclear" for outcome in self.outcomes):
            count = "is not understood"
        return f"{self.file}: {'; '.join(filter(None, [count, self.error]))}"

    def __repr__(self) -> str:
        rows = [("", self.summary)]
        for outcome in self.outcomes:
            notes = [(VERDICTS[outcome.status][1], outcome.text), *outcome.notes]
            heads = [outcome.piece, *[""] * len(outcome.notes)]
            rows += [(f"  {head:<15} ", f"{label}: {text}") for head, (label, text) in zip(heads, notes, strict=True)]
        if self.missing:
            rows.append(("  ", f"not there, so that a stand-in took its place: {', '.join(self.missing)}"))
        lines = [
            textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=" " * (len(head) or 2))
            for head, text in rows
        ]
        return "\n".join(lines)


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
        if is_foreign and {"generator", "discriminator"} & found:
            return piece.name in ("generator", "discriminator", "gan_step") or (
                piece.name == "losses" and "losses" in found
            )
        return not is_foreign or (piece.name in found and piece.name not in NOT_ASKED)

    return [piece for piece in PIECES if piece.network in networks and is_asked(piece)]


def overlooked(names: Namespace) -> list[Piece]:
    """Return a piece for each class that a file trains and that no other piece looks at, which says so."""
    looked = [cls for role in CLASSES for cls in [names.get(role)] if cls]
    own = [source.names.get(node.name) for source in names["*sources"] for node in source.tree.body if is_class(node)]
    kinds = [type(each.network) if isinstance(each, Seen) else each for each in looked]

    def parts(cls: Any) -> list[type]:
        return [type(each) for seen in [Watch.first(cls)] if seen for each in seen.network.modules()]

    around = {*kinds, *(each for known in kinds for each in parts(known))}
    held = Watch.held()

    def is_new(cls: Any) -> bool:
        first = Watch.first(cls)
        is_trained = first is not None and any(id(each) in held for each in first.network.parameters())
        return is_trained and cls not in around and not {*parts(cls)} & {*kinds}

    def check(cls: Any, names: Namespace) -> str:
        if pair := find_pair(names, cls, found):
            return check_pair(names, pair, cls)
        problem = Unclear("not looked at, because no piece asks for it; a person should look at it", "")
        return check_graph({**names, "LSTM": cls}, "LSTM", problem)

    network = "gan" if "Generator" in names else "lstm"
    found = [cls for cls in own if looked and is_new(cls)]
    return [Piece(cls.__name__, network, ("*seen",), (), "", partial(check, cls)) for cls in found]


def find_pair(names: Namespace, cls: Any, others: Sequence[Any]) -> dict[str, Any]:
    """Return the roles of a second GAN of a file that was seen to be trained, with a class and one of the others; empty if none."""
    for loop in find_loops(names["*sources"]):
        functions = {node.name: node for node in loop.source.tree.body if isinstance(node, ast.FunctionDef)}
        trees = [loop.node, *(functions[name] for name in functions if f"{name}(" in ast.unparse(loop.node))]
        used = sorted({each.id for tree in trees for each in ast.walk(tree) if isinstance(each, ast.Name)})
        values = [loop.before.get(name) for name in used]
        kinds = dict.fromkeys(
            cls for each in values for cls in [each if isinstance(each, type) else type(each)] if cls in others
        )
        roles = {role: [kind for kind in kinds if is_D(kind) == (role == "Discriminator")] for role in ROLES}
        if loop.is_gan and cls in kinds and max(map(len, roles.values())) == 1:
            pair = {role: each[0] if each else names[role] for role, each in roles.items()}
            return {**pair, "GAN loop": loop}
    return {}


def is_D(cls: Any) -> bool:
    """Return whether a network returned one number for each example."""
    return any(each.numbers[1] == 1 for each in [Watch.first(cls)] if each)


def check_pair(names: Namespace, pair: Mapping[str, Any], cls: Any) -> str:
    """Check a network of a second GAN as that of the first, and the loop with the last of them that is new."""
    whole = {**names, **pair}
    text = (check_discriminator if cls is pair["Discriminator"] else check_generator)(whole)
    is_last = cls is pair["Discriminator"] or pair["Discriminator"] is names["Discriminator"]
    return f"{text}\n{check_gan_step(whole)}" if is_last else text


def recognize(sources: Sequence[SourceFile]) -> dict[str, Any]:
    """Return the pieces of a submission by the names that the checks look up."""
    names, classes, texts = dict[str, Any](), dict[str, Any](), dict[str, str]()
    for source in sources:
        for node in source.tree.body:
            value = source.names.get(getattr(node, "name", ""))
            if isinstance(node, ast.ClassDef) and value is not None:
                classes[node.name], texts[node.name] = value, ast.unparse(node)
            elif isinstance(node, ast.FunctionDef) and callable(value):
                number = sum(each.default is each.empty for each in parameters(value))
                if number in ARITY.get(node.name, ()):
                    names[node.name] = value
                elif node.name in ("generator", "discriminator") and not number:  # they build a network
                    names[node.name.capitalize()] = value
    for role, pattern in CLASSES.items():
        if found := [name for name in classes if re.search(pattern, name.lower())]:
            best = min(
                found,
                key=lambda name: (name != role, name.lower() != role.lower(), "lstm" not in name.lower(), len(name)),
            )
            names[role] = classes[best]
    ran = find_gan(classes, any(is_gan for source in sources for _, is_gan, _ in source.trained))
    names |= {role: each for role, each in ran.items() if not Watch.first(names.get(role))}
    tell_cells(names, texts)
    if not CLASSES.keys() & names.keys():
        names |= guess_lstm(classes, unparsed({"*sources": sources}))
        tell_cells(names, texts)
    names = try_roles(names | {"*sources": list(sources)}, classes)
    own = {"lstm": {"lstm_step", "Recaller", "update"} & names.keys(), "gan": is_own(names) or "gan_step" in names}
    names |= {"*sources": list(sources), "*foreign": [network for network, is_asked in own.items() if not is_asked]}
    G = names.get("Generator")
    kind = type(G.network) if isinstance(G, Seen) else G
    # first one that trains the classes as they were defined last
    for loop in sorted(find_loops(sources), key=lambda loop: kind not in [type(each) for each in loop.before.values()]):
        if loop.is_gan and {"Generator", "Discriminator"} <= names.keys():
            names.setdefault("GAN loop", loop)
        elif not loop.is_gan and not {"Generator", "update"} & names.keys():
            names.setdefault("LSTM loop", loop)
    return names


def find_gan(classes: Mapping[str, Any], is_trained: bool) -> dict[str, Any]:
    """Return the two networks of a GAN that was seen to run: one returns what the other takes, which returns one number."""
    if not is_trained:
        return {}
    groups = [{*group["params"]} for each in Watch.optimizers for group in each.param_groups]
    kinds = [*classes.values()]
    seen = [
        each
        for each in Watch.seen.values()
        for own in [{*each.network.parameters()}]
        if own in groups or (type(each.network) in kinds and any(own & group for group in groups))
    ]
    types = [type(each.network) for each in seen]
    pairs = [(G, D) for G, D in product(seen, seen) if D.numbers[1] == 1 < G.numbers[1] <= D.numbers[0]]
    for pair in sorted(pairs, key=lambda pair: pair[0].numbers[1] != pair[1].numbers[0])[:1]:
        return {
            name: cls if (cls := type(each.network)) in kinds and types.count(cls) == 1 else each
            for name, each in zip(ROLES, pair, strict=True)
        }
    return {}


def try_roles(names: dict[str, Any], classes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names with the LSTM and the cell of another course's file, told apart by what agrees."""
    if {"Recaller", "lstm_step", "Generator", "Discriminator"} & names.keys():
        return names
    if not CLASSES.keys() & names.keys() and not Watch.findings and (found := find_functions(names["*sources"])):
        Watch.findings.append(found)
    if not CLASSES.keys() & names.keys() and Watch.findings:  # by functions, without a class
        return names | {"*steps": Watch.findings}
    roles = find_roles(names | {"*foreign": ["lstm"]}, classes)
    is_kept = "*guessed" in names and roles.get("LSTM") is names["*guessed"]
    others = {"LSTM", "LSTMCell"} | ({"*guessed"} if not is_kept else set())
    return {name: each for name, each in names.items() if name not in others} | roles


def guess_lstm(classes: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the last module as an LSTM, if its name is not another cell's, and there are a sigmoid and a tanh somewhere."""
    modules = [each for each in classes.values() if isinstance(each, type) and issubclass(each, nn.Module)]
    is_plain = modules and not re.search("peep|tree|gru|vanilla", modules[-1].__name__.lower())
    has_gates = all(word in text.lower() for word in ("sigmoid", "tanh"))
    return dict.fromkeys(("LSTM", "*guessed"), modules[-1]) if is_plain and has_gates else {}


def tell_cells(names: dict[str, Any], texts: Mapping[str, str]) -> None:
    """Rename an LSTM that may be called with a state and has no loop to a cell, and drop a cell without a state."""

    def takes_state(cls: Any) -> bool:
        return len(parameters(getattr(cls, "forward", cls))) > 2  # with self

    if "LSTM" in names and takes_state(names["LSTM"]):
        forward = texts.get(names["LSTM"].__name__, "").partition("def forward(")[2]
        if not re.search(r"\n +(for|while) ", forward):
            names.setdefault("LSTMCell", names.pop("LSTM"))
    if "LSTMCell" in names and not takes_state(names["LSTMCell"]):
        del names["LSTMCell"]
    if "Recaller" in names:
        names.pop("LSTM", None)


def parameters(function: Any) -> list[inspect.Parameter]:
    """Return the positional parameters of a function, with None as their only default; none if it has no signature."""
    with suppress(TypeError, ValueError):  # such as a scripted one
        found = inspect.signature(function).parameters.values()
        return [each for each in found if each.kind in (0, 1) and each.default in (each.empty, None)]
    return []
