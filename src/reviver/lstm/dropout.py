"""Dropout masks of the hidden state, as a function of a seed and of where the unit stands.

Shapes: B batch, T time, H hidden size.

A mask is not drawn from a stream but computed from (seed, t, b, unit): in any order, by any number of
threads, forward and again backward, the bits are the same. `operator.cpp` computes the same function.

- SplitMix64 (Steele, Lea & Flood 2014) turns the seed and the place (t, b) of a row into the row's 64-bit key.
- Two rounds of multiply and xor-shift (the constants of Ettinger's "low bias" search) turn the key and the
  number of the unit into 32 bits, which stand for a number in [0, 1).
"""

import torch
from torch import Tensor

from reviver.lstm.choices import DropoutKind

_LOW_32 = 0xFFFFFFFF


def draw_seed(generator: torch.Generator | None = None) -> Tensor:
    """Draw the seed of a call from `generator` (torch's own by default): int64, []."""
    device = None if generator is None else generator.device
    return torch.randint(0, 2**63 - 1, (), dtype=torch.int64, generator=generator, device=device)


def dropout_masks(seed: Tensor, steps: int, batch: int, units: int, p: float, kind: DropoutKind) -> Tensor:
    """Return the masks m of all steps, [T, B, H], on the seed's device, as float64.

    A unit that is kept has 1 / (1 - p) (1 in zoneout), the others 0.
    """
    t, b = torch.arange(steps, device=seed.device), torch.arange(batch, device=seed.device)
    key = row_keys(seed, t[:, None] * (kind != "variational"), b)  # [T, B]; variational masks are all those of step 0
    bits = unit_bits(key[:, :, None], torch.arange(units, device=seed.device))  # [T, B, H]
    threshold = min(int(p * 2**32 + 0.5), _LOW_32)
    return (bits >= threshold).to(torch.float64).mul_(1.0 if kind == "zoneout" else 1.0 / (1.0 - p))


def row_keys(seed: Tensor, t: Tensor, b: Tensor) -> Tensor:
    """Return the 64-bit key of row b at step t: the number (t·2³² + b) of SplitMix64's sequence from `seed`."""
    z = seed + ((t << 32) + b + 1) * _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shifted_right(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted_right(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted_right(z, 31)


def unit_bits(key: Tensor, unit: Tensor) -> Tensor:
    """Return 32 random bits, as a number in [0, 2³²), for a unit of the row with this key."""
    x = (unit * 0x9E3779B9 + key) & _LOW_32
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & _LOW_32
    x = (x + _shifted_right(key, 32)) & _LOW_32
    x = ((x ^ (x >> 15)) * 0xD35A2D97) & _LOW_32
    return x ^ (x >> 15)


def _signed(value: int) -> int:
    """The signed 64-bit integer with the bits of `value`."""
    return value - 2**64 if value >= 2**63 else value


def _shifted_right(z: Tensor, n: int) -> Tensor:
    """Shift 64 bits right, filling in zeros (torch's shift of a signed integer repeats the sign)."""
    return (z >> n) & ((1 << (64 - n)) - 1)
