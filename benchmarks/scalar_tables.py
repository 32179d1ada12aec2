"""Tables of `benchmarks.scalar_recall` in Markdown."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.memory_dynamics import START
from benchmarks.tables import describe

LENGTHS = (1000, 3000, 10_000, 20_000)
"""Steps since the digit in the table of recipes."""
DETAILED = ("recall-scalar", "recall-scalar-10000")
"""Goals with a table of their digits."""


def render_recipes(result: Mapping[str, Any]) -> str:
    """Return the accuracy of each recipe over the steps, and its cost."""
    lengths = " | ".join(f"{_number(length)} steps" for length in LENGTHS)
    lines = [
        f"| changes | seeds | {lengths} | 10 000, fresh palindromes, of each seed | updates | seconds | trained to T |",
        "|---" * (len(LENGTHS) + 6) + "|",
    ]
    for goal in result["goals"].values():
        rows = goal["rows"]
        cells = [goal["what"], str(len(rows))]
        for length in LENGTHS:
            index = rows[0]["hold"]["steps"].index(length)
            cells.append(_percent([row["hold"]["accuracy"][index] for row in rows]))
        cells += [
            ", ".join(f"{row['evaluation']['accuracy']:.1%}" for row in rows),
            _number(median(row["updates"] for row in rows)),
            f"{median(row['seconds'] for row in rows):.0f}",
            ", ".join(_number(length) for length in sorted({row["length"] for row in rows})),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    size = next(iter(result["goals"].values()))["rows"][0]["evaluation"]["size"]
    note = (
        f"Mean (minimum) over the seeds of the accuracy after a digit and random ones; then on {size} fresh palindromes. Updates "
        "and seconds are medians, with one thread."
    )
    return "\n".join([*lines, "", note, "", describe(result["machine"]), ""])


def render_digits(result: Mapping[str, Any]) -> str:
    """Return for each digit when it is lost, the time constant of its units and the rest of a displacement."""
    names = [name for name in DETAILED if name in result["goals"]]
    titles = " | ".join(f"`{name}`: lost after | answer then | longest τ | left of a displacement" for name in names)
    lines = [f"| digit | {titles} |", "|---" * (1 + 4 * len(names)) + "|"]
    rows = [result["goals"][name]["rows"][0] for name in names]
    for digit in range(10):
        cells = [str(digit)]
        for row in rows:
            cells += [
                _lost(row["hold"]["lost"][digit]),
                str(row["hold"]["answers"][digit]),
                _number(float(f"{row['time_constants'][digit]:.2g}")),
                f"{row['displacement_left'][digit]:.2g}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    steps = rows[0]["hold"]["steps"][-1]
    note = (
        f"Seed {rows[0]['seed']}. Lost after: median number of steps, and those of the first and the last tenth of the sequences, of "
        f"{_number(steps)}; — if the digit is held to the end."
    )
    return "\n".join([*lines, "", note, ""])


def render_drift(result: Mapping[str, Any]) -> str:
    """Return the units that drift."""
    lines = ["| digit | unit | τ | i·g per step | c at {} | c changes its sign at | digit lost at |", "|---" * 7 + "|"]
    lines[0] = lines[0].format(START)
    for unit in result["drift"]:
        cells = [
            str(unit["digit"]),
            str(unit["unit"]),
            _number(float(f"{unit['tau']:.2g}")),
            f"{unit['added']:.5f}",
            f"{unit['c_mean'][unit['steps'].index(START)]:.2f}",
            _number(unit["crossed"]),
            _number(unit["lost"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _lost(quantiles: Sequence[int | None]) -> str:
    first, middle, last = (None if value is None else _number(value) for value in quantiles)
    if first is None:
        return "—"
    return f"{middle or '—'} ({first} – {last or '—'})"


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def _percent(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.1%} ({min(values):.1%})"
