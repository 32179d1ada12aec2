"""The trainings of `reviver lstm benchmark`: cells on tasks that need different abilities, each for seconds.

All networks are trained by one recipe. What differs between two cells is the learning rate, the best of `RATES` on seeds of its
own, and the number of units, with which a network has as many weights as that of the LSTM.
"""

import hashlib
import json
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from reviver.data.build import build_task
from reviver.data.generated import Numbers
from reviver.data.task import Sequences, Task
from reviver.recurrent.grammar import Cell, load_cell
from reviver.runs.checkpoint import find_checkpoint, load_networks
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import DEFINITIONS
from reviver.sweep.trials import Outcome, Trial
from reviver.train.lstm.curriculum import passes
from reviver.train.lstm.scoring import score
from reviver.train.lstm.training import build_network, train

RATES = (1e-3, 3e-3, 1e-2)
RATE_SEEDS = (1000, 1001, 1002)
"""Seeds of the trainings that choose the rate, see `choose_rates`; no result is measured on them."""
CONTENDER = 2.0
"""Updates of a rate on the first of these seeds, as a multiple of the fastest one's, with which it is tried on the others."""
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
ROWS: Mapping[str, Any] = MappingProxyType(
    {"encoding": "scalar", "curriculum": False, "data_size": 10_000, "train_fraction": 0.8768, "epochs": 7}
)
"""Settings of real data: 8768 images, read seven times, so as many updates."""


class Ability(NamedTuple):
    """A task, and what it needs."""

    task: str
    needs: str
    length: int
    start_length: int
    threshold: float  # validation accuracy that passes
    settings: Mapping[str, Any] = MappingProxyType({})  # those that differ from `RECIPE`


ABILITIES: Mapping[str, Ability] = MappingProxyType(
    {
        "hold": Ability("palindrome", "hold a digit", 30, 30, 0.95),
        "order": Ability("temporal-order", "tell the order of two events", 50, 50, 0.95),
        "add": Ability("adding", "store two numbers", 30, 30, 0.8, {"encoding": "scalar"}),
        "parity": Ability("parity", "flip a bit", 20, 2, 0.95),
        "modular": Ability("modular", "add modulo 5", 16, 2, 0.95),
        "permute": Ability("permutations", "track a state that depends on the order", 16, 2, 0.95),
        "count": Ability("counting", "count up and down", 30, 30, 0.95),
        "associate": Ability("associative-recall", "find a value by its key", 8, 8, 0.95),
        "nest": Ability("nesting", "track the depth of brackets", 20, 20, 0.95),
        "copy": Ability("copy", "repeat ten symbols", 2, 2, 0.3),
        "rows": Ability("row-mnist", "read digits row by row", 28, 28, 0.95, ROWS),
    }
)
QUICK = ("hold", "parity", "permute", "count")
"""Tasks of a quick benchmark."""
FULL_ONLY = ("nest", "copy", "rows")
"""Tasks of a full benchmark alone."""


NOT_PASSED = 1e6
"""Rank of a run that did not pass, before its score is taken off."""


class CellRun(NamedTuple):
    """The result of a training."""

    updates: int | None  # until it passed; None if it did not
    scores: tuple[float, ...]  # accuracy on fresh sequences, one for each of `TEST_FACTORS`

    @property
    def rank(self) -> float:
        """A number that is lower for a better run: one that passed earlier, or did not and has a higher score."""
        return NOT_PASSED - self.scores[0] if self.updates is None else float(self.updates)


def recipe_hash() -> str:
    """Return the hash of all that a record depends on, but for the text of its cell."""
    parts = [
        dict(RECIPE),
        {name: [*one[:-1], dict(one.settings)] for name, one in ABILITIES.items()},
        RATES,
        RATE_SEEDS,
        CONTENDER,
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
    task, _, length, start, threshold, own = ABILITIES[ability]
    settings = {**RECIPE, "task": task, "length": length, "start_length": start, "threshold": threshold, **own}
    return LSTMConfig(learning_rate=rate, seed=seed, cell=cell, hidden_size=units_of(cell, ability), **settings)


def run_trial(folder: Path, *, ability: str, cell: str, rate: float, seed: int) -> dict[str, Any]:
    """Train, and return what `CellRun` has: the function of its trial."""
    config, path = make_config(ability, cell, rate, seed), folder / "run"
    torch.set_flush_denormal(True)
    try:
        trained = train(config, path, device="cpu", resume=(path / "run.json").exists())
        task = build_task(config)
        network = build_network(config, task).eval()
        load_networks(find_checkpoint(trained.checkpoints, "last"), {"network": network})
        tests = make_tests(config, task)
        scores = [score(network, test, task.target).accuracy for test in tests]
    finally:
        torch.set_flush_denormal(False)
    rows = (
        {"length": config.length} | one for one in trained.read_metrics()
    )  # a length is noted with a curriculum only
    passed = [row["sequences"] for row in rows if row["length"] == config.length and passes(config, row)]
    shutil.rmtree(path)
    return {"updates": passed[0] // BATCH if passed else None, "scores": scores}


def make_tests(config: LSTMConfig, task: Task) -> list[Sequences]:
    """Return fresh sequences: as long as in training, and longer by `TEST_FACTORS`; images of one size are shifted instead.

    They are shifted by as many pixels to the right and down, the first ones by none.
    """
    if task.definition.lengths is None:
        return [task.evaluation(config.length * factor, TEST_SIZE)[0] for factor in TEST_FACTORS]
    images = task.evaluation(config.length, TEST_SIZE)[0]
    assert isinstance(images, Numbers), "images are sequences of numbers"
    return [replace(images, x=images.x.roll((k, k), (1, 2))) for k in range(len(TEST_FACTORS))]


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


def choose_rates(
    cells: Mapping[str, str], abilities: Sequence[str], run: Callable[[Sequence[Trial]], Mapping[str, Outcome]]
) -> dict[tuple[str, str], float]:
    """Return the best rate of each cell and ability; a pair of which every training failed has none.

    All rates are tried on the first of `RATE_SEEDS`, and those that pass nearly as fast as the fastest on the others, too. `run`
    returns the outcomes of trials.
    """
    trials = trials_of(cells, abilities, RATE_SEEDS[:1], lambda *_: RATES)
    outcomes = run(trials)
    close: dict[tuple[str, str], list[float]] = {}
    for pair, of_rates in _mean_ranks(trials, outcomes).items():
        limit = min(CONTENDER * min(of_rates.values()), NOT_PASSED / 2)
        close[pair] = [rate for rate, rank in of_rates.items() if rank <= limit]

    def contenders(cell: str, ability: str) -> Sequence[float]:
        found = close.get((cell, ability), [])
        return found if len(found) > 1 else []

    if more := trials_of(cells, abilities, RATE_SEEDS[1:], contenders):
        trials, outcomes = [*trials, *more], {**outcomes, **run(more)}
    means = _mean_ranks(trials, outcomes)
    return {pair: min(of_rates, key=of_rates.__getitem__) for pair, of_rates in means.items()}


def _mean_ranks(trials: Sequence[Trial], outcomes: Mapping[str, Outcome]) -> dict[tuple[str, str], dict[float, float]]:
    """Return the mean rank at each rate of which no training failed, by cell and ability."""
    ranks: dict[tuple[str, str], dict[float, float]] = {}
    for (cell, ability, rate), runs in results_of(trials, outcomes).items():
        done = [run.rank for run in runs if isinstance(run, CellRun)]
        if len(done) == len(runs):
            ranks.setdefault((cell, ability), {})[rate] = mean(done)
    return ranks
