"""Results of a sweep: the table of its cells, the summary over the seeds, and its figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from reviver.errors import ConfigError
from reviver.figures import save_figure
from reviver.io.atomic import write_json
from reviver.sweep.cell import Outcome
from reviver.sweep.figures import summary_figure
from reviver.sweep.spec import Sweep
from reviver.sweep.summary import Summary, summarise, summary_lines, summary_to_json
from reviver.sweep.table import table_rows, write_table


class SweepReport(NamedTuple):
    """Results of a sweep, as they are printed."""

    result: dict[str, Any]
    """For --json."""
    lines: list[str]
    """As text."""
    failed: list[Outcome]
    """Outcomes of the cells that failed."""


def report_sweep(folder: Path, sweep: Sweep, outcomes: Mapping[str, Outcome]) -> SweepReport:
    """Write table.parquet (or table.csv), summary.json, summary.pdf and summary.png into the folder of a sweep.

    Raises:
        ConfigError: if cells are finished, but none has the measure; the table is written.
        RunFolderError: if a file cannot be written.
    """
    with FileLock(folder / "report.lock"):  # workers on several machines finish the sweep at the same moment
        return _write_report(folder, sweep, outcomes)


def _write_report(folder: Path, sweep: Sweep, outcomes: Mapping[str, Outcome]) -> SweepReport:
    failed = [outcomes[cell.key] for cell in sweep.cells if outcomes[cell.key].status == "failed"]
    table = write_table(table_rows(sweep.cells, outcomes), folder / "table.parquet")
    counts = {"cells": len(sweep.cells), "done": len(sweep.cells) - len(failed), "failed": len(failed)}
    result: dict[str, Any] = {"out": str(folder), **counts, "table": str(table)}
    lines = [f"{folder}: {counts['done']} of {counts['cells']} cells done"]
    summary = _summarise(sweep, outcomes)
    if summary is None:
        lines += [f"failed: {outcome.key}: {outcome.error}" for outcome in failed]
        return SweepReport(result, [*lines, str(table)], failed)
    result["summary"] = summary_to_json(summary)
    write_json(folder / "summary.json", result)
    lines += summary_lines(summary)
    if summary.best is not None:
        figure = folder / "summary.pdf"
        for path in (figure, figure.with_suffix(".png")):
            save_figure(summary_figure(summary), path)
        result["figure"] = str(figure)
        lines.append(str(figure))
    return SweepReport(result, [*lines, str(table)], failed)


def _summarise(sweep: Sweep, outcomes: Mapping[str, Outcome]) -> Summary | None:
    """Return the summary of a sweep, or None if its command has no usual measure, or not with these settings.

    Raises:
        ConfigError: if the results do not have the measure that the file names.
    """
    if sweep.measure is None:
        return None
    try:
        return summarise(sweep.cells, outcomes, sweep.measure, sweep.goal)
    except ConfigError as error:
        if sweep.is_measure_given:
            raise ConfigError(f"{error}; change it in the file and run the same command again") from error
        return None
