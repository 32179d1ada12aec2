"""Presets of LSTM training: named settings, for which the docs give results."""

from dataclasses import replace
from types import MappingProxyType

from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import TASKS, find_task

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

_TASKS = [task for task in map(find_task, TASKS) if task.preset]

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
        **{task.name: LSTMConfig(task=task.name, **task.preset) for task in _TASKS},
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
- those of other tasks have the name of the task, see `settings/tasks/`: memory tasks of the literature with a length
  curriculum, and MNIST digits, read row by row or pixel by pixel.
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
        **{task.name: task.seconds for task in _TASKS},
        "series": 30,
    }
)
"""Seconds of training on two cores of an AMD EPYC server; of `series` for a few dozen sequences."""
