"""How a network holds a digit over many steps: when it loses it, by drift or by chance, and whether it returns to it.

Shapes: N sequences, 10 or more per digit, B of them; H hidden size; C = 10 digits.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reviver.lstm.cell import LSTMState
from reviver.lstm.classifier import LSTMClassifier
from reviver.lstm.tasks.palindromes import NUM_DIGITS, encode_digits

CHUNK = 250
"""Steps between two answers of `hold`."""
START = 500
"""Steps that a network reads before its gates are measured or its state is displaced."""
DISPLACEMENT = 0.05
"""Displacement of a state, as a fraction of the way to the state of a neighbouring digit."""
RETURN_STEPS = 2000
"""Steps after which the rest of a displacement is measured."""
WINDOW = 50
"""Steps over which the distance of two hidden states is averaged."""
STATE_RANGE = (0.2, 5.0)
"""Absolute cell state at `START` of a unit that `drifting_units` finds: neither undecided nor a mere step counter."""
NUM_UNITS = 16
"""Number of units, those whose mean hidden state differs most between the digits, that carry the digit."""
QUANTILES = (0.1, 0.5, 0.9)


def digits_of(size: int) -> Tensor:
    """Return the digits that N sequences hold, [N]: equally many of each."""
    return torch.arange(size) % NUM_DIGITS


def by_digit(values: Tensor) -> list[float]:
    """Return the mean of values [N] for each digit."""
    digits = digits_of(len(values))
    return [values[digits == digit].mean().item() for digit in range(NUM_DIGITS)]


def read_random(size: int, steps: int, rng: torch.Generator, encoding: str, first: Tensor | None = None) -> Tensor:
    """Return the input of random digits, [N, steps, I], with the digits `first` [N] at the first step if given."""
    digits = torch.randint(NUM_DIGITS, (size, steps), dtype=torch.uint8, generator=rng)
    if first is not None:
        digits[:, 0] = first.to(torch.uint8)
    return encode_digits(digits, encoding)


@torch.no_grad()
def hold(network: LSTMClassifier, encoding: str, *, size: int, steps: int, seed: int) -> dict[str, Any]:
    """Let a network read one digit and then random ones, and record its answers every `CHUNK` steps.

    Returns:
        accuracy: fraction of correct answers at each moment.
        expected: mean over the sequences of Σ_k k·p_k for each digit at each moment, [moments][10].
        lost: for each digit the quantiles 10, 50 and 90 % of the step from which on the answer stays wrong; None if
            less than that fraction of the sequences are lost by then.
        answers: most frequent answer to each digit at the end.
    """
    rng = torch.Generator().manual_seed(seed)
    digits = digits_of(size)
    state: LSTMState | None = None
    answers, expected = [], []
    for index in range(steps // CHUNK):
        _, state = network.lstm(read_random(size, CHUNK, rng, encoding, digits if index == 0 else None), state)
        probabilities = network.classify(state).softmax(1)
        answers.append(probabilities.argmax(1))
        expected.append(by_digit(probabilities @ torch.arange(10.0)))
    correct = torch.stack(answers) == digits  # [moments, N]
    kept = (correct * torch.arange(1, len(correct) + 1)[:, None]).amax(0) * CHUNK  # steps up to the last correct answer
    lost = torch.where(correct[-1], torch.inf, kept + CHUNK)  # [N]
    quantiles = [lost[digits == digit].quantile(torch.tensor(QUANTILES), interpolation="higher") for digit in range(10)]
    return {
        "steps": [(index + 1) * CHUNK for index in range(len(correct))],
        "accuracy": correct.double().mean(1).tolist(),
        "expected": expected,
        "lost": [[None if value == torch.inf else int(value) for value in row.tolist()] for row in quantiles],
        "answers": [int(answers[-1][digits == digit].mode().values) for digit in range(NUM_DIGITS)],
    }


class Gates(NamedTuple):
    """Gates after `START` steps, averaged over the sequences of each digit and some steps, [C, H] each."""

    rates: Tensor
    """-mean(log f), the inverse of the time constant in steps."""
    added: Tensor
    """Mean of i ⊙ g, what a step adds to the cell state."""
    hidden: Tensor
    """Mean hidden state."""


@torch.no_grad()
def mean_gates(network: LSTMClassifier, encoding: str, *, size: int, seed: int, steps: int = 200) -> Gates:
    """Return the mean gates of the only cell of `network` while it holds each digit."""
    rng = torch.Generator().manual_seed(seed)
    digits = digits_of(size)
    _, state = network.lstm(read_random(size, START, rng, encoding, digits))
    (cell,) = network.lstm.cells
    state = LSTMState(state.h[0], state.c[0])
    values = []
    for x in read_random(size, steps, rng, encoding).unbind(1):
        state, gates = cell(x, state)
        values.append(torch.stack([-gates.f.log(), gates.i * gates.g, state.h]))
    means = torch.stack(values).mean(0)  # [3, N, H]
    return Gates(*torch.stack([means[:, digits == digit].mean(1) for digit in range(NUM_DIGITS)], 1))


def time_constants(network: LSTMClassifier, encoding: str, *, size: int, seed: int) -> list[float]:
    """Return for each digit the longest time constant in steps of the units that carry the digit."""
    gates = mean_gates(network, encoding, size=size, seed=seed)
    carriers = gates.hidden.var(0).argsort(descending=True)[:NUM_UNITS]
    return [1 / rate for rate in gates.rates[:, carriers].amin(1).clamp(min=1e-9).tolist()]


@torch.no_grad()
def drifting_units(
    network: LSTMClassifier, encoding: str, lost: Sequence[int | None], *, size: int, seed: int
) -> list[dict[str, Any]]:
    """Return for each digit that is lost the unit with the longest time constant whose cell state changes its sign by then.

    Args:
        network: network with one cell.
        encoding: encoding of the digits.
        lost: step by which each digit is lost; None if it is held.
        size: N.
        seed: seed of the distractors.

    Returns:
        digit, unit, tau: its time constant; added: mean of i ⊙ g per step; steps, c_mean and c_std: its cell state over
        time; crossed: step after which its mean has the other sign; lost. Digits that are lost before 2 · `START`
        steps, or by no such unit, are left out.
    """
    gates = mean_gates(network, encoding, size=size, seed=seed)
    rng = torch.Generator().manual_seed(seed)
    digits = digits_of(size)
    state: LSTMState | None = None
    means, deviations = [], []
    for index in range((max((step or 0 for step in lost), default=0) + START) // CHUNK):
        _, state = network.lstm(read_random(size, CHUNK, rng, encoding, digits if index == 0 else None), state)
        c = [state.c[0, digits == digit] for digit in range(NUM_DIGITS)]
        means.append(torch.stack([part.mean(0) for part in c]))
        deviations.append(torch.stack([part.std(0) for part in c]))
    moments = CHUNK * torch.arange(1, len(means) + 1)
    found = []
    for digit, end in enumerate(lost):
        if end is None or end < 2 * START:
            continue
        of_digit = torch.stack(means)[:, digit]  # [moments, H]
        first, last = of_digit[START // CHUNK - 1], of_digit[end // CHUNK - 1]
        flipped = (first * last < 0) & (first.abs() > STATE_RANGE[0]) & (first.abs() < STATE_RANGE[1])
        if not flipped.any():
            continue
        unit = int(torch.where(flipped, gates.rates[digit], torch.inf).argmin())
        found.append(
            {
                "digit": digit,
                "unit": unit,
                "tau": 1 / gates.rates[digit, unit].clamp(min=1e-9).item(),
                "added": gates.added[digit, unit].item(),
                "crossed": CHUNK * int(((of_digit[:, unit] * first[unit] < 0) & (moments > START)).int().argmax() + 1),
                "lost": end,
                "steps": moments.tolist(),
                "c_mean": of_digit[:, unit].tolist(),
                "c_std": torch.stack(deviations)[:, digit, unit].tolist(),
            }
        )
    return found


@torch.no_grad()
def displacement_left(network: LSTMClassifier, encoding: str, *, size: int, seed: int) -> list[float]:
    """Return for each digit what is left of a displacement of the state after `RETURN_STEPS` steps, as a fraction.

    Two copies of the network read the same digits. One starts from a state that is displaced towards that of a neighbouring
    digit. Below 1 it returns, above 1 it moves away. The value is the geometric mean over sequences and neighbours.
    """
    rng = torch.Generator().manual_seed(seed)
    digits = digits_of(size)
    _, start = network.lstm(read_random(size, START, rng, encoding, digits))
    logs = []
    for step in (-1, 1):
        neighbor = torch.arange(size) + torch.where((digits + step).clamp(0, 9) == digits, -step, step)
        displaced = LSTMState(*(torch.lerp(part, part[:, neighbor], DISPLACEMENT) for part in start))
        states, distances = [start, displaced], []
        for _ in range(RETURN_STEPS // WINDOW):
            x = read_random(size, WINDOW, rng, encoding)
            pairs = [network.lstm(x, state) for state in states]
            states = [state for _, state in pairs]
            distances.append((pairs[0][0] - pairs[1][0]).norm(dim=-1).mean(1))  # [N]
        logs.append(((distances[-1] + 1e-6) / (distances[0] + 1e-6)).log())
    return torch.tensor(by_digit(torch.stack(logs).mean(0))).exp().tolist()
