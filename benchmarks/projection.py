"""Time forward and backward of an LSTM with a projection, which the native kernel does not compute, against nn.LSTM.

Both in the same process and in alternation, with the same weights and without dropout. Without a projection, the
kernel computes the same shapes: that shows what the projection costs.

    OMP_NUM_THREADS=1 python -m benchmarks projection
"""

from collections.abc import Callable

import torch

from benchmarks.measure import alternate, machine, ratio, summary
from reviver.lstm.network import LSTM

SHAPES = ((128, 50, 10, 128, 64), (64, 50, 64, 256, 128))
"""B, T, I, H, P."""
ROUNDS = 10


def step(lstm: torch.nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Return a function that runs forward and backward."""

    def run() -> None:
        lstm.zero_grad()
        lstm(x)[0].sum().backward()

    return run


def main() -> dict[str, object]:
    """Measure all shapes."""
    calls, ratios = {}, {}
    for B, T, I, H, P in SHAPES:  # noqa: E741
        x = torch.randn(T, B, I)
        projected, plain = LSTM(I, H, proj_size=P), LSTM(I, H)
        lstms = {
            "ours, with the projection": projected,
            "nn.LSTM, with the projection": projected.to_torch(),
            "ours, without": plain,
            "nn.LSTM, without": plain.to_torch(),
        }
        seconds = alternate({name: step(lstm, x) for name, lstm in lstms.items()}, ROUNDS)
        shape = f"B, T, I, H, P = {B}, {T}, {I}, {H}, {P}"
        calls |= {f"{name}, {shape}": summary(values) for name, values in seconds.items()}
        for which in ("with the projection", "without"):
            ratios[f"{which}, {shape}"] = ratio(seconds[f"ours, {which}"], seconds[f"nn.LSTM, {which}"])
    return {
        "title": "An LSTM with a projection, forward and backward",
        "machine": machine(),
        "seconds_per_call": calls,
        "ratios": ratios,
    }
