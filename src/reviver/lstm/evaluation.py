"""Asking a trained LSTM: accuracy at any length, and the probabilities of the next digit."""

import re
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.config import Count
from reviver.errors import ConfigError, DataError
from reviver.lstm.config import LSTMConfig
from reviver.lstm.tasks.custom.table import SequenceTable
from reviver.lstm.tasks.custom.task import CustomTask
from reviver.lstm.tasks.palindromes import NUM_DIGITS, encode_digits
from reviver.lstm.tasks.task import TargetKind, Task
from reviver.lstm.training import Network, Score, evaluation_batch_size, score
from reviver.validation import check

CHANCE = 1 / NUM_DIGITS
"""Of palindromes; of any task, `Evaluation.chance`."""


class Evaluation(NamedTuple):
    """How well a network does at one length."""

    length: int
    """T of the sequences."""
    score: Score
    origin: str
    """Where the sequences come from, in words."""
    target: TargetKind
    """What is asked for, and so which loss it is."""
    chance: float
    """Accuracy of the best guess without looking at the input."""
    baseline: float
    """Loss of the best answer without memory."""


class Prediction(NamedTuple):
    """What a network expects after some digits."""

    digit: int
    """The most probable next digit."""
    probabilities: list[float]
    """The probability of each digit 0 ... 9."""


def evaluate(network: Network, task: Task, length: int, size: int | None = None) -> Evaluation:
    """Measure `network` on sequences of `length`.

    For palindromes of a fixed run's own length and for a person's own data these are the validation part, which
    the network was not trained on; for images the test images; else `size` fresh ones: by default 10 000, or as
    many as make up 100 million steps, but at least 100.

    Raises:
        ConfigError: if `length` or `size` is not allowed.
    """
    check("size", size, Count | None)
    if size is None:
        size = max(100, min(10_000, 10**8 // max(1, length)))
    data, origin = task.evaluation(length, size)
    measured = score(network, data.to(network.W_out.device), task.target)
    return Evaluation(length, measured, origin, task.target, task.chance, task.baseline(length))


@torch.no_grad()
def predict(network: Network, config: LSTMConfig, digits: list[int]) -> Prediction:
    """Return what `network` expects after `digits`, of which there is at least one.

    Raises:
        ConfigError, DataError: see `as_input`.
    """
    probabilities = network(as_input(digits, network, config)).softmax(1)[0].tolist()
    return Prediction(max(range(NUM_DIGITS), key=probabilities.__getitem__), probabilities)


@torch.no_grad()
def predict_table(network: Network, task: CustomTask, table: SequenceTable) -> Tensor:
    """Return the probabilities of the classes of `task` for each sequence of a table, [N, C].

    Raises:
        DataError: if the sequences have another number of channels than those of training.
    """
    data = task.examples(table)
    batch_size = evaluation_batch_size(data)
    parts = (data[start : start + batch_size].to(network.W_out.device) for start in range(0, len(data), batch_size))
    return torch.cat([network(part.encode(), part.lengths).softmax(1).cpu() for part in parts])


def as_input(digits: list[int], network: Network, config: LSTMConfig) -> Tensor:
    """Return `digits` as `network` reads them, [1, T, I].

    Raises:
        ConfigError: if `network` was trained on another task than palindromes.
        DataError: if there is none, or one is not in 0 ... 9.
    """
    if config.task != "palindrome":
        raise ConfigError(
            f"task must be palindrome to read digits, got {config.task}; measure this run by lstm evaluate"
        )
    if not digits or not set(digits) <= set(range(NUM_DIGITS)):
        raise DataError(f"digits must be one or more integers from 0 to 9, got {digits}")
    return encode_digits(torch.tensor([digits]), config.encoding).to(network.W_out.device)


def parse_digits(text: str) -> list[int]:
    """Read digits separated by spaces or commas, or by nothing: "1 2 3 2", "1,2,3,2" and "1232" are the same.

    Raises:
        DataError: if there is anything else in `text`, or no digit.
    """
    wrong, digits = re.search(r"[^0-9,\s]", text), re.findall(r"[0-9]", text)
    if wrong or not digits:
        found = repr(wrong.group()) if wrong else "nothing"
        raise DataError(f'digits must be digits such as "1 2 3 2", got {found} in {text!r}')
    return [int(digit) for digit in digits]
