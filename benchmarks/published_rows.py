"""Rows of papers on recurrent networks, measured again: the ones that say what a cell can learn at all.

    python -m benchmarks published_rows

Five seeds of each network; the trainings are a sweep in runs/published-rows, and finished ones are not repeated. The sizes and the
number of updates are smaller than in the papers, see `SETTINGS`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import ROOT, machine
from reviver import RNN
from reviver.settings.lstm_network import CELLS
from reviver.settings.tasks import DEFINITIONS
from reviver.sweep.driver import run_trials
from reviver.sweep.engines import Pool
from reviver.sweep.trials import Trial

SEEDS = range(5)
TEXTS = ROOT / "benchmarks" / "cell_texts" / "published"
NO_ANSWER = -100
"""Target of a step that is not judged."""
MODULUS = 5

Batch = tuple[Tensor, Tensor]  # symbols [B, T], or numbers [B, T, I], and the targets [B, T], or [B] for a number


def parity(length: int, size: int, rng: torch.Generator) -> Batch:
    """Return bits, and whether their sum is odd, after the last one: the task `parity`."""
    bits, odd = DEFINITIONS["parity"].generate(torch.full((size,), length), rng)
    return bits.long(), _at_the_end(bits.long(), odd)


def arithmetic(length: int, size: int, rng: torch.Generator) -> Batch:
    """Return numbers modulo 5 with +, - and * (symbols 5, 6, 7) between them, and the value, after the last one."""
    numbers = torch.randint(MODULUS, (size, (length + 1) // 2), generator=rng)
    signs = torch.randint(3, (size, numbers.shape[1] - 1), generator=rng)
    total, product = torch.zeros_like(numbers[:, 0]), numbers[:, 0]
    symbols = [numbers[:, 0]]
    for sign, number in zip(signs.unbind(1), numbers[:, 1:].unbind(1), strict=True):
        symbols += [MODULUS + sign, number]
        total = torch.where(sign < 2, total + product, total)
        product = torch.where(sign == 0, number, torch.where(sign == 1, -number, product * number % MODULUS))
    x = torch.stack(symbols, 1)
    return x, _at_the_end(x, (total + product) % MODULUS)


def reverse(length: int, size: int, rng: torch.Generator) -> Batch:
    """Return bits and as many blanks (2), at which they are repeated in reverse order."""
    bits = torch.randint(2, (size, length), generator=rng)
    return _then(bits, bits.flip(1))


def duplicate(length: int, size: int, rng: torch.Generator) -> Batch:
    """Return bits and blanks, at which they are repeated twice."""
    bits = torch.randint(2, (size, length), generator=rng)
    return _then(bits, bits.repeat(1, 2))


def odds_first(length: int, size: int, rng: torch.Generator) -> Batch:
    """Return bits and blanks, at which those of the odd places and then the others are repeated."""
    bits = torch.randint(2, (size, length), generator=rng)
    return _then(bits, torch.cat([bits[:, ::2], bits[:, 1::2]], 1))


def dyck(length: int, size: int, rng: torch.Generator) -> Batch:
    """Return the beginning of a word of brackets (0, 1), and at each step whether a closing one may follow."""
    u, depth = torch.rand(size, length, generator=rng), torch.zeros(size, dtype=torch.int64)
    x, y = torch.empty(size, length, dtype=torch.int64), torch.empty(size, length, dtype=torch.int64)
    for t in range(length):
        closes = (u[:, t] < 0.5) & (depth > 0)
        depth += 1 - 2 * closes.long()
        x[:, t], y[:, t] = closes, depth > 0
    return x, y


def adding(length: int, size: int, rng: torch.Generator) -> Batch:
    """Return numbers of which two are marked, and their sum: the task `adding`."""
    return DEFINITIONS["adding"].generate(torch.full((size,), length), rng)


def _at_the_end(x: Tensor, answer: Tensor) -> Tensor:
    targets = torch.full_like(x, NO_ANSWER)
    targets[:, -1] = answer
    return targets


def _then(bits: Tensor, answer: Tensor) -> Batch:
    return functional.pad(bits, (0, answer.shape[1]), value=2), functional.pad(
        answer, (bits.shape[1], 0), value=NO_ANSWER
    )


class Settings(NamedTuple):
    """A task, and how it is trained and tested."""

    make: Callable[[int, int, torch.Generator], Batch]
    inputs: int  # symbols, or numbers of a step
    outputs: int  # classes; 1 for a number
    units: int
    lengths: tuple[int, int]  # of a training, from and to
    tests: tuple[int, ...]  # lengths
    updates: int
    batch: int
    rates: tuple[float, ...]
    paper: str
    published: Mapping[str, str]  # by cell


CHOMSKY: Mapping[str, Any] = {
    "units": 64,
    "lengths": (1, 40),
    "tests": (*range(41, 501, 50),),
    "updates": 8000,
    "batch": 64,
    "rates": (3e-3,),
    "paper": "Delétang et al. 2022",
}
TRACKED = {"rnn": "100 %", "lstm": "100 %", "mingru": "–", "sru": "–"}
"""Cells of the tasks with a state to track."""
SETTINGS: Mapping[str, Settings] = {
    "parity": Settings(parity, 2, 2, published=TRACKED, **CHOMSKY),
    "modular arithmetic": Settings(arithmetic, 8, 5, published=TRACKED, **CHOMSKY),
    "reverse": Settings(reverse, 3, 2, published={"rnn": "50 to 63 %", "lstm": "50 to 63 %"}, **CHOMSKY),
    "duplicate": Settings(duplicate, 3, 2, published={"rnn": "50 to 63 %", "lstm": "50 to 63 %"}, **CHOMSKY),
    "odds first": Settings(odds_first, 3, 2, published={"rnn": "50 to 63 %", "lstm": "50 to 63 %"}, **CHOMSKY),
    "Dyck-1, one unit": Settings(
        dyck, 2, 2, 1, (2, 50), (50, 100), 6000, 32, (1e-2,), "Suzgun et al. 2019", {"lstm": "100 %", "rnn": "–"}
    ),
    "adding, T = 600": Settings(
        adding, 2, 1, 64, (600, 600), (600,), 3000, 32, (1e-3, 5e-3), "Bai et al. 2018",
        {"gru": "5.3e-5", "lstm": "0.164", "rnn": "0.177"},
    ),
}  # fmt: skip


def run_trial(folder: Path, *, task: str, cell: str, rate: float, seed: int) -> dict[str, Any]:
    """Train, and return the share of right answers, or of right words for Dyck-1, at each length; of numbers the squared error."""
    settings = SETTINGS[task]
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    rng = torch.Generator().manual_seed(seed)
    text = cell if cell in CELLS else TEXTS / f"{cell}.cell"
    layer = RNN(text, settings.inputs, settings.units, batch_first=True)
    head = nn.Linear(settings.units, settings.outputs)
    weights = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(weights, rate)

    def outputs(x: Tensor) -> Tensor:
        steps = x if x.is_floating_point() else functional.one_hot(x, settings.inputs).float()
        return head(layer(steps)[0])

    for _ in range(settings.updates):
        first, last = settings.lengths
        length = int(torch.randint(first, last + 1, (), generator=rng))
        x, y = settings.make(length, settings.batch, rng)
        if settings.outputs == 1:
            loss = functional.mse_loss(outputs(x)[:, -1, 0], y)
        else:
            loss = functional.cross_entropy(outputs(x).flatten(0, 1), y.flatten(), ignore_index=NO_ANSWER)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    test_rng, found = torch.Generator().manual_seed(10_000 + seed), []
    with torch.no_grad():
        for length in settings.tests:
            x, y = settings.make(length, 200, test_rng)
            if settings.outputs == 1:
                found.append(functional.mse_loss(outputs(x)[:, -1, 0], y).item())
                continue
            right = (outputs(x).argmax(-1) == y) | (y == NO_ANSWER)
            shares = right.all(1).float() if settings.make is dyck else right[y != NO_ANSWER].float()
            found.append(shares.mean().item())
    return {"measured": found}


def main() -> dict[str, Any]:
    """Train all networks; return what each paper says, and what was measured."""
    folder = ROOT / "runs" / "published-rows"
    points = [
        {"task": task, "cell": cell, "rate": rate, "seed": seed}
        for task, settings in SETTINGS.items()
        for seed in SEEDS
        for cell in settings.published
        for rate in settings.rates
    ]
    trials = [Trial(run_trial, point, point) for point in points]
    outcomes = run_trials(folder, trials, Pool(threads=1), title="published rows", progress=True)
    rows: dict[tuple[str, str, float], list[list[float]]] = {}
    for trial in trials:
        result = outcomes[trial.key].result
        if result is not None:
            axes = trial.axes
            rows.setdefault((axes["task"], axes["cell"], axes["rate"]), []).append(result["measured"])
    return {
        "title": "Rows of papers, measured again",
        "machine": machine(),
        "rows": [
            {
                "task": task,
                "cell": cell,
                "rate": rate,
                "paper": SETTINGS[task].paper,
                "published": SETTINGS[task].published[cell],
                "is_error": SETTINGS[task].outputs == 1,
                "lengths": SETTINGS[task].tests,
                "measured": measured,
            }
            for (task, cell, rate), measured in rows.items()
        ],
    }
