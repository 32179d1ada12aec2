"""What moved since an earlier report: the results in one report.json beside those in another."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reviver.files.file_errors import damaged_data_file, explain_read_errors
from reviver.files.read import read_json
from reviver.settings.validation import show_value
from reviver.show.report.results import SCHEMA_VERSION
from reviver.text import count, short_repr

RESULTS = {
    "lstm": ("final", "mean_of_last", "best", "train_accuracy_without_dropout", "no_dropout"),
    "gan": ("recognition", "final", "scores"),
    "comparison": ("lstm",),
}
"""Keys of a report that hold results, by its parts."""
GIVEN = ("runs", "min_confidence", "num_images", "num_samples", "num_features", "num_evaluations")
"""Keys below them whose values are given, not measured."""
REMEDY = "give a report.json that reviver report wrote"


Mean = tuple[float, float | None]
"""A result: the mean over the runs, and its standard deviation, of a fraction of samples its standard error; or None."""


def read_report(path: Path) -> dict[str, Any]:
    """Read an untrusted report.json; a damaged one, or one of another schema, is a `DataError`."""
    with explain_read_errors(path):
        content = read_json(path)
    version, problem = content.get("schema_version"), "lacks results or settings of a network"
    if version != SCHEMA_VERSION:
        problem = f"schema_version must be {SCHEMA_VERSION}, got {short_repr(version)}"
    with suppress(KeyError, TypeError, AttributeError):
        if version == SCHEMA_VERSION and find_changes(content, content):
            return content
    raise damaged_data_file(path, problem, REMEDY)


def find_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Compare two reports, ready for JSON.

    Results that `moved` have a `Mean` before and now, with the difference in root mean square standard deviations of both, the
    largest first and those without any last; `missing` are those of one report only.
    """
    old, new = (dict(_results(report)) for report in (before, now))
    moved: list[dict[str, Any]] = []
    for name in old.keys() & new.keys():
        if old[name] == new[name]:
            continue
        stds = [std for _, std in (old[name], new[name]) if std is not None]
        scale = math.sqrt(sum(std * std for std in stds) / len(stds)) if stds else 0.0
        distance = (new[name][0] - old[name][0]) / scale if scale else None
        moved.append({"name": name, "before": old[name], "now": new[name], "difference_in_std": distance})
    moved.sort(
        key=lambda item: (item["difference_in_std"] is None, -abs(item["difference_in_std"] or 0.0), item["name"])
    )
    settings = {
        f"{part}.{name}": (before[part]["settings"].get(name), value)
        for part in ("lstm", "gan")
        for name, value in now[part]["settings"].items()
    }
    return {
        "moved": moved,
        "stayed": [name for name in new if old.get(name) == new[name]],
        "missing": sorted(old.keys() ^ new.keys()),
        "settings": {name: pair for name, pair in settings.items() if pair[0] != pair[1]},
    }


def change_lines(changes: Mapping[str, Any]) -> list[str]:
    """Return changes as lines of text."""
    moved, stayed = changes["moved"], changes["stayed"]
    lines = [f"{count(len(moved), 'results')} moved, {len(stayed)} stayed"]
    table = [("result", "before", "now", "moved by")]
    for item in moved:
        distance = item["difference_in_std"]
        moved_by = "? (no spread)" if distance is None else f"{distance:+.2g} std"
        table.append((item["name"], _show(item["before"]), _show(item["now"]), moved_by))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in table if moved]
    for title, names in (("stayed", stayed), ("only in one of both", changes["missing"])):
        lines += [f"{title}: {', '.join(names)}"] if names else []
    lines += [
        f"setting {name}: before {show_value(before)}, now {show_value(now)}"
        for name, (before, now) in changes["settings"].items()
    ]
    return lines


def _results(report: Mapping[str, Any]) -> Iterator[tuple[str, Mean]]:
    """Yield the name of each result of a report with its mean and standard deviation, each result once."""
    for part, names in RESULTS.items():
        for name in names:
            yield from _measured(report[part][name], f"{part}.{name}")


def _measured(value: Any, name: str, error: float | None = None) -> Iterator[tuple[str, Mean]]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, (value, error)
    if not isinstance(value, Mapping):
        return
    if isinstance(value.get("mean"), (int, float)):
        yield name, (value["mean"], value.get("std"))
    elif "measured" in value:  # of a row that only repeats a metric, the metric counts
        if not name.endswith(("_loss", "_accuracy", "_no_dropout")):
            yield from _measured(value["measured"], name)
    else:
        for key, inner in value.items():
            if key not in (*GIVEN, "standard_error"):
                error = value.get("standard_error") if key.endswith("fraction") else None
                yield from _measured(inner, f"{name}.{key}", error)


def _show(result: Mean) -> str:
    mean, std = result
    return f"{mean:.5g}" + ("" if std is None else f" ± {std:.2g}")
