"""The recall curve: accuracy of several networks over the sequence length, with the same number of training sequences.

Each run of the curve, for a network, a length T and a seed, is a cell of a sweep, and has a run folder
`runs/NETWORK-T-seedN`. Runs train in parallel, one per core. The same command resumes a curve: it skips finished runs and
continues interrupted ones. A network at chance level at two consecutive lengths is not trained at longer ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby, product
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal, NamedTuple

import torch

from reviver.config import Count
from reviver.errors import ReviverError, RunFolderError
from reviver.lstm.config import LSTMConfig
from reviver.lstm.evaluation import evaluate
from reviver.lstm.presets import PRESETS
from reviver.lstm.run import load_lstm
from reviver.lstm.stopping import completes_curriculum
from reviver.lstm.training import train
from reviver.runs.folder import RunFolder
from reviver.sweep.cell import Cell
from reviver.sweep.cell import Outcome as CellOutcome
from reviver.sweep.driver import run_cells
from reviver.sweep.execute import check_not_training
from reviver.sweep.pool import Pool
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
"""Networks to compare: the label in the figure, and the settings that differ from those of the preset `recall`, without its
jumps."""


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
            "jump_factor": None,  # every network is compared after training at its own length
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
        progress: show progress.

    Returns:
        The outcomes of all finished runs, by length, seed and network.

    Raises:
        ConfigError: if an argument is out of range, or a run in `out` has other settings.
        RunFolderError: if `out` exists and is not the folder of a curve.
        Interrupted: after SIGINT or SIGTERM, once the active runs are saved.
        ReviverError: if a run failed; the others are finished.
    """
    for name in networks:
        check("network", name, Literal[tuple(NETWORKS)])
    check("sequences", sequences, Count)
    check("seeds", len(seeds), Count)
    check("jobs", jobs, Count | None)
    order = product(sorted(set(lengths)), seeds, dict.fromkeys(networks))
    runs = [CurveRun(network, length, seed) for length, seed, network in order]
    cells = [curve_cell(run, sequences) for run in runs]  # checks all of them before the first run starts
    folder = Path(out)
    if folder.exists() and not (folder / "runs").is_dir():
        raise RunFolderError(f"{out}: exists and is not the folder of a curve; choose another --out")

    def select(found: Mapping[str, CellOutcome]) -> tuple[list[Cell], list[Cell]]:
        ready, waiting = pending_runs(runs, [_to_outcome(found.get(cell.key)) for cell in cells])
        return [cells[index] for index in ready if cells[index].key not in found], [cells[index] for index in waiting]

    found = run_cells(
        folder,
        cells,
        Pool(folder, jobs, threads=1),
        select=select,
        retry_failed=True,
        title="recall curve",
        progress=progress,
    )
    for run, cell in zip(runs, cells, strict=True):
        if cell.key in found and (error := found[cell.key].error) is not None:
            raise ReviverError(f"{out}: the run {run.name} failed: {error}")
    outcomes = [_to_outcome(found.get(cell.key)) for cell in cells]
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


def curve_cell(run: CurveRun, sequences: int) -> Cell:
    """Return the cell of a sweep that trains and evaluates a run with at most `sequences` training sequences.

    Raises:
        ConfigError: if a setting of the run is out of range.
    """
    run.config(sequences)
    # The time of a run is about proportional to its length.
    return Cell(
        "reviver.lstm.curve:run_cell", {**run._asdict(), "sequences": sequences}, run._asdict(), weight=run.length
    )


def run_cell(folder: Path, *, network: str, length: int, seed: int, sequences: int) -> dict[str, Any]:
    """Train and evaluate a run of the curve, in a process of the sweep.

    Args:
        folder: folder of the cell; the run folder is `runs/NETWORK-T-seedN` in the folder of the curve.
        network: key of `NETWORKS`.
        length: T of the palindromes.
        seed: seed of the run.
        sequences: maximum number of training sequences.

    Returns:
        The outcome.
    """
    run = CurveRun(network, length, seed)
    path = folder.parents[1] / "runs" / run.name
    check_not_training(path)
    torch.set_flush_denormal(True)  # gradients of a vanilla RNN vanish into denormal numbers, which are slow
    try:
        return train_and_evaluate(path, run, run.config(sequences))._asdict()
    finally:
        torch.set_flush_denormal(False)


def train_and_evaluate(path: Path, run: CurveRun, config: LSTMConfig) -> Outcome:
    """Train a run, or continue it, and measure its accuracy, unless that is done.

    Raises:
        Interrupted: after a signal, once the run is saved.
        ConfigError: if the run at `path` has other settings.
    """
    if (outcome := read_outcome(path, run, config)) is not None:
        return outcome
    folder = train(config, path, device="cpu", resume=(path / "run.json").exists())
    loaded = load_lstm(folder)
    accuracy = evaluate(loaded.network, loaded.task, run.length, EVALUATION_SIZE).score.accuracy
    folder.save_record(measured={"sequences": EVALUATION_SIZE, "accuracy": accuracy})
    outcome = read_outcome(path, run, config)
    assert outcome is not None
    return outcome


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


def _to_outcome(outcome: CellOutcome | None) -> Outcome | None:
    """Return the outcome of a run, given that of its cell; None if it is not finished, or failed."""
    return Outcome(**outcome.result) if outcome is not None and outcome.result is not None else None
