"""The recall curve: accuracy of networks over the sequence length, each after at most the same number of training sequences.

It is a sweep over networks, lengths T and seeds, whose run folders are `runs/NETWORK-T-seedN`. With a curriculum, a network
trains up to the longest T once and is evaluated at all; at a fixed length, it trains at each. Such a run ends early if it is at
chance level after a quarter of its sequences, and longer T are left out after two at chance level in a row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from reviver.data.build import build_task
from reviver.files.read import read_json
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_network import CELLS as BUILT_IN
from reviver.settings.presets import LSTM_PRESETS
from reviver.sweep.trials import Outcome, Trial
from reviver.train.lstm.curriculum import passes
from reviver.train.lstm.evaluation import evaluate
from reviver.train.lstm.training import build_network, train

LENGTHS = (10, 20, 50, 100, 200, 500, 1000)
"""Default lengths T of the palindromes."""
EVALUATION_SIZE = 1000
"""Number of fresh sequences on which the accuracy of a run is measured."""
MAX_CHANCE_ACCURACY = 0.15
"""Maximum accuracy, as a mean over the seeds or in the validations of a run, that counts as chance level, which is 0.1."""


class CurveNetwork(NamedTuple):
    """A network of the curve and how it is trained, all in the words of the settings."""

    cell: str
    encoding: str
    training: str


USUAL_CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "vanilla RNN"}
"""Cells that are compared by default, with their names in the figure."""
CELLS = USUAL_CELLS | {name: name for name in BUILT_IN if name not in USUAL_CELLS}
"""All built-in cells, with their names in the figure."""
ENCODINGS = {"onehot": "recall", "scalar": "recall-scalar"}
"""Encodings of the digits, with the preset whose settings are common to all networks with it, but for its jumps."""
TRAININGS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "curriculum": ("length curriculum", {}),
    "fixed": ("fixed length", {}),
    "no-dropout": ("length curriculum, no dropout", {"hidden_dropout": 0.0}),
}
"""Ways to train, with their names in the figure and the settings that differ from those of the preset."""


def networks_of(cells: Iterable[str]) -> list[str]:
    """Return the names of all networks of cells."""
    return [
        "-".join(names)
        for names in product(cells, ENCODINGS, TRAININGS)
        if names[1:] != ("onehot", "no-dropout")  # one-hot digits are held with dropout
    ]


def network_of(name: str) -> CurveNetwork:
    """Return the network of a name."""
    cell, encoding, training = name.rsplit("-", maxsplit=3 if name.endswith("-no-dropout") else 2)[:3]
    return CurveNetwork(cell, encoding, "no-dropout" if training == "no" else training)


def build_trials(
    lengths: Iterable[int],
    networks: Iterable[str],
    num_seeds: int,
    sequences: int,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> list[Trial]:
    """Return the trials of a curve, the shortest length first, for at most `sequences` training sequences per run.

    `texts` has those of the cells that are not built in.
    """
    trials, all_lengths = [], sorted(set(lengths))
    for seed, name in product(range(num_seeds), dict.fromkeys(networks)):
        cell, _, training = network_of(name)
        own: dict[str, Any] = {"text": texts[cell]} if cell in texts else {}
        is_fixed = training == "fixed"
        for length in all_lengths if is_fixed else all_lengths[-1:]:
            axes: dict[str, Any] = {"network": name, "length": length, "seed": seed}
            make_config(**axes, **own, sequences=sequences)  # checks all settings before the first run starts
            arguments = {**axes, **own, "sequences": sequences, "lengths": [length] if is_fixed else all_lengths}
            trials.append(Trial(run_trial, arguments, axes))
    return trials


def make_config(*, network: str, length: int, seed: int, sequences: int, text: str | None = None) -> LSTMConfig:
    """Return the settings of a run, for at most `sequences` training sequences; out of range they are a ConfigError.

    `text` is that of a cell that is not built in.
    """
    cell, encoding, training = network_of(network)
    # Also a fixed length is a curriculum, of one length: training ends when it reaches the threshold.
    settings: dict[str, Any] = {"start_length": length, "min_length_fraction": 1.0} if training == "fixed" else {}
    # No jumps: every network is compared after training at its own length.
    settings |= {"threshold": 0.99, "last_threshold": None, "jump_factor": None, **TRAININGS[training][1]}
    config = replace(LSTM_PRESETS[ENCODINGS[encoding]], cell=text or cell, length=length, seed=seed, **settings)
    return replace(config, epochs=max(1, sequences // config.epoch_size_at(length)))


def run_name(network: str, length: int, seed: int) -> str:
    """Return the name of a run folder."""
    return f"{network}-{length}-seed{seed}"


def run_trial(
    folder: Path,
    *,
    network: str,
    length: int,
    seed: int,
    sequences: int,
    lengths: Sequence[int],
    text: str | None = None,
) -> dict[str, Any]:
    """Train a run of the curve, or continue it, and return its results: the function of its trial.

    For each of `lengths` these are the `accuracies` on fresh sequences and the number of training `sequences` after which it
    passed 99 % in validation (None if it did not); besides, the `longest` length that passed (0 if none) and the `seconds`.
    """
    config = make_config(network=network, length=length, seed=seed, sequences=sequences, text=text)
    path = folder.parents[1] / "runs" / run_name(network, length, seed)
    torch.set_flush_denormal(True)  # gradients of a vanilla RNN vanish into denormal numbers, which are slow
    try:
        first = replace(config, epochs=-(-config.epochs // 4))
        for part in (first, config):
            is_old = (path / "run.json").exists()
            if part is first and is_old and read_json(path / "run.json")["config"]["epochs"] > part.epochs:
                continue
            trained = train(part, path, device="cpu", resume=is_old)
            metrics = trained.read_metrics()
            if max(record["validation_accuracy"] for record in metrics) <= MAX_CHANCE_ACCURACY:
                break
        task = build_task(config)
        model = build_network(config, task).eval()
        load_networks(find_checkpoint(trained.checkpoints, "last"), {"network": model})
        accuracies = [evaluate(model, task, T, EVALUATION_SIZE).score.accuracy for T in lengths]
    finally:
        torch.set_flush_denormal(False)
    trained.save_record(measured={"sequences": EVALUATION_SIZE, "accuracy": accuracies[-1]})
    passed = {record["length"]: record["sequences"] for record in reversed(metrics) if passes(config, record)}
    return {
        "accuracies": accuracies,
        "sequences": [min((n for long, n in passed.items() if long >= T), default=None) for T in lengths],
        "longest": max(passed, default=0),
        "seconds": trained.record["seconds"],
    }


def ready_trials(trials: Sequence[Trial], found: Mapping[str, Outcome]) -> list[Trial]:
    """Return the trials that may start: none whose network was at chance at two shorter lengths in a row, or may prove to be."""
    groups: dict[tuple[str, int], list[float | None]] = {}
    for trial in sorted(trials, key=lambda trial: trial.axes["length"]):
        result = found[trial.key].result if trial.key in found else None
        groups.setdefault(_place(trial), []).append(result["accuracies"][-1] if result else None)
    at_chance: dict[str, list[bool | None]] = {}  # at each length of a network; None if it is not finished
    ready = set()
    for (network, length), results in groups.items():
        before = at_chance.setdefault(network, [])
        if before[-2:] == [True, True]:
            continue
        if len(before) < 2 or False in before[-2:]:
            ready.add((network, length))
        accuracies = [accuracy for accuracy in results if accuracy is not None]
        before.append(mean(accuracies) <= MAX_CHANCE_ACCURACY if len(accuracies) == len(results) else None)
    return [trial for trial in trials if _place(trial) in ready and trial.key not in found]


def rows_of_curve(trials: Sequence[Trial], found: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """Return the results over the seeds for each network and length.

    `sequences` are training sequences to 99 % of the runs that passed this length, `seconds` those of the whole run.
    """
    runs: dict[tuple[str, int], list[tuple[float, int | None, dict[str, Any]]]] = {}
    for trial in trials:
        if trial.key in found and (result := found[trial.key].result) is not None:
            for length, *values in zip(
                trial.arguments["lengths"], result["accuracies"], result["sequences"], strict=True
            ):
                runs.setdefault((trial.axes["network"], length), []).append((*values, result))
    rows, order = [], [*dict.fromkeys([*networks_of(CELLS), *(network for network, _ in runs)])]
    for network, length in sorted(runs, key=lambda place: (order.index(place[0]), place[1])):
        accuracies, needed, results = zip(*runs[network, length], strict=True)
        sequences = [number for number in needed if number is not None]
        row = {"network": network, "length": length, "seeds": len(accuracies), "accuracies": [*accuracies]}
        row |= {"longest": [result["longest"] for result in results], "accuracy_mean": mean(accuracies)}
        row |= {"accuracy_std": stdev(accuracies) if len(accuracies) > 1 else None, "reached": len(sequences)}
        row["sequences_mean"] = mean(sequences) if sequences else None
        row["sequences_std"] = stdev(sequences) if len(sequences) > 1 else None
        rows.append(row | {"seconds_mean": mean(result["seconds"] for result in results)})
    return rows


def _place(trial: Trial) -> tuple[str, int]:
    return trial.axes["network"], trial.axes["length"]
