"""The trainings of `reviver lstm benchmark`: cells on tasks that need different abilities, each for seconds.

All networks are trained by one recipe. What differs between two cells is the learning rate, the best of `RATES` on seeds of its
own, and the number of units, with which a network has as many weights as that of the LSTM.
"""

import hashlib
import json
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from reviver.data.build import build_task
from reviver.recurrent.grammar import Cell, load_cell
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import DEFINITIONS
from reviver.sweep.trials import Outcome, Trial
from reviver.train.lstm.curriculum import passes
from reviver.train.lstm.scoring import score
from reviver.train.lstm.training import build_network, train

RATES = (1e-3, 3e-3, 1e-2)
RATE_SEED = 1000
"""Seed of the trainings that choose the rate; no result is measured on it."""
SEEDS = range(6)
"""Seeds of a cell, the same for the records that are shipped: cells meet the same sequences."""
UNITS, BATCH, EPOCH_UPDATES, EPOCHS = 64, 32, 32, 60
"""Units of the LSTM, sequences of an update, updates between two validations, and validations at most."""
VALIDATION_SIZE, TEST_SIZE = 256, 1000
"""Sequences of a validation, and fresh ones of a test at each length."""
TEST_FACTORS = (1, 2, 5)
"""Lengths of the tests, as multiples of the one in training."""
RECIPE: Mapping[str, Any] = MappingProxyType(
    {
        "encoding": "onehot",
        "curriculum": True,  # if of one length, training ends when it passes
        "hidden_dropout": 0.0,
        "optimizer": "adam",
        "max_norm": 1.0,
        "batch_size": BATCH,
        "data_size": BATCH * EPOCH_UPDATES + VALIDATION_SIZE,
        "train_fraction": BATCH * EPOCH_UPDATES / (BATCH * EPOCH_UPDATES + VALIDATION_SIZE),
        "epochs": EPOCHS,
        "checkpoint_every": EPOCHS,
        "keep_checkpoints": 1,
    }
)
"""Settings of all trainings."""


class Ability(NamedTuple):
    """A task, and what it needs."""

    task: str
    needs: str
    length: int
    start_length: int
    threshold: float  # validation accuracy that passes
    encoding: str = "onehot"


ABILITIES: Mapping[str, Ability] = MappingProxyType(
    {
        "hold": Ability("palindrome", "hold a digit", 30, 30, 0.95),
        "order": Ability("temporal-order", "tell the order of two events", 50, 50, 0.95),
        "add": Ability("adding", "store two numbers", 30, 30, 0.8, "scalar"),
        "parity": Ability("parity", "flip a bit", 20, 2, 0.95),
        "modular": Ability("modular", "add modulo 5", 16, 2, 0.95),
        "permute": Ability("permutations", "track a state that depends on the order", 16, 2, 0.95),
        "count": Ability("counting", "count up and down", 30, 30, 0.95),
        "associate": Ability("associative-recall", "find a value by its key", 8, 8, 0.95),
    }
)
QUICK = ("hold", "parity", "permute", "count")
"""Tasks of a quick benchmark."""


class CellRun(NamedTuple):
    """The result of a training."""

    updates: int | None  # until it passed; None if it did not
    scores: tuple[float, ...]  # accuracy on fresh sequences, one for each of `TEST_FACTORS`

    @property
    def rank(self) -> float:
        """A number that is lower for a better run: one that passed earlier, or did not and has a higher score."""
        return 1e6 - self.scores[0] if self.updates is None else float(self.updates)


