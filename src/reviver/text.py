"""Text for messages: values and problems on one line of limited length, counts, percentages and durations."""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median, stdev

MAX_SHOWN = 60
"""Maximum length of a value in an error, in characters."""
MAX_PROBLEM = 200
"""Maximum length of a problem in an error, in characters."""


def one_line(problem: object, length: int = MAX_PROBLEM) -> str:
    """Return the message of an error, or a text, on one line of at most `length` characters."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= length else text[: length - 1] + "…"


def short_repr(value: object, length: int = MAX_SHOWN) -> str:
    """Return the repr of a value, cut after `length` characters."""
    text = repr(value[:length] if isinstance(value, str) else value)
    is_cut = len(text) > length + 2 or (isinstance(value, str) and len(value) > length)
    return text[:length] + "…" if is_cut else text


def escape_controls(text: str) -> str:
    """Return text with escapes for control characters, such as those of a file name, which a terminal would obey."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return "did you mean NAME?" if a known name resembles `wrong`, else an empty string."""
    names = list(known)
    matches = difflib.get_close_matches(wrong[:MAX_SHOWN], names, n=1, cutoff=0.7)
    begin = wrong.lower()
    matches = matches or [
        name for name in names if name.lower() == begin or (name.startswith(begin) and len(begin) > 2)
    ]
    return f"did you mean {matches[0]}?" if matches else ""


def count(number: float, unit: str) -> str:
    """Return a number with its unit, given in the plural: "1 epoch", "2 epochs", "2.5 epochs"."""
    number = round(number, 1)
    return f"{number:.15g} {unit.removesuffix('s') if number == 1 else unit}"


def percent(fraction: float, decimals: int = 2) -> str:
    """Return a fraction in percent, without the sign; below 1 it is not rounded to 100, which would hide the last errors."""
    return f"{100 * (min(fraction, 1 - 10.0 ** -(decimals + 2)) if fraction < 1 else fraction):.{decimals}f}"


def leaves_bounds(values: Sequence[float], low: float = 0.0, high: float = math.inf) -> bool:
    """Return whether mean ± sample standard deviation reaches beyond the bounds of the quantity, as 97.5 ± 4.5 % does."""
    if len(values) < 2:
        return False
    center, spread = fmean(values), stdev(values)
    return center - spread < low - 1e-9 or center + spread > high + 1e-9


def show_spread(
    values: Sequence[float],
    show: Callable[[float], str],
    low: float = 0.0,
    high: float = math.inf,
    unit: str = "",
    show_std: Callable[[float], str] | None = None,
) -> str:
    """Return mean ± sample standard deviation, as `show` and, if it is given, `show_std` write them; one value alone.

    Where that `leaves_bounds`, it is the mean with median and range: "97.50 (median 99.50, 89.50 to 100.00)".
    """
    center = show(fmean(values))
    if len(values) < 2:
        return f"{center}{unit}"
    if leaves_bounds(values, low, high):
        return f"{center}{unit} (median {show(median(values))}, {show(min(values))} to {show(max(values))}{unit})"
    return f"{center} ± {(show_std or show)(stdev(values))}{unit}"


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of a table as lines, each column as wide as its longest text, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.rjust, row, widths)) for row in rows]


def duration(seconds: float) -> str:
    """Return a duration that a person plans with: "0.3 s", "40 s", "5 min", "1.2 h"."""
    if seconds < 90:
        return f"{max(round(seconds, 1), 0.1):g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
