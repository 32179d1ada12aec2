"""Reports as a table of grades, as the results of check50 and Gradescope, and as pages for a student and for the class."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from reviver.checker.assignment import PIECES, TUTORIALS, CheckReport
from reviver.checker.pieces import PieceOutcome
from reviver.version import __version__

VERDICTS = {
    "passed": "right",
    "failed": "wrong",
    "unclear": "not understood",
    "waits": "not checked",
    "missing": "missing",
}
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:1.5rem 0 .3rem}table{border-collapse:collapse}
td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}code{overflow-wrap:anywhere}
.bar{display:inline-block;height:.8rem;background:#3465a4}@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}}"""
Points = Mapping[str, float] | None
"""Points of each piece that is right; without them each has 1."""


def worth(outcome: PieceOutcome, points: Points) -> float:
    """Return the points of a piece that is right."""
    return points.get(outcome.piece, 0) if points else 1


def earned(report: CheckReport, points: Points) -> float:
    """Return the points of a submission."""
    return sum(worth(outcome, points) for outcome in report.outcomes if outcome.status == "passed")


def write_grades(reports: Sequence[CheckReport], points: Points) -> str:
    """Return a CSV table: the points of each submission and piece, what is wrong, and what a person must look at.

    A column is empty where a submission is about the other network, and where the check does not understand a piece.
    """
    found = {outcome.piece for report in reports for outcome in report.outcomes}
    names = [piece.name for piece in PIECES if piece.name in found]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file", "points", *names, "remarks", "not understood"])
    for report in reports:
        cells = {o.piece: worth(o, points) * (o.status == "passed") for o in report.outcomes if o.status != "unclear"}
        unclear = [f"{o.piece}: {o.text}" for o in report.outcomes if o.status == "unclear"]
        remarks = [f"{o.piece}: {o.mistake or o.text}" for o in report.outcomes if o.status in {"failed", "missing"}]
        (remarks if report.outcomes else unclear)[:0] = [report.error] * bool(report.error)
        row = [report.file, earned(report, points) if report.outcomes else "", *(cells.get(name, "") for name in names)]
        writer.writerow([*row, "; ".join(remarks), "; ".join(unclear)])
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


def to_gradescope(report: CheckReport, points: Points) -> dict[str, Any]:
    """Return a report in the form of Gradescope's results.json; a piece that is not understood has no score there."""
    tests = []
    for outcome in report.outcomes:
        parts = [outcome.text, outcome.mistake and f"likely: {outcome.mistake}", outcome.hint, *outcome.remarks]
        test: dict[str, Any] = {
            "name": outcome.piece,
            "output": "\n".join(filter(None, parts)),
            "visibility": "visible",
        }
        if outcome.status != "unclear":
            most, passed = worth(outcome, points), outcome.status == "passed"
            test |= {"score": most * passed, "max_score": most, "status": "passed" if passed else "failed"}
        tests.append(test)
    return {"output": report.error or str(report), "tests": tests}


def page(title: str, body: Iterable[str]) -> str:
    """Return a page of HTML."""
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return "\n".join((f"{head}<h1>{escape(title)}</h1>", *body, "</html>", ""))


def write_student(report: CheckReport, points: Points) -> str:
    """Return a page for a student: what is right, what is not and how to go on, what nobody could judge."""
    most = sum(worth(o, points) for o in report.outcomes if o.status != "unclear")
    body = [report.error, f"{earned(report, points):g} of {most:g} points." if report.outcomes else ""]
    for outcome in report.outcomes:
        label = "To be understood" if outcome.status == "unclear" else "A question"
        read = f"Read “{outcome.section}” in “{TUTORIALS[outcome.network]}”." if outcome.status == "failed" else ""
        body += [f"<h2>{escape(outcome.piece)}: {VERDICTS[outcome.status]}</h2>", outcome.text]
        body += [f"Likely: {outcome.mistake}." * bool(outcome.mistake), f"{label}: {outcome.hint}" * bool(outcome.hint)]
        body += [read, *(f"Remark: {remark}" for remark in outcome.remarks)]
    return page(report.file, (part if part.startswith("<h2>") else f"<p>{escape(part)}</p>" for part in body if part))


def write_class(reports: Sequence[CheckReport], points: Points) -> str:
    """Return a page for the class: which mistakes how often, whose verdict needs a person, and how the points spread."""
    outcomes = [(report.file, outcome) for report in reports for outcome in report.outcomes]
    wrong = Counter((o.piece, o.mistake or o.text) for _, o in outcomes if o.status == "failed")
    unclear = [(file, o.piece, o.text) for file, o in outcomes if o.status == "unclear"]
    unclear += [(report.file, "all", report.error) for report in reports if report.error and not report.outcomes]
    spread = Counter(earned(report, points) for report in reports if report.outcomes)
    bars = "".join(
        f'<tr><td>{value:g}<td>{number}<td><span class="bar" style="width:{number}rem"></span>'
        for value, number in sorted(spread.items())
    )
    verdicts = [
        (r.file, f"{earned(r, points):g}", ", ".join(f"{o.piece} {VERDICTS[o.status]}" for o in r.outcomes))
        if r.outcomes
        else (r.file, "", r.error)
        for r in reports
    ]
    body = [f"<p>{len(reports)} submissions.</p>", "<h2>Mistakes</h2>"]
    body.append(rows(((number, *which) for which, number in wrong.most_common()), "How often"))
    body += ["<h2>Needs a person</h2>", rows(unclear, "Submission"), "<h2>Points</h2>", f"<table>{bars}</table>"]
    return page("The class", [*body, "<h2>Submissions</h2>", rows(verdicts, "Submission")])


def rows(cells: Iterable[tuple[Any, ...]], head: str) -> str:
    """Return a table of HTML."""
    lines = ["<tr>" + "".join(f"<td>{escape(str(cell))}" for cell in each) for each in cells]
    return f"<table><tr><th>{head}<th><th>{''.join(lines)}</table>" if lines else "<p>None.</p>"
