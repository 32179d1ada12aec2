"""Settings of the benchmark: seeds, what counts as a dip, runs with other settings, and the words of the tables."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

SEEDS = range(10)
LAST = 10
"""Epochs at the end whose mean the report shows."""
FIRST_EPOCH = 60
"""Dips are looked for after this epoch, from which the original calls training stable."""
BEFORE, AFTER = 0.98, 0.95
"""A dip is an update before which the validation accuracy is at least the first, and after which at most the second."""
WINDOW = 100
"""Updates of the past: the time constant of v, 1 / (1 - α)."""
OBSERVED_EPOCH = FIRST_EPOCH - 15
"""Updates are looked at after this epoch, so that those of the past are known at the first dip."""
SHARPNESS_EPOCHS = (1, 10, 25, 50, 75, 100)
VARIANT_SEEDS = range(5)
VARIANTS: dict[str, dict[str, Any]] = {
    "--learning-rate 5e-4": {"learning_rate": 5e-4},
    "--lr-schedule cosine": {"lr_schedule": "cosine"},
    "--batch-size 100": {"batch_size": 100},
    "--max-norm 1": {"max_norm": 1.0},
    "--optimizer adam": {"optimizer": "adam"},
    "--hidden-dropout 0": {"hidden_dropout": 0.0},
    "--encoding onehot": {"encoding": "onehot"},
}
"""Settings of whole runs; a batch size of 100 divides the 800 sequences, so that no batch is smaller than the others."""

EXPLANATIONS: Mapping[str, str] = MappingProxyType(
    {
        "none": "the replay is the update",
        "learning rate × 1/2": "the length of the step",
        "learning rate × 1/4": "the length of the step",
        "gradient clipped at norm 1": "the size of this gradient against √v",
        "√v at its maximum of the last 100 updates": "whether √v had decayed",
        "eps = 0.01": "weights whose √v is small",
        "every weight moves by at most the learning rate": "weights that make large steps",
        "the whole step shortened as much": "the same length as in the row above, without capping",
        "Adam's mean of the gradients (β₁ = 0.9)": "the noise of one gradient",
        "other dropout masks": "chance in the masks",
        "no dropout": "dropout",
        "all training sequences in the batch": "chance in the batch, with dropout",
        "random signs of the same step": "whether the length alone does harm",
        "along the gradient, as far": "a step that RMSprop does not rescale",
    }
)
"""What each change tests."""
