"""Evaluation of a trained LSTM: accuracy at any length, and the next digit of a palindrome."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.data.generated import encode_symbols
from reviver.data.palindromes import NUM_DIGITS
from reviver.data.task import Task
from reviver.errors import DataError
from reviver.recurrent.classifier import RecurrentClassifier
from reviver.settings.fields import Count
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import TargetKind
from reviver.settings.validation import check, refuse
from reviver.text import short_repr
from reviver.train.lstm.scoring import Score, score


class Evaluation(NamedTuple):
    """Loss and accuracy of a network at one length T, with the values to compare them with."""

    length: int
    score: Score
    origin: str
    """Origin of the sequences, such as "fresh sequences"."""
    target: TargetKind
    """Kind of the targets, which decides what loss and accuracy mean."""
    chance: float
    """Accuracy of the best constant guess, from 0 to 1."""
    baseline: float
    """Loss of the best prediction without memory."""


class Prediction(NamedTuple):
    """Most probable next digit of a palindrome, and the probability of each digit from 0 to 9."""

    digit: int
    probabilities: list[float]


def evaluate(network: RecurrentClassifier, task: Task, length: int, size: int | None = None) -> Evaluation:
    """Measure loss and accuracy of `network` on sequences of T = `length` that it was not trained on.

    `size` is the number of fresh sequences, or of test images; by default 10 000, or as many as have 100 million steps in all,
    but at least 100. The validation set has a fixed size: it is used for custom data, and for palindromes of the run's own
    length without a curriculum. A `length` or `size` out of range is a `ConfigError`.
    """
    check("size", size, Count | None)
    if size is None:
        size = max(100, min(10_000, 10**8 // max(1, length)))
    data, origin = task.evaluation(length, size)
    result = score(network, data.to(network.W_out.device), task.target)
    return Evaluation(length, result, origin, task.target, task.chance, task.baseline(length))


@torch.no_grad()
def predict(network: RecurrentClassifier, config: LSTMConfig, digits: str | Sequence[int]) -> Prediction:
    """Return the prediction of `network`, in eval mode, after it read digits, see `parse_digits`."""
    probabilities = network(encode_input(digits, network, config)).softmax(1)[0].tolist()
    return Prediction(max(range(NUM_DIGITS), key=probabilities.__getitem__), probabilities)


def encode_input(digits: str | Sequence[int], network: RecurrentClassifier, config: LSTMConfig) -> Tensor:
    """Return digits as the input of `network`, [1, T, I], on its device; see `parse_digits`."""
    parsed = torch.tensor([parse_digits(digits, config)], device=network.W_out.device)
    return encode_symbols(parsed, NUM_DIGITS, config.encoding)


def parse_digits(digits: str | Sequence[int], config: LSTMConfig) -> list[int]:
    """Return digits, or those of a text, with or without spaces or commas between: "1 2 3 2", "1,2,3,2" or "1232".

    Raises `ConfigError` if the task is not `palindrome`, and `DataError` if there is no digit, or something else.
    """
    if config.task != "palindrome":
        refuse("task", f"must be palindrome to read digits, got {config.task}; measure this run by lstm evaluate")
    parts = digits.replace(",", " ").split() if isinstance(digits, str) else [str(int(digit)) for digit in digits]
    parts = list(parts[0]) if len(parts) == 1 and isinstance(digits, str) else parts
    wrong = [part for part in parts if not re.fullmatch("[0-9]", part)]
    if wrong or not parts:
        found = short_repr(wrong[0]) if wrong else "nothing"
        raise DataError(f'digits must be digits such as "1 2 3 2", got {found} in {digits!r}')
    return [int(part) for part in parts]
