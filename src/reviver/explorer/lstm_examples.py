"""Sequences of an LSTM's task to look at in the explorer, as a user would type them.

Shapes: N sequences, T time, I input size.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.data.task import Sequences
from reviver.errors import ConfigError, DataError
from reviver.explorer.manifest import Example
from reviver.train.opened import OpenedRun

MAX_EXAMPLES = 20
MAX_LENGTH, MORE_STEPS = 1000, 20
"""Maximum length T of a generated example, and the steps that it may have beyond T."""
MAX_NUMBERS = 20_000
"""Maximum numbers of all examples together, for the size of the page."""
DIGITS = 6
"""Digits of a number after the first one of the standard deviation of its channel."""


class ExampleInputs(NamedTuple):
    """Inputs [T, I] of a run, the same as a user would type them, and their origin, or why there are none."""

    x: list[Tensor]
    examples: list[Example]
    text: str


def channel_names(run: OpenedRun) -> list[str]:
    """Return the names of the numbers of a step, [I]; none for symbols."""
    return [] if run.task.definition.symbols is not None else list(run.task.definition.channels)


def collect_examples(run: OpenedRun) -> ExampleInputs:
    """Return sequences that the network was not trained on, at the length of the run, or shorter ones if it is long."""
    trained = run.config.length
    length = min(trained, MAX_LENGTH)
    try:
        sequences, origin = run.task.evaluation(length, MAX_EXAMPLES)
    except (ConfigError, DataError):
        assert run.task.data is not None, "other tasks make their sequences"
        return ExampleInputs([], [], f"{run.task.data.name} is missing, or has changed since the training")
    lengths = torch.full((len(sequences),), sequences.steps) if sequences.lengths is None else sequences.lengths
    chosen = choose(lengths, 1 if run.task.definition.symbols else run.task.input_size)
    if not len(chosen):
        return ExampleInputs([], [], f"all sequences of the {origin} are too long for the page")
    sequences, steps = sequences[chosen], lengths[chosen].tolist()
    values, x = raw_values(run, sequences), sequences.encode()
    targets = sequences.targets.tolist()
    examples = [
        Example(values=values[n][:count].flatten().tolist(), target=targets[n]) for n, count in enumerate(steps)
    ]
    shorter = f" of length {length:,}, the run is trained for {trained:,}" if length < trained else ""
    return ExampleInputs([x[n, :count] for n, count in enumerate(steps)], examples, origin + shorter)


def choose(lengths: Tensor, step_size: int) -> Tensor:
    """Return indices of sequences of `lengths` [N], `step_size` numbers a step, evenly spaced: a file may be sorted by class."""
    limit = min(MAX_LENGTH + MORE_STEPS, MAX_NUMBERS // step_size)
    short = (lengths <= limit).nonzero().flatten()
    if not len(short):
        return short
    count = min(MAX_EXAMPLES, len(short), MAX_NUMBERS // (int(lengths[short].max()) * step_size))
    return short[torch.linspace(0, len(short) - 1, count).round().long()]


def raw_values(run: OpenedRun, sequences: Sequences) -> Tensor:
    """Return sequences as a user would type them: symbols [N, T], or numbers [N, T, I], in float64."""
    if sequences.typed is not None:
        return sequences.typed.double()
    x = sequences.encode().double()
    scale = torch.ones(x.shape[2], dtype=torch.float64)
    if run.task.data is not None:
        standardization = run.task.data.standardization
        scale = torch.tensor(standardization.scale, dtype=torch.float64)
        x = x * scale + torch.tensor(standardization.mean, dtype=torch.float64)
    for channel, deviation in enumerate(scale.tolist()):
        factor = 10.0 ** (DIGITS - math.floor(math.log10(deviation)))
        x[:, :, channel] = (x[:, :, channel] * factor).round() / factor
    return x
