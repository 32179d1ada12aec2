"""The recall curve: how far back networks remember, over lengths, seeds and kinds of network, with equal numbers of sequences.

A cell of the curve is a run folder, `cells/NETWORK-T-seedN`. Cells run side by side, a core each. Those that are
finished are not run again and those that were stopped go on, so the same command resumes a curve. A network that is at
chance at two lengths in a row is not trained at longer ones.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, replace
from itertools import groupby, product
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal, NamedTuple

import torch

from reviver.config import Count
from reviver.errors import Interrupted, RunFolderError
from reviver.lstm.config import LSTMConfig
from reviver.lstm.evaluation import evaluate
from reviver.lstm.presets import PRESETS
from reviver.lstm.run import load_lstm
from reviver.lstm.training import is_reached, train
from reviver.runs.folder import RunFolder
from reviver.runs.progress import ProgressBar
from reviver.runs.session import handling_signals
from reviver.validation import check

LENGTHS = (5, 10, 20, 30, 50, 100, 200, 500, 1000)
SEQUENCES = 64_000
"""The training sequences that each cell may use, unless it passes the threshold before."""

EVALUATED = 1000
"""Fresh sequences on which the accuracy of a cell is measured."""

AT_CHANCE = 0.15
"""Up to this mean accuracy over the seeds a network counts as guessing one of ten digits."""

NETWORKS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "fixed": ("LSTM, fixed length", {}),
    "growing": ("LSTM, growing length", {}),
    "chrono": ("LSTM, fixed length, chrono initialisation", {"init": "chrono"}),
    "rnn": ("vanilla RNN, fixed length", {"cell": "rnn"}),
}
"""What is compared: its name in the figure, and in what it differs from the preset `recall` besides the length."""


class Cell(NamedTuple):
    """One run of the curve."""

    network: str
    length: int
    seed: int

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.network}-{self.length}-seed{self.seed}"

    def config(self, sequences: int) -> LSTMConfig:
        """Its settings, for at most `sequences` to train on."""
        fixed = {} if self.network == "growing" else {"start_length": self.length, "min_length_fraction": 1.0}
        changes = {"length": self.length, "seed": self.seed, "threshold": 0.99, **fixed, **NETWORKS[self.network][1]}
        config = replace(PRESETS["recall"], **changes)
        return replace(config, epochs=max(1, sequences // config.epoch_size_at(self.length)))


class Outcome(NamedTuple):
    """What a cell came to."""

    network: str
    length: int
    seed: int
    accuracy: float
    """On fresh sequences of the cell's length."""
    sequences: int
    """Training sequences that were used."""
    reached: bool
    """Whether validation at the cell's length passed 99 %, which ends the training."""
    seconds: float


def run_curve(
    out: str | Path,
    *,
    lengths: Sequence[int] = LENGTHS,
    seeds: Sequence[int] = range(5),
    networks: Sequence[str] = tuple(NETWORKS),
    sequences: int = SEQUENCES,
    jobs: int | None = None,
    progress: bool = False,
) -> list[Outcome]:
    """Run what is not finished of a curve in the folder `out`, and return the outcomes of all cells that were run.

    Raises:
        ConfigError: if an argument is not allowed, or a cell in `out` has other settings.
        Interrupted: after SIGINT or SIGTERM, once the cells that run are saved.
    """
    for name in networks:
        check("network", name, Literal[tuple(NETWORKS)])
    check("sequences", sequences, Count)
    check("seeds", len(seeds), Count)
    check("jobs", jobs, Count | None)
    order = product(sorted(set(lengths)), seeds, dict.fromkeys(networks))
    cells = [Cell(network, length, seed) for length, seed, network in order]
    configs = [cell.config(sequences) for cell in cells]  # all are checked before the first one runs
    folder = Path(out) / "cells"
    if Path(out).exists() and not folder.is_dir():
        raise RunFolderError(f"{out}: exists and is not the folder of a curve; choose another --out")
    paths = [folder / cell.name for cell in cells]
    outcomes = [read_outcome(*one) for one in zip(paths, cells, configs, strict=True)]
    jobs = jobs or len(os.sched_getaffinity(0))
    signals: list[int] = []
    with (
        handling_signals(lambda number, _: signals.append(number)),
        ProgressBar("recall curve", 100, "%", visible=progress) as bar,
        ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start_worker) as pool,
    ):
        running: dict[Future[Outcome | None], int] = {}
        while not signals:
            ready, waiting = unfinished(cells, outcomes)
            if not ready:
                break
            idle = [number for number in ready if number not in running.values()]
            # Block signals here, and for the workers that start here until these can answer.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            try:
                for number in idle[: jobs - len(running)]:
                    running[pool.submit(run_cell, paths[number], cells[number], configs[number])] = number
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            done, _ = wait(running, timeout=0.25, return_when=FIRST_COMPLETED)
            for future in done:
                number = running.pop(future)
                outcomes[number] = None if signals and future.exception() else future.result()
                if outcomes[number] is None and not signals:
                    signals.append(signal.SIGTERM)  # somebody else stopped the worker
            finished = [outcome.length for outcome in outcomes if outcome is not None]
            left = [cells[number].length for number in ready + waiting if outcomes[number] is None]
            # the time that a run takes is about in proportion to its length
            bar.update(100 * sum(finished) / sum(finished + left), f"{len(finished)} runs, {len(left)} to go")
        if signals:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise Interrupted(f"{out}: stopped, the runs are saved; go on with the same command", signals[0])
    return [outcome for outcome in outcomes if outcome is not None]


