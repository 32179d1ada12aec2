"""The recall curve: how far back networks remember, over lengths, seeds and kinds of network, with equal numbers of sequences.

A cell of the curve is a run folder, `cells/NETWORK-T-seedN`. Cells run side by side, a core each. Those that are
finished are not run again and those that were stopped go on, so the same command resumes a curve. A network that is at
chance at two lengths in a row is not trained at longer ones.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from reviver.errors import ConfigError, Interrupted, RunFolderError
from reviver.loading import load_lstm
from reviver.lstm.evaluation import evaluate
from reviver.lstm.presets import PRESETS, LSTMConfig
from reviver.lstm.training import is_reached, train
from reviver.runs.folder import RunFolder
from reviver.runs.progress import ProgressBar

LENGTHS = (5, 10, 20, 30, 50, 100, 200, 500, 1000)
SEQUENCES = 64_000
"""The training sequences that each cell may use, unless it passes the threshold before."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

EVALUATED = 1000
"""Fresh sequences on which the accuracy of a cell is measured."""

AT_CHANCE = 0.15
"""Up to this mean accuracy over the seeds a network counts as guessing one of ten digits."""


def _fixed(config: LSTMConfig) -> LSTMConfig:
    return replace(config, start_length=config.length, shortest=1.0)


NETWORKS: Mapping[str, tuple[str, Callable[[LSTMConfig], LSTMConfig]]] = MappingProxyType(
    {
        "fixed": ("LSTM, fixed length", _fixed),
        "growing": ("LSTM, growing length", lambda config: config),
        "chrono": ("LSTM, fixed length, chrono initialisation", lambda config: replace(_fixed(config), init="chrono")),
        "rnn": ("vanilla RNN, fixed length", lambda config: replace(_fixed(config), cell="rnn")),
    }
)
"""What is compared: its name in the figure, and how its settings follow from those of the preset `recall`."""


@dataclass(frozen=True)
class Cell:
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
        base = replace(PRESETS["recall"], length=self.length, seed=self.seed, threshold=0.99)
        config = NETWORKS[self.network][1](base)
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
        ConfigError: if an argument is not possible, or a cell in `out` has other settings.
        Interrupted: after SIGINT or SIGTERM, once the cells that run are saved.
    """
    _check_arguments(networks, sequences=sequences, seeds=len(seeds), jobs=1 if jobs is None else jobs)
    order = product(sorted(set(lengths)), seeds, dict.fromkeys(networks))
    cells = [Cell(network, length, seed) for length, seed, network in order]
    configs = [cell.config(sequences) for cell in cells]  # all are checked before the first one runs
    folder = Path(out) / "cells"
    if Path(out).exists() and not folder.is_dir():
        raise RunFolderError(f"{out}: exists and is not the folder of a curve; choose another --out")
    paths = [folder / cell.name for cell in cells]
    outcomes = [read_outcome(*one) for one in zip(paths, cells, configs, strict=True)]
    jobs = jobs or usable_cores()
    with (
        _noted_signals() as signals,
        ProgressBar("recall curve", 100, "%", visible=progress) as bar,
        ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start_worker) as pool,
    ):
        running: dict[Future[Outcome | None], int] = {}
        while not signals:
            ready, waiting = unfinished(cells, outcomes)
            if not ready:
                break
            idle = [number for number in ready if number not in running.values()]
            with _blocked_signals():  # for the workers that start here, until they can answer
                for number in idle[: jobs - len(running)]:
                    running[pool.submit(run_cell, paths[number], cells[number], configs[number])] = number
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
    if signals:
        raise Interrupted(f"{out}: stopped, the runs are saved; go on with the same command", signals[0])
    return [outcome for outcome in outcomes if outcome is not None]


def _check_arguments(networks: Sequence[str], **counts: int) -> None:
    for name in networks:
        if name not in NETWORKS:
            raise ConfigError(f"network: {name!r} is unknown; choose from {', '.join(NETWORKS)}")
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"{name}: {value} is not possible; give a whole number of at least 1")


def unfinished(cells: Sequence[Cell], outcomes: Sequence[Outcome | None]) -> tuple[list[int], list[int]]:
    """The numbers of the cells that may run now, the shortest first, and of those that wait for what shorter ones show.

    All others are finished, or given up: their network was at chance at two lengths in a row before theirs.
    """
    ready: list[int] = []
    waiting: list[int] = []
    for network in dict.fromkeys(cell.network for cell in cells):
        numbers = [number for number, cell in enumerate(cells) if cell.network == network]
        before: list[bool | None] = []  # whether it was at chance at each shorter length; None: not known yet
        for length in sorted({cells[number].length for number in numbers}):
            if before[-2:] == [True, True]:
                break
            here = [number for number in numbers if cells[number].length == length]
            missing = [number for number in here if outcomes[number] is None]
            is_safe = len(before) < 2 or False in before[-2:]
            (ready if is_safe else waiting).extend(missing)
            accuracies = [outcome.accuracy for outcome in (outcomes[number] for number in here) if outcome is not None]
            before.append(None if missing else mean(accuracies) <= AT_CHANCE)
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
    if folder.status != "finished" or folder.record["config"] != asdict(config) or "measured" not in folder.record:
        return None
    points = folder.read_metrics()
    if not points:
        return None
    return Outcome(
        **asdict(cell),
        accuracy=folder.record["measured"]["accuracy"],
        sequences=points[-1]["sequences"],
        reached=is_reached(config, points[-1]),
        seconds=folder.record["seconds"],
    )


def summarise(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row for each network and length: accuracy, and the sequences to 99 % of those seeds that got there."""
    rows = []
    for network, length in dict.fromkeys((outcome.network, outcome.length) for outcome in outcomes):
        cells = [outcome for outcome in outcomes if (outcome.network, outcome.length) == (network, length)]
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


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


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


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait while this lasts; for processes that are started meanwhile they go on waiting."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Give a list to which SIGINT and SIGTERM are added while this lasts."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.signal(number, lambda number, _: noted.append(number)) for number in SIGNALS}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
