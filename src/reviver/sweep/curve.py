"""The recall curve: accuracy of several networks over the sequence length, with the same number of training sequences.

Each run, for a network, a length T and a seed, is a cell of a sweep, and has a run folder `runs/NETWORK-T-seedN`. A network
at chance level at two consecutive lengths is not trained at longer ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch

from reviver.settings.lstm import LSTMConfig
from reviver.settings.lstm_presets import PRESETS
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


class CurveRun(NamedTuple):
    """A run of the curve: key of `NETWORKS`, length T of the palindromes, and seed."""

    network: str
    length: int
    seed: int

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return f"{self.network}-{self.length}-seed{self.seed}"

    def config(self, max_sequences: int) -> LSTMConfig:
        """Return the settings of the run, for at most `max_sequences` training sequences.

        Raises:
            ConfigError: if a setting is out of range.
        """
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
    """Results of a finished run of the curve.

    Attributes:
        network: key of `NETWORKS`.
        length: T of the palindromes.
        seed: seed of the run.
        accuracy: accuracy on fresh sequences of this length.
        sequences: number of training sequences.
        reached: whether the validation accuracy at this length reached 99 %, which ends the training.
        seconds: training time.
    """

    network: str
    length: int
    seed: int
    accuracy: float
    sequences: int
    reached: bool
    seconds: float


def run_cell(folder: Path, *, network: str, length: int, seed: int, sequences: int) -> dict[str, Any]:
    """Train a run of the curve, or continue it, and measure its accuracy, as a cell of a sweep.

    Args:
        folder: folder of the cell; the run folder is `runs/NETWORK-T-seedN` in the folder of the curve.
        network: key of `NETWORKS`.
        length: T of the palindromes.
        seed: seed of the run.
        sequences: maximum number of training sequences.

    Returns:
        The `Outcome`.

    Raises:
        Interrupted: after a signal, once the run is saved.
        ConfigError: if the run has other settings.
    """
    run = CurveRun(network, length, seed)
    config, path = run.config(sequences), folder.parents[1] / "runs" / run.name
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
    return Outcome(*run, accuracy, last["sequences"], reached, seconds)._asdict()


def pending_runs(runs: Sequence[CurveRun], outcomes: Mapping[CurveRun, Outcome]) -> list[CurveRun]:
    """Return the runs that may start now, given the outcomes of the finished ones.

    A run does not start if its network was at chance level at two consecutive shorter lengths, or may prove to be.

    Args:
        runs: all runs of the curve.
        outcomes: outcomes of the finished runs.
    """
    ready: set[CurveRun] = set()
    for _, of_network in groupby(sorted(runs), lambda run: run.network):
        at_chance: list[bool | None] = []  # for each shorter length; None if some of its runs are not finished
        for _, of_length in groupby(of_network, lambda run: run.length):
            same = list(of_length)
            if len(at_chance) < 2 or False in at_chance[-2:]:
                ready.update(same)
            found = [outcomes[run].accuracy for run in same if run in outcomes]
            at_chance.append(mean(found) <= MAX_CHANCE_ACCURACY if len(found) == len(same) else None)
            if at_chance[-2:] == [True, True]:
                break
    return [run for run in runs if run in ready and run not in outcomes]


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
