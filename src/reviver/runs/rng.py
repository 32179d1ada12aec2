"""Where random numbers come from: one named stream for each purpose.

Streams are independent of each other, so that, say, drawing one more batch of samples changes no
training step, and a run's weights do not depend on how many masks it draws.
"""

import hashlib

import torch


def make_rng(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator on `device` for `purpose`; the same seed and purpose give the same numbers."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    generator = torch.Generator(device=device)
    generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return generator