def recipe_hash() -> str:
    """Return the hash of all that a record depends on, but for the text of its cell."""
    parts = [
        dict(RECIPE),
        {name: list(one) for name, one in ABILITIES.items()},
        RATES,
        RATE_SEED,
        UNITS,
        TEST_SIZE,
        TEST_FACTORS,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def units_of(cell: str, ability: str) -> int:
    """Return the number of units with which a network has as many weights as that of the LSTM, as nearly as there is one."""
    definition = DEFINITIONS[ABILITIES[ability].task]
    inputs, classes = len(definition.symbols or definition.channels), len(definition.classes or ("a number",))

    def weights(one: Cell, units: int) -> int:
        return one.parameter_count(inputs, units) + (units + 1) * classes

    found, goal = load_cell(cell), weights(load_cell("lstm"), UNITS)
    last = bisect_right(range(goal), goal, key=lambda units: weights(found, units)) - 1  # with at most as many weights
    return min((max(last, 1), last + 1), key=lambda units: abs(weights(found, units) - goal))


def make_config(ability: str, cell: str, rate: float, seed: int) -> LSTMConfig:
    """Return the settings of a training."""
    task, _, length, start, threshold, encoding = ABILITIES[ability]
    settings = {**RECIPE, "task": task, "length": length, "start_length": start, "threshold": threshold}
    settings |= {"encoding": encoding, "cell": cell, "hidden_size": units_of(cell, ability)}
    return LSTMConfig(learning_rate=rate, seed=seed, **settings)


def run_trial(folder: Path, *, ability: str, cell: str, rate: float, seed: int) -> dict[str, Any]:
    """Train, and return what `CellRun` has: the function of its trial."""
    config, path = make_config(ability, cell, rate, seed), folder / "run"
    torch.set_flush_denormal(True)
    try:
        trained = train(config, path, device="cpu", resume=(path / "run.json").exists())
        task = build_task(config)
        network = build_network(config, task).eval()
        load_networks(find_checkpoint(trained.checkpoints, "last"), {"network": network})
        tests = [task.evaluation(config.length * factor, TEST_SIZE)[0] for factor in TEST_FACTORS]
        scores = [score(network, test, task.target).accuracy for test in tests]
    finally:
        torch.set_flush_denormal(False)
    metrics = trained.read_metrics()
    passed = [one["sequences"] for one in metrics if one["length"] == config.length and passes(config, one)]
    shutil.rmtree(path)
    return {"updates": passed[0] // BATCH if passed else None, "scores": scores}


def trials_of(
    cells: Mapping[str, str],
    abilities: Iterable[str],
    seeds: Iterable[int],
    rates: Callable[[str, str], Sequence[float]],
) -> list[Trial]:
    """Return the trials of cells, texts by their names, at the `rates` of each cell and ability."""
    return [
        Trial(
            run_trial,
            {"ability": ability, "cell": text, "rate": rate, "seed": seed},
            {"cell": name, "ability": ability, "rate": rate, "seed": seed},
        )
        for seed in seeds
        for ability in abilities
        for name, text in cells.items()
        for rate in rates(name, ability)
    ]


def results_of(
    trials: Sequence[Trial], outcomes: Mapping[str, Outcome]
) -> dict[tuple[str, str, float], list[CellRun | str]]:
    """Return the runs of each cell, ability and rate, or why one failed."""
    found: dict[tuple[str, str, float], list[CellRun | str]] = {}
    for trial in trials:
        outcome, axes = outcomes[trial.key], trial.axes
        run = (
            outcome.error or ""
            if outcome.result is None
            else CellRun(outcome.result["updates"], tuple(outcome.result["scores"]))
        )
        found.setdefault((axes["cell"], axes["ability"], axes["rate"]), []).append(run)
    return found


def best_rates(trials: Sequence[Trial], outcomes: Mapping[str, Outcome]) -> dict[tuple[str, str], float]:
    """Return the best rate of each cell and ability; a pair of which every training failed has none."""
    ranks: dict[tuple[str, str], dict[float, float]] = {}
    for (cell, ability, rate), runs in results_of(trials, outcomes).items():
        done = [run.rank for run in runs if isinstance(run, CellRun)]
        if len(done) == len(runs):
            ranks.setdefault((cell, ability), {})[rate] = mean(done)
    return {pair: min(of_rates, key=of_rates.__getitem__) for pair, of_rates in ranks.items()}
