"""Times the training steps of presets by several processes: a script for `torchrun`.

    torchrun --standalone --nproc-per-node 2 -m benchmarks.distributed.steps --threads 1

Rank 0 prints, for each preset, the seconds of a step and their split as JSON, a list of the timed blocks of steps. They
are means over the processes.
"""

import argparse
import json
from statistics import mean
from typing import Any

import torch

from benchmarks.distributed.load import Reading, Stopwatch
from benchmarks.distributed.recording import Collective, Split, recorded, split
from benchmarks.distributed.workloads import PRESETS, Step
from reviver.distributed.world import World, join_world

BLOCKS = 8
"""Timed blocks of steps of each preset."""


def time_block(step: Step, first: int, count: int, world: World) -> dict[str, float]:
    """Return the seconds of a step of `count` ones, their split, their processor time, and the load by others."""
    world.gather(None)  # all processes begin together
    with recorded() as log:
        stopwatch = Stopwatch()
        for number in range(first, first + count):
            step(number)
        reading = stopwatch.read(world)
    everyone: list[tuple[Reading, list[Collective]]] = world.gather((reading, log))
    logs = [collectives for _, collectives in everyone]
    splits = [split(taken.seconds, own, logs) for taken, own in everyone]
    return {
        "seconds": mean(taken.seconds for taken, _ in everyone) / count,
        **{name: mean(getattr(part, name) for part in splits) / count for name in Split._fields},
        "processor": mean(taken.processor for taken, _ in everyone) / count,
        "others": reading.others,
    }


def main() -> None:
    """Measure, and print on rank 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distributed.steps", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads of a process")
    parser.add_argument("--presets", nargs="*", default=list(PRESETS), help="presets to time; default: all")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, list[dict[str, Any]]] = {}
    with join_world(torch.device("cpu")) as world:
        for name in options.presets:
            build, count = PRESETS[name]
            step = build(world)
            for number in range(min(count, 3)):  # warm-up
                step(number)
            results[name] = [time_block(step, block * count, count, world) for block in range(BLOCKS)]
        if world.is_main:
            print(json.dumps(results))


if __name__ == "__main__":
    main()
