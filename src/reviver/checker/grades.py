"""Reports as a table of grades, as the results of check50 and Gradescope, and as pages for a student and for the class."""

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from jinja2 import Environment, PackageLoader

from reviver.checker.assignment import PIECES, CheckReport
from reviver.checker.pieces import VERDICTS
from reviver.version import __version__

MAX_BARS = 20
"""Bars of the distribution of points."""


def pieces_of(reports: Sequence[CheckReport]) -> list[str]:
    """Return the names of the pieces in reports, in their order."""
    found = {outcome.piece for report in reports for outcome in report.outcomes}
    known = [piece.name for piece in PIECES if piece.name in found]
    return known + sorted(found - {*known})  # of classes that no piece looks at


def write_grades(reports: Sequence[CheckReport]) -> str:
    """Return a CSV table: the points of each submission and piece, what is wrong, and what a person must look at.

    A column is empty where a submission is about the other network, and where the check does not understand a piece.
    """
    table, columns = io.StringIO(), ["file", "points", "of", *pieces_of(reports), "remarks", "not understood"]
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    for report in reports:
        unclear = [f"{o.piece}: {o.text}" for o in report.outcomes if o.status == "unclear"]
        remarks = [f"{o.piece}: {o.mistake or o.text}" for o in report.outcomes if o.status in {"failed", "missing"}]
        (remarks if report.outcomes else unclear)[:0] = [report.error] * bool(report.error)
        row: dict[str, Any] = {outcome.piece: outcome.points for outcome in report.outcomes}
        row |= {"file": report.file, "points": report.points, "of": report.most if report.points is not None else None}
        writer.writerow(row | {"remarks": "; ".join(remarks), "not understood": "; ".join(unclear)})
    return table.getvalue()


def to_check50(report: CheckReport) -> dict[str, Any]:
    """Return a report in the form of the JSON of check50, in which a piece that is not judged has passed null."""
    result: dict[str, Any] = {"slug": report.file, "version": __version__, "results": []}
    if report.error:
        result["error"] = {"type": "Failure", "value": report.error, "traceback": [], "actions": {}, "data": {}}
    for outcome in report.outcomes:
        passed = {"passed": True, "waits": None, "unclear": None}.get(outcome.status, False)
        cause = {"rationale": outcome.text, "help": outcome.hint or None, "mistake": outcome.mistake or None}
        result["results"].append(
            {
                "name": outcome.piece,
                "description": f"{outcome.piece} is right",
                "passed": passed,
                "log": [outcome.text, *outcome.remarks],
                "cause": None if passed else cause,
                "data": {"section": outcome.section, "seconds": outcome.seconds},
                "dependency": outcome.text.removeprefix("waits for ") if outcome.status == "waits" else None,
            }
        )
    return result


def write_gradescope(reports: Sequence[CheckReport]) -> str:
    """Return the JSON of Gradescope's results.json, of several a list; a piece that is not understood has no score there."""
    results = []
    for report in reports:
        tests = list[dict[str, Any]]()
        for outcome in report.outcomes:
            lines = [outcome.text, *(f"{label}: {text}" for label, text in outcome.notes)]
            tests.append({"name": outcome.piece, "output": "\n".join(lines), "visibility": "visible"})
            if outcome.points is not None:
                status = "passed" if outcome.status == "passed" else "failed"
                tests[-1] |= {"score": outcome.points, "max_score": outcome.worth, "status": status}
        results.append({"output": report.error or str(report), "tests": tests})
    return json.dumps(results[0] if len(results) == 1 else results, indent=2)


def write_page(reports: Sequence[CheckReport]) -> str:
    """Return a page of HTML about a student; of several, first about the class: points, who needs a person, mistakes."""
    groups = defaultdict[tuple[str, str, str], list[int]](list)
    for index, report in enumerate(reports):
        if not report.outcomes:
            groups["unclear", "all", report.error].append(index)
        for outcome in report.outcomes:
            text = outcome.mistake or outcome.text
            groups[outcome.status, outcome.piece, text].append(index)
    points = [report.points for report in reports if report.points is not None]
    most = max(sum(outcome.worth for outcome in report.outcomes) for report in reports)
    width = math.ceil((most + 1) / MAX_BARS)
    bars = {start: sum(start <= each < start + width for each in points) for start in range(0, int(most) + 1, width)}
    environment = Environment(
        loader=PackageLoader("reviver.checker", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.jinja").render(
        reports=reports,
        pieces=pieces_of(reports),
        verdicts=VERDICTS,
        doubts=sum(report.is_unclear for report in reports),
        mean=round(fmean(points), 1) if points else None,
        most=most,
        bars=bars,
        groups=sorted(groups.items(), key=lambda group: -len(group[1])),
    )
