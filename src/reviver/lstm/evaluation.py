"""Asking a trained LSTM: accuracy at any length, and the probabilities of the next digit."""

import re
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.errors import DataError
from reviver.lstm.network import LSTMClassifier
from reviver.lstm.presets import LSTMConfig
from reviver.lstm.tasks import NUM_DIGITS, encode_digits, make_palindromes
from reviver.lstm.training import Score, build_data, score
from reviver.runs.randomness import stream

CHANCE = 1 / NUM_DIGITS


class Evaluation(NamedTuple):
    """How well a network does at one length."""

    length: int
    """T of the palindromes."""
    score: Score
    is_validation: bool
    """Whether these are the run's own validation sequences, or (at other lengths) fresh ones."""


class Prediction(NamedTuple):
    """What a network expects after some digits."""

    digit: int
    """The most probable next digit."""
    probabilities: list[float]
    """The probability of each digit 0 ... 9."""


def evaluate(network: LSTMClassifier, config: LSTMConfig, length: int, size: int = 10_000) -> Evaluation:
    """Measure `network` on palindromes of `length`.

    At the run's own length these are its validation sequences, which it was not trained on; at another
    length all palindromes there are, or `size` random ones if they are more.

    Raises:
        ConfigError: if `length` is below 2 or `size` below 1.
    """
    if length == config.length:
        return Evaluation(length, score(network, build_data(config).validation, config.input), True)
    data = make_palindromes(length, size, stream(config.seed, f"evaluation/{length}"))
    return Evaluation(length, score(network, data, config.input), False)


@torch.no_grad()
def predict(network: LSTMClassifier, config: LSTMConfig, digits: list[int]) -> Prediction:
    """Return what `network` expects after `digits`, of which there is at least one.

    Raises:
        DataError: if there is none, or one is not in 0 ... 9.
    """
    probabilities = network(as_input(digits, network, config)).softmax(1)[0].tolist()
    return Prediction(max(range(NUM_DIGITS), key=probabilities.__getitem__), probabilities)


def as_input(digits: list[int], network: LSTMClassifier, config: LSTMConfig) -> Tensor:
    """Return `digits` as `network` reads them, [1, T, I].

    Raises:
        DataError: if there is none, or one is not in 0 ... 9.
    """
    if not digits or not all(0 <= digit < NUM_DIGITS for digit in digits):
        raise DataError(f"digits: {digits} is not possible; give at least one digit, each from 0 to 9")
    return encode_digits(torch.tensor([digits]), config.input).to(network.W_out.device)


def parse_digits(text: str) -> list[int]:
    """Read digits separated by spaces or commas, or by nothing: "1 2 3 2", "1,2,3,2" and "1232" are the same.

    Raises:
        DataError: if there is anything else in `text`, or no digit.
    """
    wrong = re.search(r"[^0-9,\s]", text)
    digits = [int(character) for character in text if character.isdecimal() and character.isascii()]
    if wrong or not digits:
        shown = repr(wrong.group()) if wrong else "nothing"
        raise DataError(f'digits: {shown} in {text!r} is not a digit; give digits such as "1 2 3 2"')
    return digits
