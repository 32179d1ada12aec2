"""Sweeps: time of short runs by the pool and by Ray beside one after another, and a sweep whose workers are killed at random.

One after another, a process trains the same runs in turn, with the default number of threads; the time of its start is not
counted, that of the processes of pool and Ray is.
"""

import json
import multiprocessing
import random
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import machine, ratio, summary
from reviver.cli.sweep import build_cells
from reviver.sweep.cell import Cell, cell_folder, execute
from reviver.sweep.driver import run_cells
from reviver.sweep.engines import Engine, Pool, RayEngine
from reviver.sweep.spec import SweepFile
from reviver.system import usable_cores

ROUNDS = 2
RUNS, TARGET_RATIO = 20, 0.6
CELLS, KILLS = 200, 20
SHORT = {"encoding": "onehot", "length": 10, "data_size": 4000, "epochs": 20}
"""Settings of a run of a few seconds on one core."""
TINY = {"length": 4, "hidden_size": 16, "data_size": 2000, "epochs": 8, "checkpoint_every": 1}
TIMES = ("seconds", "run")
"""Keys of a result that differ between two equal runs."""


def cells_of(settings: dict[str, Any], count: int) -> list[Cell]:
    """Return the cells of a sweep over seeds."""
    content = {"command": "lstm train", "settings": {**settings, "device": "cpu"}, "seeds": count}
    return build_cells(SweepFile.model_validate(content), {})


def time_engine(folder: Path, create: Callable[[], Engine]) -> float:
    """Return the seconds of `RUNS` short runs by an engine, with the start of its processes."""
    started = time.perf_counter()
    run_cells(folder, cells_of(SHORT, RUNS), create())
    return time.perf_counter() - started


def time_sequence(folder: Path) -> float:
    """Return the seconds of the same runs one after another in this process."""
    started = time.perf_counter()
    for cell in cells_of(SHORT, RUNS):
        execute(folder, cell)
    return time.perf_counter() - started


def kill_workers(folder: Path, ended: threading.Event) -> int:
    """Kill `KILLS` workers at random, about evenly over the sweep, at whatever they do; return how many."""
    rng = random.Random(0)
    killed = 0
    while killed < KILLS and not ended.wait(0.05):
        done = len(list(folder.glob("cells/*/outcome.json")))
        workers = multiprocessing.active_children()
        if workers and killed * (CELLS - 10) <= done * KILLS:
            time.sleep(rng.uniform(0, 0.5))
            rng.choice(workers).kill()
            killed += 1
    return killed


def results_of(folder: Path, cells: list[Cell]) -> dict[str, Any]:
    """Return the result of every cell without times and paths, and its training metrics."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: clean(item) for name, item in value.items() if name not in TIMES}
        return value

    return {
        cell.key: (
            clean(json.loads((cell_folder(folder, cell) / "outcome.json").read_text())["result"]),
            [
                clean(json.loads(line))
                for line in (cell_folder(folder, cell) / "run" / "metrics.jsonl").read_text().splitlines()
            ],
        )
        for cell in cells
    }


def measure_kills(folder: Path) -> dict[str, Any]:
    """Return what happened to a sweep of `CELLS` cells whose workers were killed, beside an undisturbed one."""
    cells = cells_of(TINY, CELLS)
    run_cells(folder / "calm", cells, Pool())
    ended = threading.Event()
    with ThreadPoolExecutor(1) as killer:
        killed = killer.submit(kill_workers, folder / "killed", ended)
        started = time.perf_counter()
        outcomes = run_cells(folder / "killed", cells, Pool())
        seconds = time.perf_counter() - started
        ended.set()
    return {
        "cells": CELLS,
        "kills": killed.result(),
        "done": sum(outcome.status == "done" for outcome in outcomes.values()),
        "errors": [outcome.error for outcome in outcomes.values() if outcome.error is not None],
        "calls": sum(outcome.attempts for outcome in outcomes.values()),
        "equal results": results_of(folder / "killed", cells) == results_of(folder / "calm", cells),
        "seconds": round(seconds, 1),
    }


def main() -> dict[str, object]:
    """Run the benchmark, and return seconds per sweep, and the counts of the sweep with killed workers."""
    torch.set_num_threads(usable_cores())
    seconds: dict[str, list[float]] = {"pool": [], "Ray": [], "one after another": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        execute(folder / "warm-up", cells_of(SHORT, 1)[0])
        for number in range(ROUNDS):
            seconds["pool"].append(time_engine(folder / f"pool-{number}", Pool))
            seconds["Ray"].append(time_engine(folder / f"ray-{number}", RayEngine))
            seconds["one after another"].append(time_sequence(folder / f"sequence-{number}"))
        killed = measure_kills(folder)
    ratios = {name: ratio(seconds[name], seconds["one after another"]) for name in ("pool", "Ray")}
    return {
        "title": f"A sweep of {RUNS} short LSTM runs, by the pool of processes, by Ray, and one after another",
        "machine": machine(),
        "seconds_per_run": {name: summary(values) for name, values in seconds.items()},
        "ratios": {name: {**values, "target": TARGET_RATIO} for name, values in ratios.items()},
        "killed": killed,
    }
