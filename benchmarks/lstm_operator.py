"""Time forward and backward of one batch by the native LSTM kernel with hidden dropout 0.5, against its peers.

The peers, in the same process and in alternation: `torch.nn.LSTM` without dropout (it has none inside), and a loop
over `lstm_step` that samples masks with torch. The limit is the time of the floating-point operations of all matmuls at
the rate at which the faster of torch's and NumPy's BLAS libraries multiplies large matrices. Memory is the peak of a
separate process. The bf16 mode is timed against the kernel's own fp32.

    python -m benchmarks lstm_operator
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.measure import alternate, machine, ratio, summary
from reviver.recurrent import kernel
from reviver.recurrent.lstm import LSTM
from reviver.recurrent.lstm_step import LSTMState, lstm_step
from reviver.settings.fields import Precision

DROPOUT = 0.5


class Shape(NamedTuple):
    """A shape, and how often it is measured."""

    B: int
    T: int
    I: int  # noqa: E741
    H: int
    rounds: int
    training: bool = True

    @property
    def name(self) -> str:
        return f"{self.B},{self.T},{self.I},{self.H}" + ("" if self.training else " (inference)")


SHAPES = (
    Shape(128, 4, 1, 128, 200),
    Shape(128, 50, 10, 128, 40),
    Shape(128, 200, 10, 128, 20),
    Shape(64, 100, 64, 512, 20),
    Shape(1, 1000, 10, 128, 40, training=False),
)
BF16_SHAPES = SHAPES[3], SHAPES[2]
MEMORY_SHAPES = ((128, 200, 10, 128), (64, 100, 64, 512), (32, 10_000, 10, 128))


def loop(lstm: LSTM, x: torch.Tensor) -> torch.Tensor:
    """Run the equations step by step; return the last h."""
    w = lstm.gate_weights()
    h = c = x.new_zeros(x.shape[1], lstm.hidden_size)
    for x_t in x:
        (h, c), _ = lstm_step(x_t, LSTMState(h, c), w)
        if lstm.training:
            h = (torch.rand_like(h) >= DROPOUT) / (1.0 - DROPOUT) * h
    return h


def step(module: torch.nn.Module, last: Callable[[], torch.Tensor]) -> None:
    """Run forward, and in training backward too."""
    if not module.training:
        with torch.no_grad():
            last()
        return
    module.zero_grad()
    last().sum().backward()


def network(shape: Shape, precision: Precision = "fp32") -> tuple[LSTM, torch.Tensor]:
    """Our LSTM of a shape, and its input."""
    torch.manual_seed(0)
    ours = LSTM(shape.I, shape.H, hidden_dropout=DROPOUT, precision=precision).train(shape.training)
    return ours, torch.randn(shape.T, shape.B, shape.I)


def contenders(shape: Shape) -> dict[str, Callable[[], object]]:
    """What is timed for a shape."""
    ours, x = network(shape)
    theirs = ours.to_torch()
    in_bf16, _ = network(shape, "bf16") if shape in BF16_SHAPES else (None, None)
    bf16 = {} if in_bf16 is None else {"bf16": lambda: step(in_bf16, lambda: in_bf16(x)[1][0])}
    return bf16 | {
        "ours": lambda: step(ours, lambda: ours(x)[1][0]),
        "nn.LSTM": lambda: step(theirs, lambda: theirs(x)[1][0]),
        "loop": lambda: step(ours, lambda: loop(ours, x)),
    }


def time_each(
    runs: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Time each in turn, in the second of two calls: it finds its own data in the caches, not those of the one before."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name] += alternate({name: run}, rounds=1, warmup=1, clock=clock)[name]
    return seconds


def sgemm_gigaflops(size: int = 1536, rounds: int = 10) -> dict[str, float]:
    """Return the best rate at which each BLAS library multiplies two large float32 matrices, by its name."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    a_numpy, b_numpy = a.numpy(), b.numpy()
    numpy_blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    names = {
        f"{'MKL' if torch.backends.mkl.is_available() else 'BLAS'} of torch": lambda: a @ b,
        f"{numpy_blas} of NumPy": lambda: a_numpy @ b_numpy,
    }
    seconds = alternate(names, rounds)
    time.sleep(0.2)  # until the threads of both libraries sleep: they must not slow down what is timed next
    return {name: 2e-9 * size**3 / min(values) for name, values in seconds.items()}


def measure(shape: Shape) -> dict[str, object]:
    """Time one shape."""
    rates = sgemm_gigaflops()
    seconds = time_each(contenders(shape), shape.rounds)
    faster = max(rates, key=rates.__getitem__)
    operations = (3 if shape.training else 1) * 2 * shape.B * shape.T * 4 * shape.H * (shape.H + shape.I)
    limit = operations / rates[faster] / 1e9
    bf16 = {"bf16 to fp32": ratio(seconds["bf16"], seconds["ours"])} if "bf16" in seconds else {}
    return bf16 | {
        "milliseconds": {name: summary([1e3 * s for s in values]) for name, values in seconds.items()},
        "sgemm_gigaflops": rates,
        "limit": {"blas": faster, "milliseconds": 1e3 * limit},
        "to nn.LSTM": ratio(seconds["ours"], seconds["nn.LSTM"]),
        "to the loop": ratio(seconds["ours"], seconds["loop"]),
        "to the limit": summary([s / limit for s in seconds["ours"]]),
    }


def peak_megabytes(name: str, B: int, T: int, I: int, H: int) -> float:  # noqa: E741
    """Peak memory of two training steps, above what the process takes before, in a process of its own."""
    script = f"from benchmarks.lstm_operator import report_peak; report_peak({name!r}, {B}, {T}, {I}, {H})"
    return float(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)


def report_peak(name: str, B: int, T: int, I: int, H: int) -> None:  # noqa: E741
    """Print the peak of this process."""
    small = contenders(Shape(2, 2, I, H, 1))
    small[name]()
    before = peak_kilobytes()
    run = contenders(Shape(B, T, I, H, 1))[name]
    run()
    run()
    print((peak_kilobytes() - before) / 1024)


def peak_kilobytes() -> int:
    """Peak memory of this process (Linux; getrusage would begin with the parent's peak)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0])


def main() -> dict[str, object]:
    """Measure all shapes, and memory."""
    if not kernel.available():
        raise SystemExit("the native kernel is not available here")
    return {
        "title": "The native LSTM operator, dropout 0.5 at every step, forward and backward",
        "machine": machine(),
        "shapes": {shape.name: measure(shape) for shape in SHAPES},
        "peak_megabytes": {
            ",".join(map(str, shape)): {name: peak_megabytes(name, *shape) for name in ("ours", "nn.LSTM")}
            for shape in MEMORY_SHAPES
        },
    }
