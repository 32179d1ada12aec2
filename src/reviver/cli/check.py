"""`reviver check`: a student's own LSTM or GAN, compared with the equations."""

import itertools
import logging
import re
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from reviver.cli import options
from reviver.cli.options import RUN
from reviver.errors import ConfigError, ReviverError
from reviver.files.atomic import write_text
from reviver.files.file_errors import check_writable
from reviver.settings.fields import Count, Positive, Text

if TYPE_CHECKING:
    from reviver.checker.assignment import CheckReport

_log = logging.getLogger("reviver")


def check(
    *files: Annotated[str, Parameter(name="FILE")],
    start: Annotated[Literal["lstm", "gan"] | None, RUN] = None,
    out: Annotated[Text | None, RUN] = None,
    points: Annotated[Text | None, RUN] = None,
    course: Annotated[Text | None, RUN] = None,
    against: Annotated[Text, RUN] = "lstm",
    time_limit: Annotated[Positive, RUN] = 60.0,
    memory_limit: Annotated[Positive, RUN] = 2.0,
    jobs: Annotated[Count | None, RUN] = None,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Check an LSTM or a GAN that you wrote, piece by piece, and name the likely mistake.

    The check runs the code of the files, each in a process of its own with limits. That holds accidents; it is no sandbox
    against malice.

    Examples:
      reviver check --start lstm --out my_lstm.py   write a file to fill in
      reviver check my_lstm.py                      check it, in seconds
      reviver check submissions.zip --out grades.csv
      reviver check submissions/ --course original --out class.html
      reviver check my.cell --against gru           compare equations, line by line

    Args:
        files: Files with Python code, notebooks, folders or zips of them, one folder per student; and equations, .cell.
        start: Write a file to fill in, with the signatures and the equations, instead of checking.
        out: File to write: with --start the file to fill in, by default my_lstm.py or my_gan.py; else what is replaced if it
            exists: a table of grades, .csv; a page of a student or of the class, .html; Gradescope's results, .json; or a
            folder for the table and all pages.
        points: TOML file with the points of each piece, such as lstm_step = 3; by default each has 1.
        course: TOML file with what the assignment asks for, or original or plain; by default what a submission has.
        against: Cell with which equations are compared: the name of a built-in one, or a file.
        time_limit: Seconds of computing for each submission.
        memory_limit: GiB that the code of a submission may allocate, on Linux.
        jobs: Submissions that are checked at the same time; by default one per core.
    """
    common.require_cpu()
    if start is not None:
        if files:
            raise ConfigError("FILE must be left out, since --start writes a new file")
        path = Path(out or f"my_{start}.py")
        _write_start(start, path)
        common.show({"out": str(path)}, str(path))
        common.suggest(f"reviver check {path}")
        return
    if not files:
        raise ConfigError("FILE is missing; see reviver check --help")
    if missing := [file for file in files if not Path(file).exists()]:
        raise ConfigError(f"FILE {missing[0]} does not exist")
    if out is None:
        options.leave_out("there is no --out for a table of grades", points=points)
    else:
        options.check_not_read(out, *files, *([points] if points else []))
        if Path(out).suffix not in ("", ".csv", ".html", ".json"):
            raise ConfigError(f"out must end in .csv, .html or .json, or name a folder, got {out}", field="out")
        check_writable(Path(out) if Path(out).suffix else Path(out, "grades.csv"))

    from reviver.checker.cell_text import check_cell
    from reviver.checker.course import read_course
    from reviver.checker.grades import to_check50
    from reviver.checker.submissions import check_submissions, find_submissions
    from reviver.system import usable_cores

    settings = {} if course is None else read_course(course)
    worth = settings.get("points") if points is None else read_course(points, "points")
    settings |= {} if worth is None else {"points": worth}
    cells = [Path(file) for file in files if file.endswith(".cell")]
    reports = []
    with tempfile.TemporaryDirectory(prefix="reviver-check-") as folder:
        submissions = find_submissions([Path(file) for file in files if not file.endswith(".cell")], Path(folder))
        number = len(submissions) + len(cells)
        _log.info("checking %s", files[0] if number == 1 else f"{number} submissions")
        checked = check_submissions(submissions, jobs or usable_cores(), time_limit, memory_limit, settings)
        for report in itertools.chain((check_cell(path, against) for path in cells), checked):
            reports.append(report)
            if not common.json and not (out and common.quiet):
                print(report.summary if out else report)  # the table has the rest
    if common.json:
        results = [to_check50(report) for report in reports]
        common.show(results[0] if number == 1 else {"submissions": results})
    if out is None:
        _raise_problems(reports)
    else:
        _write(Path(out), [report.scored(worth) for report in reports])


def _raise_problems(reports: list["CheckReport"]) -> None:
    """Raise an error if a piece is wrong or missing, or if something was not understood."""
    if any(o.status in {"failed", "missing", "waits"} for report in reports for o in report.outcomes):
        raise ReviverError("some pieces do not pass")
    if any(report.error or report.is_unclear for report in reports):
        raise ReviverError("some submissions are not understood")


def _write(out: Path, reports: list["CheckReport"]) -> None:
    """Write a table of grades, a page, Gradescope's results, or a folder with the table and all pages."""
    from reviver.checker import grades

    writers = {".csv": grades.write_grades, ".html": grades.write_page, ".json": grades.write_gradescope}
    if out.suffix:
        write_text(out, writers[out.suffix](reports))
        return
    write_text(out / "grades.csv", grades.write_grades(reports))
    write_text(out / "class.html", grades.write_page(reports))
    for index, report in enumerate(reports, 1):
        name = re.sub(r"[^\w.-]+", "_", Path(report.file).name)
        write_text(out / "students" / f"{index:03} {name}.html", grades.write_page([report]))


def _write_start(network: str, path: Path) -> None:
    """Write the file to fill in for `lstm` or `gan`: signatures, shapes and equations, without a solution."""
    if path.exists():
        raise ConfigError(f"out must be a new file, got {path}, which exists; choose another --out", field="out")
    write_text(path, (resources.files("reviver.checker") / f"my_{network}.txt").read_text(encoding="utf-8"))
