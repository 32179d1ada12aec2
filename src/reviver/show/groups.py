"""Comparison of runs: those that differ only in their seed are a group, with mean and spread over the seeds."""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from reviver.errors import ConfigError, ReviverError, RunFolderError
from reviver.figures import CHANCE_COLOR, draw_runs, integer_ticks, panels, plain_log_ticks, styled
from reviver.runs.folder import RunFolder
from reviver.settings.lstm_network import cell_label
from reviver.settings.validation import refuse, show_value
from reviver.sweep.statistics import SEED, bounds_of, rank_groups, ranking_lines
from reviver.sweep.summary_figure import STYLES, plain_text
from reviver.sweep.trials import find_trial_runs
from reviver.text import leaves_bounds
from reviver.train.lstm.summary import results_of
from reviver.train.opened import OpenedRun

Records = list[dict[str, Any]]
Measure = tuple[str, Literal["max", "min"]]
DIGESTS = ("data_sha256", "code_sha256")
"""Names that digests of the training data and of code of one's own have among the settings."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComparedRun:
    """A run without its networks, so that no class of your own is needed."""

    folder: RunFolder
    settings: dict[str, Any]
    """Settings without the seed, and `DIGESTS`."""
    seed: int
    records: Records
    """Metrics of an LSTM; scores of a GAN, or its metrics if one of the runs was not evaluated."""
    results: dict[str, Any]
    """Numbers of the end, as the training command gives them."""


def read_runs(paths: Sequence[str | Path]) -> list[ComparedRun]:
    """Read the runs in folders, each a run folder or that of a sweep; errors if kinds are mixed, or settings and seed repeat."""
    folders = [RunFolder.open(run) for path in map(Path, paths) for run in find_trial_runs(path) or [path]]
    kinds = sorted({folder.kind for folder in folders})
    if len(kinds) > 1:
        raise RunFolderError(
            f"runs must be all of an LSTM or all of a GAN, got {' and '.join(kinds)}; compare each kind alone"
        )
    opened = [OpenedRun(folder) for folder in {folder.path.resolve(): folder for folder in folders}.values()]
    runs = [_read_run(run, has_scores=all(each.scores for each in opened)) for run in opened]
    if kinds == ["lstm"]:
        _name_texts(runs)
    found: dict[str, ComparedRun] = {}
    for run in runs:
        other = found.setdefault(json.dumps([run.settings, run.seed]), run)
        if other is not run:
            problem = f"{other.folder.path} and {run.folder.path} have the same settings and the seed {run.seed}"
            raise ConfigError(f"{problem}; give one of them, since only other seeds show a spread", field="run")
    return runs


def _name_texts(runs: Sequence[ComparedRun]) -> None:
    """Replace cells as text by their names, each text by one of its own, such as text-2."""
    names: dict[str, str] = {}
    for run in runs:
        text = str(run.settings["cell"])
        if text not in names:
            label, same = cell_label(text), sum(cell_label(other) == cell_label(text) for other in names)
            names[text] = f"{label}-{same + 1}" if same else label
        run.settings["cell"] = names[text]


def _read_run(run: OpenedRun, *, has_scores: bool) -> ComparedRun:
    folder, settings = run.folder, dataclasses.asdict(run.config)
    seed = settings.pop(SEED)
    code = {name: part.get("sha256") for name, part in folder.record.get("parts", {}).items()} or None
    digests = folder.record.get("data", {}).get("sha256"), code and json.dumps(code)
    settings |= dict(zip(DIGESTS, digests, strict=True))
    metrics, scores = run.require_metrics(), run.scores
    if folder.status != "finished":
        _log.warning("%s is %s: it counts with its last epoch so far", folder.path, folder.status)
    if folder.kind == "gan":
        results = {"last": metrics[-1], "scores": scores[-1] if has_scores else None}
        return ComparedRun(folder, settings, seed, scores if has_scores else metrics, results)
    try:
        chance = run.task.chance
    except ReviverError:  # such as a task of your own, whose class was not given
        chance = None
    return ComparedRun(folder, settings, seed, metrics, results_of(run.config, metrics, chance))


def differing_settings(runs: Sequence[ComparedRun]) -> list[str]:
    """Return the names of the settings in which runs differ; digests only if the others do not tell all groups apart."""

    def count(names: Sequence[str]) -> int:
        return len({json.dumps([run.settings[name] for name in names]) for run in runs})

    names = [name for name in runs[0].settings if count([name]) > 1]
    shown = [name for name in names if name not in DIGESTS]
    return shown if count(shown) == count(names) else names


def group_runs(runs: Sequence[ComparedRun]) -> dict[str, list[ComparedRun]]:
    """Return the runs by group; its name has the settings that differ, such as `cell = lstm`, or is that of a single run."""
    names = differing_settings(runs)
    groups: dict[str, list[ComparedRun]] = {}
    for run in runs:
        name = ", ".join(f"{name} = {show_value(run.settings[name])}" for name in names)
        groups.setdefault(name or runs[0].folder.path.name, []).append(run)
    return groups


def rank_runs(runs: Sequence[ComparedRun]) -> tuple[dict[str, Any], list[str]]:
    """Return the groups of runs ranked by each measure, of which the first decides on the best, and the lines of the table."""
    names = differing_settings(runs)
    groups = []
    for group in group_runs(runs).values():
        results = [{**run.results, "seconds": run.folder.record.get("seconds")} for run in group]
        groups.append(({name: group[0].settings[name] for name in names}, results))
    rankings = [rank_groups(groups, *measure) for measure in _measured(runs)[0]]
    if "validation_accuracy" not in rankings[0]["measure"] and "fid" not in rankings[0]["measure"]:
        rankings[0] |= {"leaders": [], "best": None}  # a lower loss of a GAN is not better
    lines = ranking_lines(rankings[0], rankings[1:], advice="train more seeds")
    return {"runs": [str(run.folder.path) for run in runs], "summaries": rankings}, lines


def _measured(runs: Sequence[ComparedRun]) -> tuple[list[Measure], tuple[tuple[str, str], tuple[str, str]]]:
    """Return the measures of a table, the first of which decides, and the metrics of the two panels with their titles."""
    seconds: Measure = ("seconds", "min")
    if runs[0].folder.kind == "lstm":
        has_means = all("mean_of_last" in run.results for run in runs)
        has_length = all("length" in run.records[-1] for run in runs)
        steadier: list[Measure] = [("mean_of_last.validation_accuracy", "max")] if has_means else []
        first = ("length", "Length of the curriculum") if has_length else ("validation_loss", "Validation loss")
        measures = [("best.validation_accuracy", "max"), *steadier, ("last.validation_loss", "min"), seconds]
        return measures, (first, ("validation_accuracy", "Validation accuracy"))
    if all(run.results["scores"] for run in runs):
        return [("scores.fid", "min"), ("scores.coverage", "max"), seconds], (("fid", "FID"), ("coverage", "Coverage"))
    panels = ("generator_loss", "Generator loss"), ("discriminator_loss", "Discriminator loss")
    return [("last.generator_loss", "min"), ("last.discriminator_loss", "min"), seconds], panels


@styled()
def comparison_curves(runs: Sequence[ComparedRun], labels: Sequence[str] = (), *, log_loss: bool = False) -> Figure:
    """Plot two metrics of each group over the epochs: mean and band of one standard deviation over the seeds.

    `labels` are names of the groups in the legend, by default their settings. If a band would leave the values that its metric
    can have, the panel shows medians and ranges. A run that ended keeps its last value. Of many groups, the first are shown.
    """
    groups = group_runs(runs)
    if labels:
        if len(labels) != len(groups):
            refuse("labels", f"must be {len(groups)}, one for each of {'; '.join(groups)}, got {len(labels)}")
        groups = dict(zip(labels, groups.values(), strict=True))
    chosen = dict([*groups.items()][: len(STYLES)])
    figure = Figure()
    (axes,) = panels(figure)
    for panel, (name, heading) in zip(axes, _measured(runs)[1], strict=True):
        curves = [_align(group, name) for group in chosen.values()]
        low, high = bounds_of(name)
        if name == "length":
            low, high = min(values.min() for _, values in curves), max(values.max() for _, values in curves)
        use_median = any(leaves_bounds(column, low, high) for _, values in curves for column in values.T.tolist())
        for (label, group), (x, values), (color, marker, dashes) in zip(chosen.items(), curves, STYLES, strict=False):
            words = plain_text(label) + (f" (n = {len(group)})" if len(group) > 1 else "")
            style = {"linestyle": dashes, "marker": marker if len(x) == 1 else "", "label": words}
            draw_runs(panel, x, values, color, limits=(low, high), use_median=use_median, **style)
        panel.set(title=heading, xlabel="epoch")
        if any(len(group) > 1 for group in chosen.values()):
            panel.set_ylabel("median and range" if use_median else "mean ± std")
        if high == 1.0:
            panel.set_ylim(-0.02, 1.02)
        elif name in ("fid", "length") or (log_loss and name.endswith("loss")):
            panel.set_yscale("log")
            plain_log_ticks(panel.yaxis)
        integer_ticks(panel.xaxis)
        chances = {run.results.get("chance") for run in runs}
        if name == "validation_accuracy" and len(chances) == 1 and None not in chances:
            panel.axhline(chances.pop(), color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="chance")
    handles, labels = axes[1].get_legend_handles_labels()
    title = f"the first {len(chosen)} of {len(groups)} groups" if len(groups) > len(chosen) else None
    columns = max(1, min(len(labels), int(figure.get_figwidth() * 14 / (4 + max(map(len, labels))))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title)
    return figure


def _align(group: Sequence[ComparedRun], name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the epochs that any run of a group has, [E], and the metric of each run at them, [runs, E]."""
    series: list[Mapping[float, float]] = [{row["epoch"]: row[name] for row in run.records} for run in group]
    epochs = np.array(sorted({epoch for each in series for epoch in each}))
    rows = []
    for each in series:
        own = np.array(sorted(each))
        values = np.array([each[epoch] for epoch in own], dtype=float)  # None becomes NaN
        rows.append(values[np.searchsorted(own, epochs, side="right").clip(1) - 1])
    return epochs, np.array(rows)
