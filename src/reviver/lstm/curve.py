"""The recall curve: accuracy of several networks over the sequence length, with the same number of training sequences.

Each run of the curve, for a network, a length T and a seed, is a run folder `runs/NETWORK-T-seedN`. Runs train in
parallel, one per core. The same command resumes a curve: it skips finished runs and continues interrupted ones. A
network at chance level at two consecutive lengths is not trained at longer ones.
"""

import logging
import multiprocessing
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
from reviver.lstm.stopping import completes_curriculum
from reviver.lstm.training import train
from reviver.runs.folder import RunFolder
from reviver.runs.progress import ProgressBar
from reviver.runs.signals import handling_signals
from reviver.system import blocking_stop_signals, detach_from_terminal, unblock_termination, usable_cores
from reviver.validation import check

LENGTHS = (5, 10, 20, 30, 50, 100, 200, 500, 1000)
"""Default lengths T of the palindromes."""

SEQUENCES = 64_000
"""Default maximum number of training sequences per run."""

EVALUATION_SIZE = 1000
"""Number of fresh sequences on which the accuracy of a run is measured."""

MAX_CHANCE_ACCURACY = 0.15
"""Maximum mean accuracy over the seeds at which a network counts as at chance level, which is 0.1."""

NETWORKS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "fixed": ("LSTM, fixed length", {}),
    "curriculum": ("LSTM, length curriculum", {}),
    "chrono": ("LSTM, fixed length, chrono initialization", {"init": "chrono"}),
    "rnn": ("vanilla RNN, fixed length", {"cell": "rnn"}),
}
"""Networks to compare: the label in the figure, and the settings that differ from those of the preset `recall`."""


