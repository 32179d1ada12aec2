"""`reviver check`: a student's own LSTM or GAN, compared with the equations."""

import logging
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from reviver.cli import options
from reviver.cli.options import RUN
from reviver.errors import ConfigError, ReviverError
from reviver.settings.fields import Count, Positive, Text

_log = logging.getLogger("reviver")


def check(
    *files: Annotated[str, Parameter(name="FILE")],
    start: Annotated[Literal["lstm", "gan"] | None, RUN] = None,
    out: Annotated[Text | None, RUN] = None,
    points: Annotated[Text | None, RUN] = None,
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
      reviver check submissions/*.py --out grades.csv
      reviver check submissions/*.py --out grades.csv --points points.toml

    Args:
        files: Files with Python code to check.
        start: Write a file to fill in, with the signatures and the equations, instead of checking.
        out: File to write: with --start the file to fill in, by default my_lstm.py or my_gan.py; else a table of grades,
            .csv, which is replaced if it exists.
        points: TOML file with the points of each piece, such as lstm_step = 3; by default each has 1.
        time_limit: Seconds of computing for each file; with waiting, three times as many.
        memory_limit: GiB that the code of a file may allocate, on Linux.
        jobs: Files that are checked at the same time; by default one per core.
    """
    common.require_cpu()
    if start is not None:
        if files:
            raise ConfigError("start is only for a new file; leave out the files", field="start")
        path = Path(out or f"my_{start}.py")
        _write_start(start, path)
        common.show({"out": str(path)}, str(path))
        common.suggest(f"reviver check {path}")
        return
    if not files:
        raise ConfigError("FILE is missing; see reviver check --help")
    if points is not None and out is None:
        raise ConfigError("points is only for a table of grades; give its --out", field="points")
    if out is not None and Path(out).suffix != ".csv":
        raise ConfigError(f"out must end in .csv, got {out}", field="out")

    from reviver.checker.grades import read_points, to_check50, write_grades
    from reviver.checker.submissions import Limits, check_files
    from reviver.files.atomic import write_text
    from reviver.files.file_errors import check_writable
    from reviver.system import usable_cores

    worth = None if points is None else read_points(Path(points))
    if out is not None:
        options.check_not_read(out, *files, *([points] if points else []))
        check_writable(Path(out))
    _log.info("checking %s", files[0] if len(files) == 1 else f"{len(files)} files")
    reports = []
    for report in check_files(list(map(Path, files)), Limits(time_limit, memory_limit), jobs or usable_cores()):
        reports.append(report)
        if out is None and not common.json:
            print(report)
        elif not common.json and not common.quiet:  # the table has the rest
            print(next(report.lines()))
    if out is not None:
        write_text(Path(out), write_grades(reports, worth))
    results = [to_check50(report) for report in reports]
    if common.json:
        common.show(results[0] if len(files) == 1 else {"submissions": results})
    if out is None and any(report.error or report.num_passed < len(report.outcomes) for report in reports):
        raise ReviverError("some pieces do not pass")


def _write_start(network: str, path: Path) -> None:
    """Write the file to fill in for `lstm` or `gan`: signatures, shapes and equations, without a solution."""
    from importlib.resources import files

    from reviver.files.file_errors import check_writable

    if path.exists():
        raise ConfigError(f"out must be a new file, got {path}, which exists; choose another --out", field="out")
    check_writable(path)
    path.write_text((files("reviver.checker") / f"my_{network}.txt").read_text(encoding="utf-8"), encoding="utf-8")
