"""Times training steps over sizes on one core, and measures the memory of the LSTM: a script.

    python -m benchmarks.distributed.sizes

Prints JSON: the seconds of a step by network and sizes, and the bytes of the LSTM's activations beside those expected.
The seconds are processor time: with one thread nearly the time on an idle core. Other programs change it only through the
caches that they fill.
"""

import gc
import json
import subprocess
import sys
import time
from statistics import median
from typing import NamedTuple

import torch

from benchmarks.distributed.model import activation_bytes
from benchmarks.distributed.workloads import gan_of_size, lstm_of_size
from benchmarks.lstm_operator import peak_kilobytes
from reviver.distributed.gradients import GradientBucket
from reviver.distributed.world import ALONE
from reviver.gan.networks import Generator


class LSTMSize(NamedTuple):
    """Sizes of an LSTM step: batch, time, hidden units."""

    B: int
    T: int
    H: int
    held_out: bool = False


LSTM_SIZES = (
    *(LSTMSize(*size) for size in ((128, 4, 128), (16, 4, 128), (32, 50, 64), (128, 50, 128), (64, 200, 128))),
    *(LSTMSize(*size) for size in ((16, 200, 128), (64, 100, 256), (32, 100, 512), (8, 400, 128), (32, 1000, 64))),
    *(LSTMSize(*size, held_out=True) for size in ((128, 20, 128), (48, 300, 192), (96, 100, 256), (16, 100, 384))),
    *(LSTMSize(*size, held_out=True) for size in ((4, 500, 128), (128, 500, 128), (64, 1000, 128), (2, 200, 128))),
)
"""Sizes that the model is fitted on, and others that it is tested on."""


class GANSize(NamedTuple):
    """Sizes of a GAN step: batch, height and width of the images."""

    B: int
    image_size: int
    held_out: bool = False


GAN_SIZES = (
    *(GANSize(*size) for size in ((16, 28), (64, 28), (128, 28), (256, 28), (16, 48), (64, 48), (128, 48), (128, 64))),
    *(GANSize(*size, held_out=True) for size in ((32, 28), (96, 28), (32, 40), (128, 40), (32, 64), (8, 28))),
)
GAN_PRESETS = ("report", "best")
STEPS = 8
"""Steps of the GAN that are timed together: penalties come every 8 steps."""
MEMORY_SIZES = (
    (128, 200, 128, None),
    (32, 5000, 128, None),
    (64, 500, 256, None),
    (32, 5000, 128, 100),
    (16, 20_000, 128, 500),
)
"""B, T, H and the steps of activation checkpointing."""


def main() -> None:
    """Measure, and print."""
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(
        json.dumps(
            {
                "LSTM": time_lstm(rounds),
                **{f"GAN {preset}": time_gan(preset, rounds) for preset in GAN_PRESETS},
                "seconds_per_copied_byte": time_bucket(rounds),
                "memory": [measure_memory(*sizes) for sizes in MEMORY_SIZES],
            }
        )
    )


def time_lstm(rounds: int) -> list[dict[str, object]]:
    """Return the seconds of a step of each of `LSTM_SIZES`, of each round."""
    seconds: dict[LSTMSize, list[float]] = {}
    for _ in range(rounds):
        for size in LSTM_SIZES:
            step = lstm_of_size(size.B, size.T, size.H)
            step(0)
            repeats = 5 if size.B * size.T * size.H**2 < 1 << 27 else 1
            started = time.process_time()
            for number in range(repeats):
                step(number)
            seconds.setdefault(size, []).append((time.process_time() - started) / repeats)
    return [{**size._asdict(), "seconds": values} for size, values in seconds.items()]


def time_gan(preset: str, rounds: int) -> list[dict[str, object]]:
    """Return the seconds of a step of a preset with each of `GAN_SIZES`, of each round."""
    seconds: dict[GANSize, list[float]] = {}
    for _ in range(rounds):
        for size in GAN_SIZES:
            step = gan_of_size(preset, size.B, size.image_size)
            step(0)
            started = time.process_time()
            for number in range(STEPS):
                step(number)
            seconds.setdefault(size, []).append((time.process_time() - started) / STEPS)
    return [{**size._asdict(), "seconds": values} for size, values in seconds.items()]


def time_bucket(rounds: int) -> float:
    """Return the seconds that a gradient bucket takes for each byte of gradients, without the exchange."""
    network = Generator()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    bucket = GradientBucket(network.parameters(), 0, ALONE)
    size = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    seconds = []
    for _ in range(10 * rounds):
        gradients = [torch.ones_like(parameter) for parameter in network.parameters()]
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        started = time.process_time()
        bucket.start([])
        bucket.finish()
        seconds.append(time.process_time() - started)
    return median(seconds) / size


def measure_memory(B: int, T: int, H: int, checkpoint_steps: int | None) -> dict[str, object]:
    """Return the bytes that two steps take beyond those of a tiny one, in a process of its own, and those expected."""
    arguments = f"{B}, {T}, {H}, {checkpoint_steps}"
    script = f"from benchmarks.distributed.sizes import print_memory; print_memory({arguments})"
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    return {
        "B": B,
        "T": T,
        "H": H,
        "checkpoint_steps": checkpoint_steps,
        "bytes": int(output),
        "expected": activation_bytes(B, T, H, checkpoint_steps),
    }


def print_memory(B: int, T: int, H: int, checkpoint_steps: int | None) -> None:
    """Print the peak of this process."""
    torch.set_num_threads(1)
    lstm_of_size(2, 2, H, checkpoint_steps)(0)
    before = peak_kilobytes()
    step = lstm_of_size(B, T, H, checkpoint_steps)
    step(0)
    gc.collect()
    step(1)
    print(1024 * (peak_kilobytes() - before))


if __name__ == "__main__":
    main()
