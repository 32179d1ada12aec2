"""Evaluation of a trained LSTM: accuracy at any length, and the next digit of a palindrome."""

import re
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.data.palindromes import NUM_DIGITS, encode_digits
from reviver.data.task import Task
from reviver.errors import ConfigError, DataError
from reviver.lstm.classifier import RecurrentClassifier
from reviver.lstm.scoring import Score, score
from reviver.settings.fields import Count
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import TargetKind
from reviver.settings.validation import check
from reviver.text import short_repr


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

    `size` is the number of fresh sequences; by default 10 000, or as many as have 100 million steps in all, but at least
    100. For images it is the number of test images, at most 10 000. The validation set has a fixed size: it is used for
    custom data, and for palindromes of the run's own length without a curriculum. A `length` or `size` out of range is a
    `ConfigError`.
    """
    check("size", size, Count | None)
    if size is None:
        size = max(100, min(10_000, 10**8 // max(1, length)))
    data, origin = task.evaluation(length, size)
    result = score(network, data.to(network.W_out.device), task.target)
    return Evaluation(length, result, origin, task.target, task.chance, task.baseline(length))


@torch.no_grad()
def predict(network: RecurrentClassifier, config: LSTMConfig, digits: list[int]) -> Prediction:
    """Return the prediction of `network`, in eval mode, after it read `digits`, which `encode_input` checks."""
    probabilities = network(encode_input(digits, network, config)).softmax(1)[0].tolist()
    return Prediction(max(range(NUM_DIGITS), key=probabilities.__getitem__), probabilities)


def encode_input(digits: list[int], network: RecurrentClassifier, config: LSTMConfig) -> Tensor:
    """Return `digits` as the input of `network`, [1, T, I], on its device.

    Raises `ConfigError` if the task is not `palindrome`, and `DataError` if no digit is given, or one is not from 0 to 9.
    """
    _check_task(config)
    if not digits or not set(digits) <= set(range(NUM_DIGITS)):
        raise DataError(f"digits must be one or more integers from 0 to 9, got {digits}")
    return encode_digits(torch.tensor([digits]), config.encoding).to(network.W_out.device)


def parse_digits(text: str, config: LSTMConfig) -> list[int]:
    """Return the digits of a text, with or without spaces or commas between: "1 2 3 2", "1,2,3,2" or "1232".

    Raises `ConfigError` if the task is not `palindrome`, and `DataError` if the text has another character, no digit, or a
    number of several digits among separated ones.
    """
    _check_task(config)
    parts = text.replace(",", " ").split()
    digits = list(parts[0]) if len(parts) == 1 else parts
    wrong = [digit for digit in digits if not re.fullmatch("[0-9]", digit)]
    if wrong or not digits:
        found = short_repr(wrong[0]) if wrong else "nothing"
        raise DataError(f'digits must be digits such as "1 2 3 2", got {found} in {text!r}')
    return [int(digit) for digit in digits]


def _check_task(config: LSTMConfig) -> None:
    if config.task != "palindrome":
        problem = f"task must be palindrome to read digits, got {config.task}"
        raise ConfigError(f"{problem}; measure this run by lstm evaluate")
