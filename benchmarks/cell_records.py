"""Measure the built-in cells for `reviver lstm benchmark`, which ships what comes out. Takes half an hour.

    python -m benchmarks.cell_records

The trainings are a sweep in runs/cell-records; finished ones are not repeated.
"""

from typing import Any

from benchmarks.measure import ROOT, machine
from reviver.files.atomic import write_json
from reviver.recurrent.grammar import load_cell
from reviver.settings.lstm_network import CELLS
from reviver.show import cell_trials
from reviver.show.cell_card import FAILED
from reviver.show.cell_trials import ABILITIES, CellRun
from reviver.show.cell_verdicts import RECORDS, hash_of
from reviver.sweep.driver import run_trials
from reviver.sweep.engines import Pool


def main() -> None:
    """Measure all cells, and write the records."""
    folder, cells = ROOT / "runs" / "cell-records", dict(zip(CELLS, CELLS, strict=True))
    rates = cell_trials.choose_rates(
        cells,
        [*ABILITIES],
        lambda trials: run_trials(folder, trials, Pool(threads=1), title="rates", progress=True),
    )
    trials = cell_trials.trials_of(
        cells, ABILITIES, cell_trials.SEEDS, lambda *pair: [rates[pair]] if pair in rates else []
    )
    outcomes = run_trials(folder, trials, Pool(threads=1), title="cells", progress=True)
    never = {"rate": None, "runs": [list(FAILED)] * len(cell_trials.SEEDS)}  # diverges at every rate
    rows: dict[str, Any] = {
        cell: {
            "text": hash_of(load_cell(cell)),
            "abilities": {ability: {**never, "units": cell_trials.units_of(cell, ability)} for ability in ABILITIES},
        }
        for cell in cells
    }
    for (cell, ability, rate), runs in cell_trials.results_of(trials, outcomes).items():
        row: dict[str, Any] = {"rate": rate, "units": cell_trials.units_of(cell, ability)}
        row["runs"] = [[run.updates, list(run.scores)] for run in runs if isinstance(run, CellRun)]
        rows[cell]["abilities"][ability] = row
    write_json(RECORDS, {"recipe": cell_trials.recipe_hash(), "machine": machine(), "cells": rows})


if __name__ == "__main__":
    main()
