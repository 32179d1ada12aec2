"""Presets: the named settings that results are quoted for, of both networks."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.settings.tasks import DEFINITIONS
from reviver.settings.validation import refuse
from reviver.text import did_you_mean, short_repr

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
_LONG_RECALL = replace(
    _JUMPING,
    length=100_000,
    threshold_max_length=1000,
    last_threshold=0.99,
    data_size=4000,
    train_fraction=0.875,
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

_TASKS = [task for task in DEFINITIONS.values() if task.preset]

LSTM_PRESETS = MappingProxyType(
    {
        "original": LSTMConfig(),
        "onehot": LSTMConfig(encoding="onehot", epochs=20),
        "recall": _JUMPING,
        "recall-scalar": replace(_SCALAR, length_factor=1.5, lr_length_exponent=0.0),
        "recall-10000": replace(_JUMPING, length=10_000, threshold_max_length=1000, last_threshold=0.99),
        "recall-100000": _LONG_RECALL,
        "recall-1000000": replace(_LONG_RECALL, length=1_000_000, train_fraction=0.95),
        **{task.name: LSTMConfig(task=task.name, **task.preset) for task in _TASKS},
        "series": _SERIES,
    }
)
"""Presets of the LSTM, of which `recall-100000` and `recall-1000000` are validated on 500 and 200 sequences."""

_BEST = GANConfig(
    epochs=34,
    batch_size=128,
    learning_rate=1.2e-3,
    lr_schedule="linear",
    final_lr_ratio=0.1,
    beta1=-0.3,
    r1=0.2,
    penalty_interval=8,
    input_centering="auto",
    shift_probability=0.5,
    ema=0.9998,
    ema_rampup=0.05,
    batch_norm_samples=20_000,
    precision="bf16",
)

_QUICK = replace(
    _BEST,
    data="mnist-30k",
    epochs=18,
    batch_size=64,
    final_lr_ratio=0.5,
    shift_probability=0.0,
    batch_norm_samples=0,
    precision="fp32",
)
_LONG = replace(_BEST, penalty_interval=4)

GAN_PRESETS = MappingProxyType(
    {
        "best": _BEST,
        "best-long": replace(_LONG, epochs=150),
        "best-longest": replace(_LONG, epochs=400),
        "quick": _QUICK,
        "original": GANConfig(),
        "short": GANConfig(epochs=16, sample_every=1),
        "public-script": GANConfig(batch_norm_eps=0.8),
    }
)
"""Presets of the GAN. `original` has the defaults of `GANConfig`, so that every other recipe writes out what it changes; `quick` is
the one with which the explorer's page begins."""
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({"lstm": LSTM_PRESETS, "gan": GAN_PRESETS})
"""Presets by kind of network; the first is the default of the command line."""
SECONDS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "lstm": {
            "original": 3,
            "onehot": 1,
            "recall": 3,
            "recall-scalar": 90,
            "recall-10000": 17,
            "recall-100000": 72,
            "recall-1000000": 262,
            **{task.name: task.seconds for task in _TASKS},
            "series": 30,
        },
        "gan": {
            "best": 300,
            "best-long": 1500,
            "best-longest": 4400,
            "quick": 170,
            "original": 2800,
            "short": 230,
            "public-script": 2800,
        },
    }
)
"""Seconds of training on two cores of an AMD EPYC server: on MNIST, of `series` for a few dozen sequences."""


def choose_preset(kind: str, name: str) -> Any:
    """Return the preset called `name` of a kind of network; an unknown name is a `ConfigError`."""
    presets = PRESETS[kind]
    if name not in presets:
        advice = did_you_mean(name, presets) or f"choose from {', '.join(presets)}"
        refuse("preset", f"{short_repr(name)} is unknown; {advice}")
    return presets[name]
