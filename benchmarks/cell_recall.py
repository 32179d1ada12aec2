"""The longest palindromes that each cell recalls, from the sweep of all cells and of the LSTM without each of its lines.

    reviver sweep benchmarks/cell_texts/recall.toml --jobs 2 --threads 1 --out runs/cells
    reviver sweep benchmarks/cell_texts/recall-dropout.toml --jobs 2 --threads 1 --out runs/cells-dropout
    reviver sweep benchmarks/cell_texts/recall-zoneout.toml --jobs 2 --threads 1 --out runs/cells-zoneout
    python -m benchmarks.cell_recall runs/cells runs/cells-dropout runs/cells-zoneout

The last command writes docs/measurements/cell_recall.json from the runs that are finished.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import machine
from reviver.files.atomic import write_json
from reviver.files.read import read_json
from reviver.recurrent.grammar import load_cell
from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_network import CELLS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "measurements" / "cell_recall.json"


def measure(folders: Sequence[Path]) -> dict[str, Any]:
    """Return what the finished trials of sweeps reached, by cell and dropout, in the order of the sweeps."""
    rows: dict[tuple[str, float, str], dict[str, Any]] = {}
    commands, threads = set[str](), set[int]()
    keys = [(folder, key) for folder in folders for key in read_json(folder / "order.json")["trials"]]
    for folder, key in keys:
        trial = folder / "trials" / key
        if not (trial / "outcome.json").exists():
            continue
        run = RunFolder.open(trial / "run")
        config, metrics = run.read_config(LSTMConfig), run.read_metrics()
        cell = load_cell(config.cell)
        name = f"`{config.cell}`" if config.cell in CELLS else cell.title
        row = rows.setdefault(
            (config.cell, config.hidden_dropout, config.hidden_dropout_kind),
            {
                "cell": name + ("" if config.hidden_dropout_kind == "step" else f", {config.hidden_dropout_kind}"),
                "dropout": config.hidden_dropout,
                "states": len(cell.states),
                "weights": cell.parameter_count(10, config.hidden_size),
                "length": config.length,
                "longest": [],
                "updates": [],
                "seconds": [],
            },
        )
        passed = [m["length"] for m in metrics if m["validation_accuracy"] >= config.threshold_at(m["length"])]
        row["longest"].append(max(passed, default=0))
        row["updates"].append(metrics[-1]["step"])
        row["seconds"].append(run.record["seconds"])
        commands.add(run.record["command"].partition(" --")[0])
        threads.add(run.record["hardware"]["threads"])
    return {
        "title": "Recall of cells",
        "commands": sorted(commands),
        "machine": {**machine(), "threads": max(threads, default=torch.get_num_threads())},
        "cells": [*rows.values()],
    }


if __name__ == "__main__":
    write_json(RESULTS, measure([Path(word) for word in sys.argv[1:]]))
