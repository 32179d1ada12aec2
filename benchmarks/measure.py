"""How things are timed: in alternation, in one process, by medians; the machine is named beside each number."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from reviver.runs.devices import describe_machine


def alternate(contenders: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Run each contender once a round, in turn, and return their seconds, without the rounds of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warmup + rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def summary(values: list[float]) -> dict[str, float]:
    """The median of `values` and their range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """The median, over the rounds, of our time by theirs in the same round."""
    return summary([a / b for a, b in zip(ours, theirs, strict=True)])


def machine() -> dict[str, object]:
    """The hardware and the version of torch that the numbers belong to."""
    return {**describe_machine(torch.device("cpu")), "torch": torch.__version__}
