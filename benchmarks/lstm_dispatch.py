"""Time an `LSTM` without hidden dropout against `torch.nn.LSTM`: the measurements behind `reviver.recurrent.kernel`.

Each of 12 shapes in float32 and under bfloat16 autocast, in training and inference, in alternation in one process.
`kernel` is the native kernel, `LSTM` the layer, which hands a call to torch where that is faster.

    python -m benchmarks lstm_dispatch
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import nn

from benchmarks.measure import alternate, machine, ratio, summary
from reviver.recurrent import kernel as lstm_kernel
from reviver.recurrent.lstm import LSTM

SECONDS = 0.6
"""Approximate time of each contender."""
SHAPES = [  # B, T, I, H, layers
    (32, 35, 200, 200, 2),
    (20, 100, 40, 512, 1),
    (256, 10, 32, 64, 1),
    (128, 4, 1, 128, 1),
    (128, 50, 10, 128, 1),
    (128, 200, 10, 128, 1),
    (64, 100, 64, 512, 1),
    (1, 1000, 10, 128, 1),
    (16, 20, 8, 32, 1),
    (512, 5, 16, 64, 1),
    (8, 500, 32, 256, 1),
    (64, 28, 28, 128, 1),
]


def call(lstm: nn.LSTM, x: torch.Tensor, precision: str, training: bool) -> Callable[[], None]:
    """Return a pass over x, with the backward pass in training."""

    def run() -> None:
        with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            output, _ = lstm(x)
        if training:
            lstm.zero_grad()
            output.float().sum().backward()

    return run


def measure(shape: tuple[int, int, int, int, int], precision: str, training: bool) -> dict[str, Any]:
    """Return the times of one shape, and the ratios to torch's layer."""
    B, T, I, H, layers = shape  # noqa: E741
    layer, x = LSTM(I, H, layers).train(training), torch.randn(T, B, I)
    theirs = layer.to_torch()
    rule = lstm_kernel.torch_runs

    def kernel() -> None:
        lstm_kernel.torch_runs = lambda *_: False
        try:
            call(layer, x, precision, training)()
        finally:
            lstm_kernel.torch_runs = rule

    runs = {
        "kernel": kernel,
        "LSTM": call(layer, x, precision, training),
        "nn.LSTM": call(theirs, x, precision, training),
    }
    once = alternate(runs, 1, warmup=2)
    seconds = alternate(runs, max(9, min(200, int(SECONDS / once["nn.LSTM"][0]))))
    return {
        "shape": shape,
        "precision": precision,
        "pass": "training" if training else "inference",
        "milliseconds": {name: summary([1e3 * value for value in values]) for name, values in seconds.items()},
        "ratios": {name: ratio(seconds[name], seconds["nn.LSTM"]) for name in ("kernel", "LSTM")},
    }


def main() -> dict[str, object]:
    """Return the times of all shapes."""
    torch.manual_seed(0)
    return {
        "title": "An LSTM without hidden dropout, compared with nn.LSTM at the same precision",
        "machine": machine(),
        "rows": [measure(*case) for case in product(SHAPES, ("fp32", "bf16"), (True, False))],
    }
