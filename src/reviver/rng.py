"""Random number generators: an independent one for each purpose.

So another batch of samples does not change training, and the initial weights do not depend on the dropout masks.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def make_rng(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new random number generator on `device`, seeded by a hash of `seed` and `purpose`.

    The same seed and purpose give the same numbers. In this package, `purpose` must never change: saved results depend
    on it.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    rng = torch.Generator(device=device)
    rng.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return rng


@contextmanager
def seeding_default_rngs(seed: int, device: torch.device) -> Iterator[dict[str, torch.Generator]]:
    """Seed the default generators of torch, from which user-defined code draws, and yield them by name.

    A checkpoint saves their states. Afterward they are as they were before.
    """
    is_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        torch.manual_seed(make_rng(seed, "default").initial_seed())
        rngs = {"default": torch.default_generator}
        if is_cuda:
            index = torch.cuda.current_device() if device.index is None else device.index
            rngs["default-cuda"] = torch.cuda.default_generators[index]
        yield rngs
