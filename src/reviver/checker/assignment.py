"""Check the functions and classes of a notebook or a file: which pieces they are, and a report about them."""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from reviver.checker.gan_pieces import GAN_PIECES
from reviver.checker.lstm_pieces import LSTM_PIECES
from reviver.checker.pieces import Namespace, Piece, PieceOutcome, run_pieces
from reviver.errors import ConfigError

PIECES = (*LSTM_PIECES, *GAN_PIECES)
"""All pieces, each after those that it needs."""
TUTORIALS = {"lstm": "An LSTM from its equations", "gan": "A GAN from its algorithm"}
SIGNATURES = {("x", "state", "w"): "lstm_step", ("G", "D", "opt_G", "opt_D", "real", "z"): "gan_step"}
"""Parameters by which a function of another name is recognized."""
WIDTH = 80
LABELS = {"passed": "passed", "failed": "FAILED", "waits": "waits", "missing": "missing"}


class CheckReport(NamedTuple):
    """What became of the pieces of a file, or of a notebook."""

    file: str
    outcomes: tuple[PieceOutcome, ...]
    error: str = ""
    """Why the file could not be read or run, or had to be stopped; empty if it was checked to the end."""

    @property
    def num_passed(self) -> int:
        """Number of pieces that are right."""
        return sum(outcome.status == "passed" for outcome in self.outcomes)

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Yield the report in lines of at most WIDTH characters."""
        count = f"{self.num_passed} of {len(self.outcomes)} pieces pass"
        yield from wrap(
            f"{self.file}: {'; '.join([count] * bool(self.outcomes) + [self.error] * bool(self.error))}", ""
        )
        for outcome in self.outcomes:
            head = f"  {LABELS[outcome.status]:<8}{outcome.piece:<15} "
            yield from wrap(outcome.text, head)
            read = f"“{outcome.section}” in the tutorial “{TUTORIALS[outcome.network]}”" if outcome.section else ""
            for label, text in (("likely", outcome.mistake), ("hint", outcome.hint), ("read", read)):
                if text:
                    yield from wrap(text, f"{'':10}{label + ':':<15} ")


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
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{name} is no piece of an assignment; give it as NAME={name}, NAME being one of {', '.join(sorted(known))}"
            )
    outcomes = tuple(outcome for outcome in run_pieces(names, find_pieces(names)) if outcome.status != "missing")
    return CheckReport("your code", outcomes)


def find_pieces(names: Namespace) -> list[Piece]:
    """Return all pieces of the networks of which `names` has a part."""
    networks = {piece.network for piece in PIECES if set(piece.names) & names.keys()}
    return [piece for piece in PIECES if piece.network in networks]
