"""Reports as a table of grades, one row a file, and as the results of check50."""

import csv
import io
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reviver.checker.assignment import PIECES, CheckReport
from reviver.errors import ConfigError
from reviver.text import did_you_mean
from reviver.version import __version__


def read_points(path: Path) -> dict[str, float]:
    """Read the points of each piece from a TOML file; a piece that it does not name has 0. Raises ConfigError."""
    try:
        points = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"points {path} cannot be read ({problem})", field="points") from error
    known = [piece.name for piece in PIECES]
    for name, value in points.items():
        if name not in known:
            advice = did_you_mean(name, known) or f"choose from {', '.join(known)}"
            raise ConfigError(f"points {path}: {name} is no piece; {advice}", field="points")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
            raise ConfigError(f"points {path}: {name} must be a number of at least 0, got {value!r}", field="points")
    return points


def write_grades(reports: Sequence[CheckReport], points: Mapping[str, float] | None) -> str:
    """Return a CSV table: the sum of points of each file, the points of each piece, and what is wrong.

    Without `points` each piece has 1. A column is empty where a file is about the other network.
    """
    names = [
        piece.name for piece in PIECES if any(o.piece == piece.name for report in reports for o in report.outcomes)
    ]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file", "points", *names, "remarks"])
    for report in reports:
        earned = {o.piece: points.get(o.piece, 0) if points else 1 for o in report.outcomes if o.status == "passed"}
        cells = {outcome.piece: earned.get(outcome.piece, 0) for outcome in report.outcomes}
        remarks = [f"{o.piece}: {o.mistake or o.text}" for o in report.outcomes if o.status in {"failed", "missing"}]
        row = [report.file, sum(earned.values()), *(cells.get(name, "") for name in names)]
        writer.writerow([*row, "; ".join([report.error] * bool(report.error) + remarks)])
    return table.getvalue()


def to_check50(report: CheckReport) -> dict[str, Any]:
    """Return a report in the form of the JSON of check50, in which a piece that waits has passed null."""
    result: dict[str, Any] = {"slug": report.file, "version": __version__, "results": []}
    if report.error:
        result["error"] = {"type": "Failure", "value": report.error, "traceback": [], "actions": {}, "data": {}}
    for outcome in report.outcomes:
        passed = {"passed": True, "waits": None}.get(outcome.status, False)
        cause = (
            None
            if passed
            else {"rationale": outcome.text, "help": outcome.hint or None, "mistake": outcome.mistake or None}
        )
        result["results"].append(
            {
                "name": outcome.piece,
                "description": f"{outcome.piece} is right",
                "passed": passed,
                "log": [outcome.text],
                "cause": cause,
                "data": {"section": outcome.section, "seconds": outcome.seconds},
                "dependency": outcome.text.removeprefix("waits for ") if outcome.status == "waits" else None,
            }
        )
    return result
