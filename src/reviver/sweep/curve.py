"""The recall curve: accuracy of several networks over the sequence length, with the same number of training sequences.

It is a sweep over networks, lengths T and seeds, whose run folders are `runs/NETWORK-T-seedN`. A network at chance level
at two consecutive lengths is not trained at longer ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_presets import PRESETS
from reviver.sweep.cells import Cell, Outcome
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
    """Train a run of the curve, or continue it, and return its results: the function of its cell.

    These are the `accuracy` on fresh sequences, the number of training `sequences`, whether the validation accuracy
    `reached` 99 %, which ends the training, and the `seconds` of training.

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
    return {
        "accuracy": accuracy,
        "sequences": last["sequences"],
        "reached": completes_curriculum(config, last),
        "seconds": trained.record["seconds"],
    }


def pending(cells: Sequence[Cell], found: Mapping[str, Outcome]) -> list[Cell]:
    """Return the cells that may start now, given the outcomes of the finished ones by key.

    A run does not start if its network was at chance level at two consecutive shorter lengths, or may prove to be.
    """
    at_chance: dict[str, list[bool | None]] = {}  # at each length of a network; None if it is not finished
    ready = set()
    for (network, length), results in _group(cells, found).items():
        before = at_chance.setdefault(network, [])
        if before[-2:] == [True, True]:
            continue
        if len(before) < 2 or False in before[-2:]:
            ready.add((network, length))
        accuracies = [result["accuracy"] for result in results if result is not None]
        before.append(mean(accuracies) <= MAX_CHANCE_ACCURACY if len(accuracies) == len(results) else None)
    return [cell for cell in cells if _place(cell) in ready and cell.key not in found]


def summarize(cells: Sequence[Cell], found: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """Return mean and standard deviation over the seeds for each network and length.

    A row has the accuracy, the training sequences to 99 % of the seeds that reached it, their number, and the training
    time. The standard deviations are those of a sample (n - 1), None of a single one.
    """
    rows = []
    for (network, length), results in _group(cells, found).items():
        if not (done := [result for result in results if result is not None]):
            continue
        accuracies = [result["accuracy"] for result in done]
        needed = [result["sequences"] for result in done if result["reached"]]
        row = {
            "network": network,
            "length": length,
            "seeds": len(done),
            "accuracy_mean": mean(accuracies),
            "accuracy_std": stdev(accuracies) if len(done) > 1 else None,
            "reached": len(needed),
            "sequences_mean": mean(needed) if needed else None,
            "sequences_std": stdev(needed) if len(needed) > 1 else None,
            "seconds_mean": mean(result["seconds"] for result in done),
        }
        rows.append(row)
    return rows


def _group(cells: Iterable[Cell], found: Mapping[str, Outcome]) -> dict[tuple[str, int], list[dict[str, Any] | None]]:
    """Return the results of each network and length, the shortest first; None for a cell without a result."""
    groups: dict[tuple[str, int], list[dict[str, Any] | None]] = {}
    for cell in sorted(cells, key=lambda cell: cell.axes["length"]):
        groups.setdefault(_place(cell), []).append(found[cell.key].result if cell.key in found else None)
    return groups


def _place(cell: Cell) -> tuple[str, int]:
    return cell.axes["network"], cell.axes["length"]
