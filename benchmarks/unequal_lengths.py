"""Time a batch of sequences of unequal lengths, forward and backward: `lengths=`, a `PackedSequence`, and torch.nn.LSTM.

torch.nn.LSTM computes a PackedSequence by slices of its data, and its backward pass fills a gradient of all data for each slice:
T slices of T rows, so it grows with T². The times of its two passes show that.

    OMP_NUM_THREADS=1 python -m benchmarks unequal_lengths
"""

import time

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.measure import alternate, machine, ratio, summary
from reviver import LSTM

BATCH, INPUT, HIDDEN = 64, 32, 128
ROUNDS = {200: 9, 1000: 3}
"""Rounds for each maximum length T; the lengths are uniform from 1 to T."""


def measure(steps: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds per round of each contender, and the seconds of the two passes of torch's packed LSTM."""
    torch.manual_seed(0)
    lengths, x = torch.randint(1, steps + 1, (BATCH,)), torch.randn(BATCH, steps, INPUT)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    ours, theirs = LSTM(INPUT, HIDDEN, batch_first=True), nn.LSTM(INPUT, HIDDEN, batch_first=True)
    passes: dict[str, float] = {}

    def torch_packed() -> None:
        start = time.perf_counter()
        loss = theirs(packed)[0].data.square().sum()
        middle = time.perf_counter()
        loss.backward()
        passes.update(forward=middle - start, backward=time.perf_counter() - middle)

    contenders = {
        "lengths=": lambda: ours(x, lengths=lengths)[0].square().sum().backward(),
        "PackedSequence": lambda: ours(packed)[0].data.square().sum().backward(),
        "torch.nn.LSTM, padded": lambda: theirs(x)[0].square().sum().backward(),
        "torch.nn.LSTM, PackedSequence": torch_packed,
    }
    return alternate(contenders, rounds), passes


def main() -> dict[str, object]:
    """Measure each maximum length."""
    calls, ratios = {}, {}
    for steps, rounds in ROUNDS.items():
        seconds, passes = measure(steps, rounds)
        calls |= {f"{name}, T = {steps:,}": summary(values) for name, values in seconds.items()}
        calls |= {f"of it {name}, T = {steps:,}": summary([value]) for name, value in passes.items()}
        baseline = seconds["lengths="]
        ratios |= {
            f"{name} to lengths=, T = {steps:,}": ratio(each, baseline) for name, each in list(seconds.items())[1:]
        }
    return {
        "title": "Sequences of unequal lengths",
        "machine": machine(),
        "seconds_per_call": calls,
        "ratios": ratios,
    }
