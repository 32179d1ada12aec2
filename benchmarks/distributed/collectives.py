"""Times the all-reduce of torch.distributed over message sizes: a script for `torchrun`.

    torchrun --standalone --nproc-per-node 2 -m benchmarks.distributed.collectives

Rank 0 prints the seconds of a call by bytes as JSON. CUDA devices reduce through nccl, CPUs through gloo.
"""

import json
import os

import torch
import torch.distributed as dist

from benchmarks.distributed.load import Stopwatch
from reviver.distributed.world import World, join_world

SIZES = tuple(4**power for power in range(1, 14))
"""Bytes of a message: 4 B to 64 MB."""
BLOCKS = 7
"""Timed blocks of calls per size."""


def calls_per_block(size: int) -> int:
    """Return the number of calls in a row that are timed together: few for large messages."""
    return max(1, min(50, (8 << 20) // size))


def measure(world: World, device: torch.device) -> dict[int, list[dict[str, float]]]:
    """Return the seconds of a call by bytes, of each block, on the slowest process, and the load by other programs."""
    blocks: dict[int, list[dict[str, float]]] = {}
    for size in SIZES:
        message = torch.zeros(size // 4, device=device)
        calls = calls_per_block(size)
        for block in range(1 + BLOCKS):
            dist.barrier()
            stopwatch = Stopwatch()
            for _ in range(calls):
                dist.all_reduce(message)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            reading = stopwatch.read(world)
            seconds = max(world.gather(reading.seconds)) / calls
            if block > 0:
                blocks.setdefault(size, []).append({"seconds": seconds, "others": reading.others})
    return blocks


def main() -> None:
    """Measure, and print on rank 0."""
    torch.set_num_threads(1)
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    with join_world(device) as world:
        blocks = measure(world, device)
        if world.is_main:
            print(json.dumps(blocks))


if __name__ == "__main__":
    main()