def unfinished(cells: Sequence[Cell], outcomes: Sequence[Outcome | None]) -> tuple[list[int], list[int]]:
    """The numbers of the cells that may run now, the shortest first, and of those that wait for what shorter ones show.

    All others are finished, or given up: their network was at chance at two lengths in a row before theirs.
    """
    ready: list[int] = []
    waiting: list[int] = []
    order = sorted(range(len(cells)), key=cells.__getitem__)
    for _, numbers in groupby(order, lambda number: cells[number].network):
        before: list[bool | None] = []  # whether it was at chance at each shorter length; None: not known yet
        for _, group in groupby(numbers, lambda number: cells[number].length):
            if before[-2:] == [True, True]:
                break
            found = {number: outcomes[number] for number in group}
            accuracies = [outcome.accuracy for outcome in found.values() if outcome is not None]
            (ready if len(before) < 2 or False in before[-2:] else waiting).extend(
                number for number, outcome in found.items() if outcome is None
            )
            before.append(None if None in found.values() else mean(accuracies) <= AT_CHANCE)
    return sorted(ready), sorted(waiting)


def run_cell(path: Path, cell: Cell, config: LSTMConfig) -> Outcome | None:
    """Train a cell, or go on with it, and measure it; None if a signal stopped it, or one before it in this worker."""
    if _stopped:
        return None
    try:
        folder = train(config, path, device="cpu", resume=(path / "run.json").exists())
    except Interrupted:
        _stopped.append(signal.SIGTERM)  # the next cell may wait in this worker's queue already
        return None
    run = load_lstm(folder)
    accuracy = evaluate(run.network, run.task, cell.length, EVALUATED).score.accuracy
    folder.save_record(measured={"sequences": EVALUATED, "accuracy": accuracy})
    return read_outcome(path, cell, config)


_stopped: list[int] = []
"""The signals that asked this worker to stop."""


def read_outcome(path: Path, cell: Cell, config: LSTMConfig) -> Outcome | None:
    """Read what a cell came to; None if it is not finished, or was trained with other settings."""
    if not (path / "run.json").exists():
        return None
    folder = RunFolder.open(path, "lstm")
    record = folder.record
    is_done = folder.status == "finished" and record["config"] == asdict(config) and "measured" in record
    points = folder.read_metrics() if is_done else []
    if not points:
        return None
    return Outcome(
        *cell,
        accuracy=record["measured"]["accuracy"],
        sequences=points[-1]["sequences"],
        reached=is_reached(config, points[-1]),
        seconds=record["seconds"],
    )


def summarise(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row for each network and length: accuracy, and the sequences to 99 % of those seeds that got there."""
    rows = []
    for network, length in dict.fromkeys(outcome[:2] for outcome in outcomes):
        cells = [outcome for outcome in outcomes if outcome[:2] == (network, length)]
        accuracies = [cell.accuracy for cell in cells]
        needed = [cell.sequences for cell in cells if cell.reached]
        rows.append(
            {
                "network": network,
                "length": length,
                "seeds": len(cells),
                "accuracy_mean": mean(accuracies),
                "accuracy_std": stdev(accuracies) if len(cells) > 1 else 0.0,
                "reached": len(needed),
                "sequences_mean": mean(needed) if needed else None,
                "sequences_std": stdev(needed) if len(needed) > 1 else None,
                "seconds_mean": mean(cell.seconds for cell in cells),
            }
        )
    return rows


def _start_worker() -> None:
    """Use one core, and stop only when the parent asks for it with SIGTERM.

    SIGTERM must not kill a worker that waits for its next cell: it would die with the lock of the queue that the others
    read, and these would wait for ever.
    """
    os.setpgrp()  # Ctrl-C is for the parent
    signal.signal(signal.SIGTERM, lambda number, _: _stopped.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # gradients of a vanilla RNN vanish into denormal numbers, which are slow
    logging.getLogger("reviver").setLevel(logging.WARNING)
