"""Text for messages: values and problems on one line, of limited length."""

import difflib
from collections.abc import Iterable

MAX_SHOWN = 60
"""Characters of a value that an error spells out."""
MAX_PROBLEM = 200
"""Characters of a problem that an error spells out."""


def one_line(problem: object, length: int = MAX_PROBLEM) -> str:
    """What an error or a text says, on one line of at most `length` characters."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= length else text[: length - 1] + "…"


def short_repr(value: object, length: int = MAX_SHOWN) -> str:
    """A value as an error shows it: on one line, and not for ever."""
    try:
        text = repr(value[:length] if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # thousands of digits, or of lists in lists
        return f"of type {type(value).__name__}"
    is_cut = len(text) > length + 2 or (isinstance(value, str) and len(value) > length)
    return text[:length] + "…" if is_cut else text


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return "did you mean NAME?" if a known name is close to `wrong`, else nothing."""
    near = difflib.get_close_matches(wrong[:MAX_SHOWN], list(known), n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else ""
