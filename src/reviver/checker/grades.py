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


def worth(outcome: PieceOutcome, points: Mapping[str, float] | None) -> float:
    """Return the points of a piece that is right; without `points` each has 1."""
    return points.get(outcome.piece, 0) if points else 1


def earned(report: CheckReport, points: Mapping[str, float] | None) -> float:
    """Return the points of a submission."""
    return sum(worth(outcome, points) for outcome in report.outcomes if outcome.status == "passed")


def name_of(outcome: PieceOutcome) -> str:
    """Return what is wrong with a piece, in a few words."""
    return outcome.mistake or outcome.text


def write_grades(reports: Sequence[CheckReport], points: Mapping[str, float] | None) -> str:
    """Return a CSV table: the points of each submission and piece, what is wrong, and what a person must look at.

    A column is empty where a submission is about the other network, and where the check does not understand a piece.
    """
    names = [
        piece.name for piece in PIECES if any(o.piece == piece.name for report in reports for o in report.outcomes)
    ]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file", "points", *names, "remarks", "not understood"])
    for report in reports:
        shown = [outcome for outcome in report.outcomes if outcome.status != "unclear"]
        cells = {outcome.piece: worth(outcome, points) if outcome.status == "passed" else 0 for outcome in shown}
        unclear = [f"{o.piece}: {o.text}" for o in report.outcomes if o.status == "unclear"]
        remarks = [f"{o.piece}: {name_of(o)}" for o in report.outcomes if o.status in {"failed", "missing"}]
        error = [report.error] if report.error else []
        (remarks if report.outcomes else unclear)[:0] = error
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
                "log": [outcome.text, *outcome.remarks],
                "cause": cause,
                "data": {"section": outcome.section, "seconds": outcome.seconds},
                "dependency": outcome.text.removeprefix("waits for ") if outcome.status == "waits" else None,
            }
        )
    return result


def to_gradescope(report: CheckReport, points: Mapping[str, float] | None) -> dict[str, Any]:
    """Return a report in the form of Gradescope's results.json; a piece that is not understood has no score there."""
    tests = []
    for outcome in report.outcomes:
        parts = [outcome.text, outcome.mistake and f"likely: {outcome.mistake}", outcome.hint, *outcome.remarks]
        test = {"name": outcome.piece, "output": "\n".join(filter(None, parts)), "visibility": "visible"}
        if outcome.status != "unclear":
            most = worth(outcome, points)
            passed = outcome.status == "passed"
            test |= {"score": most if passed else 0, "max_score": most, "status": "passed" if passed else "failed"}  # type: ignore[dict-item]
        tests.append(test)
    return {"output": report.error or str(report), "tests": tests}


def page(title: str, body: Iterable[str]) -> str:
    """Return a page of HTML."""
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return "\n".join((f"{head}<h1>{escape(title)}</h1>", *body, "</html>", ""))


def write_student(report: CheckReport, points: Mapping[str, float] | None) -> str:
    """Return a page for a student: what is right, what is not and how to go on, what nobody could judge."""
    body = [f"<p>{escape(report.error)}</p>"] if report.error else []
    most = sum(worth(o, points) for o in report.outcomes if o.status != "unclear")
    if report.outcomes:
        body.append(f"<p>{earned(report, points):g} of {most:g} points.</p>")
    for outcome in report.outcomes:
        body.append(f"<h2>{escape(outcome.piece)}: {VERDICTS[outcome.status]}</h2>")
        body.append(f"<p>{escape(outcome.text)}</p>")
        if outcome.mistake:
            body.append(f"<p>Likely: {escape(outcome.mistake)}.</p>")
        if outcome.hint:
            label = "To be understood" if outcome.status == "unclear" else "A question"
            body.append(f"<p>{label}: {escape(outcome.hint)}</p>")
        if outcome.section and outcome.status == "failed":
            body.append(f"<p>Read “{escape(outcome.section)}” in “{escape(TUTORIALS[outcome.network])}”.</p>")
        body += [f"<p>Remark: {escape(remark)}</p>" for remark in outcome.remarks]
    return page(report.file, body)


def write_class(reports: Sequence[CheckReport], points: Mapping[str, float] | None) -> str:
    """Return a page for the class: which mistakes how often, whose verdict needs a person, and how the points spread."""
    wrong = [(o.piece, name_of(o)) for report in reports for o in report.outcomes if o.status == "failed"]
    body = [f"<p>{len(reports)} submissions.</p>", "<h2>Mistakes</h2>"]
    body.append(rows(((number, piece, text) for (piece, text), number in Counter(wrong).most_common()), "How often"))
    body.append("<h2>Needs a person</h2>")
    unclear = [
        (report.file, o.piece, o.text) for report in reports for o in report.outcomes if o.status == "unclear"
    ] + [(report.file, "all", report.error) for report in reports if report.error and not report.outcomes]
    body.append(rows(unclear, "Submission"))
    body.append("<h2>Points</h2>")
    spread = Counter(earned(report, points) for report in reports if report.outcomes)
    bars = (
        (f"{value:g}", number, f'<span class="bar" style="width:{number}rem"></span>')
        for value, number in sorted(spread.items())
    )
    body.append(
        "<table>" + "".join(f"<tr><td>{value}<td>{number}<td>{bar}" for value, number, bar in bars) + "</table>"
    )
    body.append("<h2>Submissions</h2>")
    body.append(
        rows(((r.file, f"{earned(r, points):g}" if r.outcomes else "", verdicts(r)) for r in reports), "Submission")
    )
    return page("The class", body)


def verdicts(report: CheckReport) -> str:
    """Return the verdict of each piece in a line."""
    return (
        report.error if not report.outcomes else ", ".join(f"{o.piece} {VERDICTS[o.status]}" for o in report.outcomes)
    )


def rows(cells: Iterable[tuple[Any, ...]], head: str) -> str:
    """Return a table of HTML."""
    lines = ["".join(f"<td>{escape(str(cell))}" for cell in each) for each in cells]
    return (
        f"<table><tr><th>{head}<th><th>{''.join('<tr>' + line for line in lines)}</table>" if lines else "<p>None.</p>"
    )