class CurveRun(NamedTuple):
    """A run of the curve."""

    network: str
    """Key of `NETWORKS`."""
    length: int
    """T of the palindromes."""
    seed: int
    """Seed of the run."""

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return f"{self.network}-{self.length}-seed{self.seed}"

    def config(self, max_sequences: int) -> LSTMConfig:
        """Return the settings of the run, for at most `max_sequences` training sequences."""
        # Also a fixed length is a curriculum, of one length: training ends when it reaches the threshold.
        one_length = {"start_length": self.length, "min_length_fraction": 1.0}
        changes = {
            "length": self.length,
            "seed": self.seed,
            "threshold": 0.99,
            **({} if self.network == "curriculum" else one_length),
            **NETWORKS[self.network][1],
        }
        config = replace(PRESETS["recall"], **changes)
        return replace(config, epochs=max(1, max_sequences // config.epoch_size_at(self.length)))


class Outcome(NamedTuple):
    """Results of a finished run of the curve."""

    network: str
    """Key of `NETWORKS`."""
    length: int
    """T of the palindromes."""
    seed: int
    """Seed of the run."""
    accuracy: float
    """Accuracy on fresh sequences of this length."""
    sequences: int
    """Number of training sequences."""
    reached: bool
    """Whether the validation accuracy at this length reached 99 %, which ends the training."""
    seconds: float
    """Training time."""


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
    """Train all runs of a curve that are not finished.

    Args:
        out: folder of the curve.
        lengths: lengths T of the palindromes.
        seeds: seeds per network and length.
        networks: keys of `NETWORKS`.
        sequences: maximum number of training sequences per run.
        jobs: number of parallel runs; the number of cores if None.
        progress: show a progress bar.

    Returns:
        The outcomes of all finished runs, by length, seed and network.

    Raises:
        ConfigError: if an argument is out of range, or a run in `out` has other settings.
        RunFolderError: if `out` exists and is not the folder of a curve.
        Interrupted: after SIGINT or SIGTERM, once the active runs are saved.
    """
    for name in networks:
        check("network", name, Literal[tuple(NETWORKS)])
    check("sequences", sequences, Count)
    check("seeds", len(seeds), Count)
    check("jobs", jobs, Count | None)
    order = product(sorted(set(lengths)), seeds, dict.fromkeys(networks))
    runs = [CurveRun(network, length, seed) for length, seed, network in order]
    configs = [run.config(sequences) for run in runs]  # checks all of them before the first run starts
    folder = Path(out) / "runs"
    if Path(out).exists() and not folder.is_dir():
        raise RunFolderError(f"{out}: exists and is not the folder of a curve; choose another --out")
    paths = [folder / run.name for run in runs]
    outcomes = [read_outcome(path, run, config) for path, run, config in zip(paths, runs, configs, strict=True)]
    jobs = jobs or usable_cores()
    signals: list[int] = []
    with (
        handling_signals(lambda number, _: signals.append(number)),
        ProgressBar("recall curve", 100, "%", visible=progress) as bar,
        ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start_worker) as pool,
    ):
        active: dict[Future[Outcome | None], int] = {}
        while not signals:
            ready, waiting = pending_runs(runs, outcomes)
            if not ready:
                break
            startable = [index for index in ready if index not in active.values()]
            # Block signals in this process, and in workers that start here until they have installed their handler.
            with blocking_stop_signals():
                for index in startable[: jobs - len(active)]:
                    active[pool.submit(train_and_evaluate, paths[index], runs[index], configs[index])] = index
            done, _ = wait(active, timeout=0.25, return_when=FIRST_COMPLETED)
            for future in done:
                index = active.pop(future)
                outcomes[index] = None if signals and future.exception() else future.result()
                if outcomes[index] is None and not signals:
                    signals.append(signal.SIGTERM)  # another process has stopped the worker
            finished = [outcome.length for outcome in outcomes if outcome is not None]
            remaining = [runs[index].length for index in ready + waiting if outcomes[index] is None]
            # The time of a run is about proportional to its length.
            fraction = sum(finished) / sum(finished + remaining)
            bar.update(100 * fraction, f"{len(finished)} runs, {len(remaining)} to go")
        if signals:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise Interrupted(f"{out}: stopped, the runs are saved; go on with the same command", signals[0])
    return [outcome for outcome in outcomes if outcome is not None]


def pending_runs(runs: Sequence[CurveRun], outcomes: Sequence[Outcome | None]) -> tuple[list[int], list[int]]:
    """Return the indices of the runs that may start now, and of those that depend on the results of shorter lengths.

    The other runs are finished, or skipped because their network was at chance level at two consecutive shorter
    lengths.

    Args:
        runs: all runs of the curve.
        outcomes: outcome of each run; None if it is not finished.
    """
    ready: list[int] = []
    waiting: list[int] = []
    order = sorted(range(len(runs)), key=runs.__getitem__)
    for _, of_network in groupby(order, lambda index: runs[index].network):
        at_chance: list[bool | None] = []  # for each shorter length; None if some of its runs are not finished
        for _, of_length in groupby(of_network, lambda index: runs[index].length):
            if at_chance[-2:] == [True, True]:
                break
            found = {index: outcomes[index] for index in of_length}
            accuracies = [outcome.accuracy for outcome in found.values() if outcome is not None]
            (ready if len(at_chance) < 2 or False in at_chance[-2:] else waiting).extend(
                index for index, outcome in found.items() if outcome is None
            )
            at_chance.append(None if None in found.values() else mean(accuracies) <= MAX_CHANCE_ACCURACY)
    return sorted(ready), sorted(waiting)


def train_and_evaluate(path: Path, run: CurveRun, config: LSTMConfig) -> Outcome | None:
    """Train a run, or continue it, and measure its accuracy.

    Returns:
        The outcome, or None if a signal has stopped this worker.
    """
    if _stop_signals:
        return None
    try:
        folder = train(config, path, device="cpu", resume=(path / "run.json").exists())
    except Interrupted:
        _stop_signals.append(signal.SIGTERM)  # the queue of this worker may already have the next run
        return None
    loaded = load_lstm(folder)
    accuracy = evaluate(loaded.network, loaded.task, run.length, EVALUATION_SIZE).score.accuracy
    folder.save_record(measured={"sequences": EVALUATION_SIZE, "accuracy": accuracy})
    return read_outcome(path, run, config)


_stop_signals: list[int] = []
"""Signals that have asked this worker to stop."""


def read_outcome(path: Path, run: CurveRun, config: LSTMConfig) -> Outcome | None:
    """Return the outcome of a run, or None if it is not finished or has other settings than `config`."""
    if not (path / "run.json").exists():
        return None
    folder = RunFolder.open(path, "lstm")
    record = folder.record
    is_finished = folder.status == "finished" and record["config"] == asdict(config) and "measured" in record
    metrics = folder.read_metrics() if is_finished else []
    if not metrics:
        return None
    return Outcome(
        network=run.network,
        length=run.length,
        seed=run.seed,
        accuracy=record["measured"]["accuracy"],
        sequences=metrics[-1]["sequences"],
        reached=completes_curriculum(config, metrics[-1]),
        seconds=record["seconds"],
    )


def summarise(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return mean and standard deviation over the seeds for each network and length.

    A row has the accuracy, the training sequences to 99 % of the seeds that reached it, their number, and the training
    time. The standard deviations are those of a sample (n - 1).
    """
    rows = []
    for network, length in dict.fromkeys(outcome[:2] for outcome in outcomes):
        seeds = [outcome for outcome in outcomes if outcome[:2] == (network, length)]
        accuracies = [outcome.accuracy for outcome in seeds]
        needed = [outcome.sequences for outcome in seeds if outcome.reached]
        rows.append(
            {
                "network": network,
                "length": length,
                "seeds": len(seeds),
                "accuracy_mean": mean(accuracies),
                "accuracy_std": stdev(accuracies) if len(seeds) > 1 else 0.0,
                "reached": len(needed),
                "sequences_mean": mean(needed) if needed else None,
                "sequences_std": stdev(needed) if len(needed) > 1 else None,
                "seconds_mean": mean(outcome.seconds for outcome in seeds),
            }
        )
    return rows


def _start_worker() -> None:
    """Use one core, and stop only on SIGTERM from the parent.

    SIGTERM must not kill a worker that waits for its next run: it would die with the lock of the queue that the others
    read, and they would wait forever.
    """
    detach_from_terminal()
    signal.signal(signal.SIGTERM, lambda number, _: _stop_signals.append(number))
    unblock_termination()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # gradients of a vanilla RNN vanish into denormal numbers, which are slow
    logging.getLogger("reviver").setLevel(logging.WARNING)
