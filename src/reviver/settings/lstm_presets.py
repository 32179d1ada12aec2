"""Presets of LSTM training: named settings, for which the docs give results."""

from dataclasses import replace
from types import MappingProxyType

from reviver.settings.lstm import LSTMConfig

_RECALL = LSTMConfig(
    length=1000,
    encoding="onehot",
    curriculum=True,
    length_factor=2.15444,  # 10^(1/3): three lengths per decade
    threshold=0.995,
    lr_length_exponent=0.3,
    data_size=4000,
    max_norm=1.0,
    epochs=400,
)
_JUMPING = replace(_RECALL, jump_factor=10.0, threshold=0.998, last_threshold=0.997)
_LONG = replace(
    _JUMPING,
    length=100_000,
    threshold=0.995,
    threshold_max_length=10_000,
    last_threshold=0.99,
    data_size=2500,
    activation_checkpoint_steps=500,
)
_SCALAR = replace(_RECALL, encoding="scalar", threshold=0.99, last_threshold=0.995)
_MEMORY = LSTMConfig(
    curriculum=True, data_size=4000, train_fraction=0.9, epochs=400, hidden_dropout=0.0, optimizer="adam", max_norm=1.0
)
_MNIST = LSTMConfig(
    data_size=60_000,
    train_fraction=0.95,
    hidden_dropout=0.0,
    optimizer="adam",
    lr_schedule="cosine",
    max_norm=1.0,
    checkpoint_every=1,
)

_SERIES = LSTMConfig(
    train_fraction=0.9,
    bidirectional=True,
    patch_size="auto",
    epochs=500,
    patience=200,  # the smallest sets need some hundred updates, at two an epoch, from one improvement to the next
    batch_size=16,
    optimizer="adam",
    learning_rate=2e-3,
    max_norm=1.0,
)

PRESETS = MappingProxyType(
    {
        "original": LSTMConfig(),
        "onehot": LSTMConfig(encoding="onehot", epochs=20),
        "recall": _JUMPING,
        "recall-scalar": replace(_SCALAR, length_factor=1.5, lr_length_exponent=0.0),
        "recall-scalar-10000": replace(
            _SCALAR, length=10_000, bptt_steps=200, hidden_dropout=0.2, data_size=8000, train_fraction=0.975
        ),
        "recall-10000": replace(_JUMPING, length=10_000, threshold_max_length=1000, last_threshold=0.99),
        "recall-100000": _LONG,
        "recall-1000000": replace(_LONG, length=1_000_000, data_size=2000, train_fraction=0.9),
        "copy": replace(
            _MEMORY,
            task="copy",
            length=500,
            encoding="onehot",
            start_length=2,
            length_factor=1.5,
            threshold=0.98,
            last_threshold=0.99,
            batch_size=32,
            learning_rate=5e-3,
        ),
        "adding": replace(
            _MEMORY,
            task="adding",
            length=750,
            length_factor=3.0,
            threshold=0.4,
            last_threshold=0.3,
            data_size=2000,
            init="chrono",
            epochs=80,
            batch_size=32,
            learning_rate=2e-3,
            lr_schedule="cosine",
        ),
        "temporal-order": replace(
            _MEMORY,
            task="temporal-order",
            length=100,
            encoding="onehot",
            length_factor=1.5,
            hidden_dropout=0.5,
            batch_size=32,
            optimizer="rmsprop",
        ),
        "parity": replace(_MEMORY, task="parity", length=1000, encoding="onehot", start_length=2),
        "row-mnist": replace(_MNIST, task="row-mnist", length=28, epochs=10, learning_rate=2e-3),
        "pixel-mnist": replace(
            _MNIST,
            task="pixel-mnist",
            length=784,
            curriculum=True,
            start_length=49,
            threshold=0.94,
            last_threshold=0.98,
            lr_length_exponent=0.5,
            epochs=30,
            batch_size=32,
        ),
        "series": _SERIES,
    }
)
"""
- `original`: palindromes of 5 digits, the run of the original report; also the defaults of `LSTMConfig`, and the default
  of the command line.
- `onehot`: the same with one-hot digits, which a few epochs solve.
- `recall`: palindromes of 1000 digits with a length curriculum; `recall-scalar`: the same with scalar digits, as in the
  original; `recall-scalar-10000`: scalar digits over 10 000 steps, with truncated backpropagation through time.
- `recall-10000`, `recall-100000`, `recall-1000000`: the same for longer sequences; the last two are validated on 500 and
  200 of them.
- `copy`, `adding`, `temporal-order`, `parity`: memory tasks of the literature with a length curriculum.
- `row-mnist`, `pixel-mnist`: MNIST digits, read row by row or pixel by pixel.
- `series`: classification of the series in a file, which `data` names; for a few dozen to some thousand series of any length.
"""

SECONDS = MappingProxyType(
    {
        "original": 3,
        "onehot": 1,
        "recall": 3,
        "recall-scalar": 90,
        "recall-scalar-10000": 360,
        "recall-10000": 17,
        "recall-100000": 72,
        "recall-1000000": 262,
        "copy": 70,
        "adding": 73,
        "temporal-order": 18,
        "parity": 60,
        "row-mnist": 155,
        "pixel-mnist": 2230,
        "series": 30,
    }
)
"""Seconds of training on two cores of an AMD EPYC server; of `series` for a few dozen sequences."""
