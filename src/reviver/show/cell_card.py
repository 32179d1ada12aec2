"""The benchmark of cells and its card: trainings, verdicts, a figure, and a page as HTML and PDF from cell_card.typ."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import typst
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reviver.errors import ConfigError
from reviver.figures import FORMATS, INK, plain_log_ticks, save_figure, styled
from reviver.files.atomic import atomic_write, write_json
from reviver.recurrent.grammar import load_cell
from reviver.runs.environment import describe_machine
from reviver.settings.lstm_network import CELLS
from reviver.show import cell_trials
from reviver.show.cell_trials import ABILITIES, RATES, RECIPE, SEEDS, TEST_FACTORS, CellRun, trials_of
from reviver.show.cell_verdicts import (
    CONFIDENCE,
    NO_DIFFERENCE,
    compare,
    import_scipy,
    interval,
    read_records,
    recorded,
)
from reviver.sweep.driver import open_sweep, run_trials
from reviver.sweep.engines import Engine
from reviver.sweep.trials import Outcome, Trial

CONTROL = "lstm"
"""Cell that is trained again, on the first two tasks, to see whether its records hold on this machine."""
FAILED = CellRun(None, (0.0,) * len(TEST_FACTORS))
"""What a training counts as that did not end."""
MARKERS = {"lstm": "s", "gru": "^"}
"""Built-in cells that the figure names; the others are dots."""
MAX_TALL = 8
"""Maximum number of tasks with rows of full height in the figure; with more, it shrinks, so that the card stays on one page."""
NEVER = cell_trials.EPOCHS * cell_trials.EPOCH_UPDATES * 1.6
"""Where the figure has a run that did not pass."""


def measure(
    texts: Mapping[str, str], abilities: Sequence[str], folder: Path, engine: Callable[[], Engine], *, progress: bool
) -> dict[str, Any]:
    """Train cells, texts by their names, as a sweep in `folder`, which goes on after Ctrl-C; return what their card says."""
    records = read_records()
    if records["recipe"] != cell_trials.recipe_hash():
        raise ConfigError("the records of the built-in cells are of another recipe; run `make records`")
    import_scipy()  # before trainings that take minutes
    open_sweep(folder, "benchmark")
    names = ", ".join(texts)
    rates = cell_trials.choose_rates(
        texts,
        abilities,
        lambda trials: run_trials(folder, trials, engine(), title=f"learning rates of {names}", progress=progress),
    )
    trials = trials_of(texts, abilities, SEEDS, lambda *pair: [rates[pair]] if pair in rates else [])
    known = records["cells"][CONTROL]["abilities"]
    control = trials_of({"": CONTROL}, abilities[:2], SEEDS, lambda _, ability: [known[ability]["rate"]])
    outcomes = run_trials(
        folder, [*trials, *control], engine(), title=f"{names}, {len(SEEDS)} seeds", progress=progress
    )
    found = _by_ability(trials, outcomes)
    failed = ["diverges at every learning rate"] * len(SEEDS)
    cells: dict[str, Any] = {}
    results: dict[str, Any] = {}
    verdicts: dict[str, Any] = {}
    for name, text in texts.items():
        ended = {ability: found.get((name, ability), failed) for ability in abilities}
        runs = {ability: _runs(of_ability) for ability, of_ability in ended.items()}
        loaded = load_cell(text)
        cells[name] = {"text": loaded.text, "has_memory": loaded.has_memory}
        results[name] = {
            ability: {
                **summarize(runs[ability]),
                "rate": rates.get((name, ability)),
                "units": cell_trials.units_of(text, ability),
                "problem": next((run for run in ended[ability] if isinstance(run, str)), ""),
            }
            for ability in abilities
        }
        verdicts[name] = {cell: _verdicts(runs, of_records(cell, abilities)) for cell in CELLS}
    again = {ability: _runs(of_ability) for (_, ability), of_ability in _by_ability(control, outcomes).items()}
    same = compare(again, of_records(CONTROL, abilities))
    return {
        "abilities": {
            name: ABILITIES[name]._asdict() | {"settings": dict(ABILITIES[name].settings)} for name in abilities
        },
        "seeds": [*SEEDS],
        "confidence": CONFIDENCE,
        "recipe": {**RECIPE, "learning_rates": RATES, "test_factors": TEST_FACTORS},
        "machine": {**describe_machine(torch.device("cpu")), "torch": torch.__version__},
        "records_machine": records["machine"],
        "cells": cells,
        "results": results,
        "records": {cell: {ability: _record(cell, ability) for ability in abilities} for cell in CELLS},
        "verdicts": verdicts,
        "control": {"cell": CONTROL, "agrees": all(verdict.word == NO_DIFFERENCE for verdict in same.values())},
    }


def _record(cell: str, ability: str) -> dict[str, Any]:
    row = read_records()["cells"][cell]["abilities"][ability]
    return summarize(recorded(cell, ability)) | {"rate": row["rate"], "units": row["units"]}


def _by_ability(trials: Sequence[Trial], outcomes: Mapping[str, Outcome]) -> dict[tuple[str, str], list[CellRun | str]]:
    results = cell_trials.results_of(trials, outcomes)
    return {(cell, ability): runs for (cell, ability, _), runs in results.items()}


def _runs(ended: Sequence[CellRun | str]) -> list[CellRun]:
    return [run if isinstance(run, CellRun) else FAILED for run in ended]


def _verdicts(
    own: Mapping[str, Sequence[CellRun]], other: Mapping[str, Sequence[CellRun]]
) -> dict[str, dict[str, Any]]:
    return {ability: verdict._asdict() for ability, verdict in compare(own, other).items()}


def of_records(cell: str, abilities: Sequence[str]) -> dict[str, list[CellRun]]:
    """Return the recorded runs of a built-in cell."""
    return {ability: recorded(cell, ability) for ability in abilities}


def summarize(runs: Sequence[CellRun]) -> dict[str, Any]:
    """Return medians and intervals of runs: of the updates, where one that did not pass counts as endless, and of the scores."""
    endless = 10**9
    updates = interval([endless if run.updates is None else run.updates for run in runs])
    return {
        "passed": sum(run.updates is not None for run in runs),
        "updates": [None if value >= endless / 2 else value for value in updates],
        "scores": [interval([run.scores[k] for run in runs]) for k in range(len(TEST_FACTORS))],
    }


def sentences(card: Mapping[str, Any], name: str) -> list[str]:
    """Return what the card concludes of a cell: what it is good at, where it fails, and how sure that is."""
    verdicts, results, seeds = card["verdicts"][name], card["results"][name], len(card["seeds"])

    def count(ability: str, word: str) -> int:
        return sum(of_cell[ability]["word"] == word for of_cell in verdicts.values())

    def listed(word: str) -> str:
        found = [f"{ability} ({count(ability, word)})" for ability in results if count(ability, word)]
        return ", ".join(found) or "none"

    failed = [ability for ability, row in results.items() if row["passed"] < seeds / 2]
    others = len(verdicts)
    lines = [
        f"Better than built-in cells, of {others}: {listed('better')}.",
        f"Worse than built-in cells, of {others}: {listed('worse')}.",
        f"Does not learn within {cell_trials.EPOCHS * cell_trials.EPOCH_UPDATES} updates: {', '.join(failed) or 'none'}.",
    ]
    if not card["cells"][name]["has_memory"]:
        lines.insert(0, "It has no memory: h depends on no state, so it sees only the last step.")
    problems = {row["problem"] for row in results.values() if row["problem"]}
    lines += [f"{problem[:1].upper()}{problem[1:]}." for problem in sorted(problems)]
    if not card["control"]["agrees"]:
        lines.append(
            f"The records do not hold on this machine: {CONTROL} differs from its own. Compare nothing with them."
        )
    return lines


def plot(card: Mapping[str, Any]) -> Figure:
    """Plot, for each task, the updates until a cell passes, and its score on sequences five times longer; built-in cells gray."""
    abilities = [*card["abilities"]]
    with styled():
        figure = Figure(figsize=(6.9, 0.55 * len(abilities) + 1.5 if len(abilities) <= MAX_TALL else 5.0))
        left, right = figure.subplots(1, 2, sharey=True)
        own, known = card["results"], card["records"]
        others = next(name for name in known if name not in MARKERS)
        for panel, pick in ((left, _updates), (right, _longest_score)):
            for name, rows in known.items():
                label = name if name in MARKERS else "other built-in cells" if name == others else None
                values = [pick(rows[ability])[0] for ability in abilities]
                places = [k - 0.2 for k in range(len(abilities))]
                panel.plot(values, places, MARKERS.get(name, "."), color="0.55", label=label, linestyle="none")
            for number, (name, rows) in enumerate(own.items()):
                middle, low, high = zip(*(pick(rows[ability]) for ability in abilities), strict=True)
                places = [k + 0.08 + 0.12 * number for k in range(len(abilities))]
                panel.hlines(places, low, high, color=f"C{number}", linewidth=1.6)
                panel.plot(middle, places, "o", color=f"C{number}", label=name, markersize=5.5, linestyle="none")
        left.set(xscale="log", xlabel="updates until it passes", yticks=range(len(abilities)), yticklabels=abilities)
        plain_log_ticks(left.xaxis)
        left.axvline(NEVER / 1.25, color=INK, linewidth=0.7, linestyle=":")
        left.annotate("never", (NEVER, 1.0), xycoords=("data", "axes fraction"), fontsize=8, ha="center", va="bottom")
        left.set(ylim=(len(abilities) - 0.4, -0.6))
        right.set(xlabel=f"accuracy at {TEST_FACTORS[-1]} times the length", xlim=(-0.03, 1.03))
        right.xaxis.set_major_formatter(PercentFormatter(1.0))
        for panel in (left, right):
            panel.grid(axis="y", visible=False)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _updates(row: Mapping[str, Any]) -> list[float]:
    return [NEVER if value is None else value for value in row["updates"]]


def _longest_score(row: Mapping[str, Any]) -> Sequence[float]:
    score: Sequence[float] = row["scores"][-1]
    return score


def save(card: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write benchmark.json, the figure, and the card as benchmark.html and .pdf; return the paths of the last two."""
    write_json(folder / "benchmark.json", card)
    for suffix in FORMATS:
        save_figure(plot(card), folder / f"benchmark-figure.{suffix}")
    said = {name: sentences(card, name) for name in card["cells"]}
    paths = [folder / f"benchmark.{target}" for target in ("html", "pdf")]
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        source.joinpath("cell_card.typ").write_bytes((files("reviver.show") / "cell_card.typ").read_bytes())
        source.joinpath("figure.svg").write_bytes((folder / "benchmark-figure.svg").read_bytes())
        source.joinpath("card.json").write_text(json.dumps({**card, "sentences": said}), encoding="utf-8")
        for path in paths:
            target: Any = path.suffix[1:]
            options: Any = {"sys_inputs": {"target": target}, "ignore_system_fonts": True}
            content = typst.compile(source / "cell_card.typ", format=target, **options)
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
    return paths


def table(card: Mapping[str, Any], name: str) -> list[list[str]]:
    """Return the table of a cell for a terminal: updates, accuracies, and verdicts; – where no difference was shown."""
    factors = [f"at {factor} ×" if factor > 1 else "accuracy" for factor in TEST_FACTORS]
    rows = [["task", "passed", "updates", *factors, "better than", "worse than", *MARKERS]]
    for ability, row in card["results"][name].items():
        words = {cell: of_cell[ability]["word"] for cell, of_cell in card["verdicts"][name].items()}
        counts = [str(sum(word == one for word in words.values())) for one in ("better", "worse")]
        middle = row["updates"][0]
        scores = [f"{score[0]:.1%}" for score in row["scores"]]
        passed = f"{row['passed']}/{len(card['seeds'])}"
        beside = [words[cell].replace(NO_DIFFERENCE, "–") for cell in MARKERS]
        rows.append([ability, passed, "never" if middle is None else f"{middle:.0f}", *scores, *counts, *beside])
    return rows
