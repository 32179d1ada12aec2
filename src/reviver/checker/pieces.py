"""What a check consists of: pieces of a network, what became of each, and mistakes that explain a failure."""

import ast
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch

from reviver.text import one_line

Namespace = Mapping[str, Any]
"""The names that a file or a notebook defines."""
TUTORIALS = {"lstm": "An LSTM from its equations", "gan": "A GAN from its algorithm"}
VERDICTS = {
    "passed": ("✓", "right"),
    "failed": ("✗", "wrong"),
    "unclear": ("?", "not understood"),
    "waits": ("…", "not checked"),
    "missing": ("–", "missing"),
}
"""The sign and the words of each status; a piece waits for another one that is wrong."""
LIBRARIES = (str(Path(__file__).parents[1]), str(Path(os.__file__).parent), "<frozen")


class Hint(NamedTuple):
    """A hint that several mistakes may share."""

    section: str
    """Heading of the tutorial below which to read."""
    text: str
    """One sentence that leads to the mistake, without the solution."""


class Mistake(NamedTuple):
    """A well-known mistake."""

    name: str
    """What is wrong, in a few words."""
    hint: Hint
    change: Any = ""
    """What makes it of the piece: edits of a `Program`, or the values that it gives."""


def table(*rows: tuple[Any, ...]) -> tuple[Mistake, ...]:
    """Return mistakes from rows of name, hint and change."""
    return tuple(Mistake(*row) for row in rows)


class Piece(NamedTuple):
    """A part of an assignment."""

    name: str
    network: str
    """`lstm` or `gan`, whose tutorial explains it."""
    names: tuple[str, ...]
    """Names, any of which a file defines if it has this piece."""
    needs: tuple[str, ...]
    """Pieces without which this one cannot be right."""
    section: str
    """Heading of the tutorial below which to read."""
    check: Callable[[Namespace], str]
    """Raise an error if the piece is wrong; return a line about what was found, and a line for each remark."""


class PieceOutcome(NamedTuple):
    """What became of a piece."""

    piece: str
    network: str
    status: str
    """One of VERDICTS."""
    text: str = ""
    """What was found."""
    mistake: str = ""
    """Name of the likely mistake, empty if none gives these numbers."""
    hint: str = ""
    """A question that leads to the mistake; or what to write, for a piece that is not understood."""
    section: str = ""
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()
    """What is worth knowing and costs no points."""
    worth: float = 1
    """Points if it is right."""

    @property
    def points(self) -> float | None:
        """The points that it has; None if it is not understood."""
        return None if self.status == "unclear" else self.worth * (self.status == "passed")

    @property
    def notes(self) -> list[tuple[str, str]]:
        """What helps further, with labels."""
        read = f"“{self.section}” in the tutorial “{TUTORIALS[self.network]}”" if self.section else ""
        notes = [("likely", self.mistake), ("write" if self.status == "unclear" else "hint", self.hint), ("read", read)]
        return [note for note in (*notes, *(("remark", remark) for remark in self.remarks)) if note[1]]


class Failure(Exception):
    """A piece is wrong; the message says how that shows."""

    def __init__(self, text: str, mistake: Mistake | None = None) -> None:
        super().__init__(text)
        self.mistake = mistake


class Unclear(Exception):
    """The check does not understand a piece, which says nothing about it; the message says why."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


def run_pieces(names: Namespace, pieces: Sequence[Piece]) -> Iterator[PieceOutcome]:
    """Check `pieces`, of which each comes after those that it needs."""
    passed: dict[str, bool] = {}
    for piece in pieces:
        if not set(piece.names) & names.keys():
            known = " or ".join(name for name in piece.names if name.isidentifier())
            verdict = ("missing", f"{known} is not defined", "", "")
            if piece.network in names.get("*foreign", ()):  # perhaps it has another name
                advice = f"hand it in; if it is there, call it {known}, see reviver check --start {piece.network}"
                verdict = ("unclear", "is not found", "", advice)
            yield PieceOutcome(piece.name, piece.network, *verdict)
            continue
        blocking = next((need for need in piece.needs if not passed.get(need, True)), "")
        waits = PieceOutcome(piece.name, piece.network, "waits", f"waits for {blocking}")
        outcome = waits if blocking else run_piece(names, piece)
        passed[piece.name] = outcome.status in {"passed", "unclear"}
        yield outcome


def run_piece(names: Namespace, piece: Piece) -> PieceOutcome:
    """Check a piece in float64 and with the same random numbers each time, whatever its code does."""
    dtype, start = torch.get_default_dtype(), perf_counter()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.set_default_dtype(torch.float64)
            torch.manual_seed(0)
            torch.set_deterministic_debug_mode("warn")  # memory that is not set is nan
            text, *remarks = piece.check(names).splitlines()
        found: dict[str, Any] = {"status": "passed", "text": text, "remarks": tuple(dict.fromkeys(remarks))}
    except NotImplementedError:
        found = {"status": "missing", "text": "is still to be written"}
        if piece.network in names.get("*foreign", ()):  # only our own file says for sure what is to be written where
            text, advice = (
                "nothing is in it that can be compared",
                "hand it in where it is written, if that is elsewhere",
            )
            found = {"status": "unclear", "text": text, "hint": advice}
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        found = {"status": "failed", "text": describe(error), "section": piece.section}
        if isinstance(error, Failure) and error.mistake:
            name, (section, hint), _ = error.mistake
            found |= {"mistake": name, "hint": hint, "section": section}
        elif isinstance(error, Unclear):
            found |= {"status": "unclear", "hint": error.advice}
        elif piece.network in names.get("*foreign", ()) and not isinstance(error, Failure):
            advice = "let it be called with arguments named as in the text, on the CPU"
            found |= {"status": "unclear", "hint": advice}  # the check may have called it in a wrong way
    finally:
        torch.set_default_dtype(dtype)
        torch.set_deterministic_debug_mode("default")
    return PieceOutcome(piece.name, piece.network, seconds=round(perf_counter() - start, 2), **found)


def describe(error: BaseException) -> str:
    """Return an error of the code under test in one line, with the line of that code where it was raised."""
    if isinstance(error, Failure | Unclear):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {one_line(error.msg)}"
    if isinstance(error, SystemExit):
        return "the code calls exit()"
    text = one_line(error) if str(error) else ""
    if "can't allocate memory" in text or isinstance(error, MemoryError):
        text = "asks for more memory than the limit"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if not is_library(frame.filename)]
    where = f"line {lines[-1]}: " if lines else "called as the text says: " * isinstance(error, TypeError)
    return f"{where}{type(error).__name__}{': ' * bool(text)}{text}"


def unparsed(names: Namespace) -> str:
    """Return the code of a submission without its comments."""
    return "\n".join(ast.unparse(source.tree) for source in names.get("*sources", ()))


def is_library(path: str) -> bool:
    """Return whether a file of code is ours, Python's or a library's."""
    return path.startswith(LIBRARIES) or "site-packages" in path
