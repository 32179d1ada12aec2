"""Random number generators: an independent one for each purpose.

So another batch of samples does not change training, and the initial weights do not depend on the dropout masks.
"""

import hashlib

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
