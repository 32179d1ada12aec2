"""The recall curve: accuracy of several networks over the sequence length, with the same number of training sequences.

It is a sweep over networks, lengths T and seeds, whose run folders are `runs/NETWORK-T-seedN`. A network at chance level
at two consecutive lengths is not trained at longer ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch

from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_presets import PRESETS
from reviver.sweep import cell as sweep_cell
from reviver.sweep.cell import Cell
from reviver.train.lstm.evaluation import evaluate
from reviver.train.lstm.run import load_lstm
from reviver.train.lstm.stopping import completes_curriculum
from reviver.train.lstm.training import train

LENGTHS = (5, 10, 20, 30, 50, 100, 200, 500, 1000)
"""Default lengths T of the palindromes."""
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


class Outcome(NamedTuple):
    """Results of a finished run of the curve."""

    network: str
    """Key of `NETWORKS`."""
    length: int
    """T of the palindromes."""
    seed: int
    accuracy: float
    """Accuracy on fresh sequences of this length."""
    sequences: int
    """Number of training sequences."""
    reached: bool
    """Whether the validation accuracy at this length reached 99 %, which ends the training."""
    seconds: float
    """Training time."""


def make_cells(lengths: Iterable[int], networks: Iterable[str], num_seeds: int, sequences: int) -> list[Cell]:
    """Return the cells of a curve, the shortest length first, for at most `sequences` training sequences per run.

    Raises:
        ConfigError: if a setting is out of range.
    """
    cells = []
    for length, seed, network in product(sorted(set(lengths)), range(num_seeds), dict.fromkeys(networks)):
        axes = {"network": network, "length": length, "seed": seed}
        make_config(**axes, sequences=sequences)  # checks all settings before the first run starts
        cells.append(Cell(f"{__name__}:{run_cell.__name__}", {**axes, "sequences": sequences}, axes))
    return cells


def make_config(*, network: str, length: int, seed: int, sequences: int) -> LSTMConfig:
    """Return the settings of a run, for at most `sequences` training sequences.

    Raises:
        ConfigError: if a setting is out of range.
    """
    # Also a fixed length is a curriculum, of one length: training ends when it reaches the threshold.
    one_length = {} if network == "curriculum" else {"start_length": length, "min_length_fraction": 1.0}
    # No jumps: every network is compared after training at its own length.
    changes = {"length": length, "seed": seed, "threshold": 0.99, "jump_factor": None, **one_length}
    config = replace(PRESETS["recall"], **changes | NETWORKS[network][1])
    return replace(config, epochs=max(1, sequences // config.epoch_size_at(length)))


def run_name(network: str, length: int, seed: int) -> str:
    """Return the name of a run folder."""
    return f"{network}-{length}-seed{seed}"


def run_cell(folder: Path, *, network: str, length: int, seed: int, sequences: int) -> dict[str, Any]:
    """Train a run of the curve, or continue it, and return its `Outcome`: the function of its cell.

    Raises:
        Interrupted: after a signal, once the run is saved.
        ConfigError: if the run has other settings.
    """
    config = make_config(network=network, length=length, seed=seed, sequences=sequences)
    path = folder.parents[1] / "runs" / run_name(network, length, seed)
    torch.set_flush_denormal(True)  # gradients of a vanilla RNN vanish into denormal numbers, which are slow
    try:
        trained = train(config, path, device="cpu", resume=(path / "run.json").exists())
        loaded = load_lstm(trained)
        accuracy = evaluate(loaded.network, loaded.task, length, EVALUATION_SIZE).score.accuracy
    finally:
        torch.set_flush_denormal(False)
    trained.save_record(measured={"sequences": EVALUATION_SIZE, "accuracy": accuracy})
    last = trained.read_metrics()[-1]
    reached, seconds = completes_curriculum(config, last), trained.record["seconds"]
    return Outcome(network, length, seed, accuracy, last["sequences"], reached, seconds)._asdict()


def results(cells: Sequence[Cell], found: Mapping[str, sweep_cell.Outcome]) -> list[Outcome]:
    """Return the outcomes of the cells that are done."""
    done = [found[cell.key].result for cell in cells if cell.key in found]
    return [Outcome(**result) for result in done if result is not None]


def pending(cells: Sequence[Cell], found: Mapping[str, sweep_cell.Outcome]) -> list[Cell]:
    """Return the cells that may start now, given the outcomes of the finished ones by key.

    A run does not start if its network was at chance level at two consecutive shorter lengths, or may prove to be.
    """
    accuracies = {outcome[:3]: outcome.accuracy for outcome in results(cells, found)}
    at_chance: dict[str, list[bool | None]] = {}  # of each length of a network; None if it is not finished
    ready = set()
    runs = sorted((*cell.axes.values(),) for cell in cells)
    for network, length in dict.fromkeys(run[:2] for run in runs):
        same = [run for run in runs if run[:2] == (network, length)]
        before = at_chance.setdefault(network, [])
        if before[-2:] == [True, True]:
            continue
        if len(before) < 2 or False in before[-2:]:
            ready.update(same)
        measured = [accuracies[run] for run in same if run in accuracies]
        before.append(mean(measured) <= MAX_CHANCE_ACCURACY if len(measured) == len(same) else None)
    return [cell for cell in cells if (*cell.axes.values(),) in ready and cell.key not in found]


def summarize(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return mean and standard deviation over the seeds for each network and length.

    A row has the accuracy, the training sequences to 99 % of the seeds that reached it, their number, and the training
    time. The standard deviations are those of a sample (n - 1).
    """
    rows = []
    for network, length in dict.fromkeys(outcome[:2] for outcome in outcomes):
        seeds = [outcome for outcome in outcomes if outcome[:2] == (network, length)]
        accuracies = [outcome.accuracy for outcome in seeds]
        needed = [outcome.sequences for outcome in seeds if outcome.reached]
        row = {
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
        rows.append(row)
    return rows
