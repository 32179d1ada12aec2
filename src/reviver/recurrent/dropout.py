"""Dropout of the hidden state: masks as a function of a seed, and how they apply to a step.

Shapes: B batch, T time, H size of the hidden state (of its projection, if the cell has one).

A mask is a pure function of (seed, t, b, unit), not the next numbers of a generator. So forward and backward pass,
any order and any number of threads compute the same bits. The native kernel computes the same function
(`kernel/dropout.h`).

- SplitMix64 (Steele, Lea & Flood 2014) maps the seed and the index (t, b) of a row to the 64-bit key of the row.
- Two rounds of multiply and xor-shift (constants of Ettinger's "low bias" search) map the key and the index of the
  unit to 32 bits, a uniform number in [0, 1).
"""

import torch
from torch import Tensor

from reviver.rng import Rng, RowsRng
from reviver.settings.lstm_network import DropoutKind, LSTMOptions

_LOW_32 = 0xFFFFFFFF
_LOW_64 = 0xFFFFFFFFFFFFFFFF
_ROW_STEP = 0x9E3779B97F4A7C15
"""Step of SplitMix64 from one row to the next: 2^64 divided by the golden ratio, rounded to an odd number."""


def draw_seed(rng: Rng = None) -> Tensor:
    """Return a random seed for the masks of a batch of sequences, int64, []."""
    if isinstance(rng, RowsRng):
        return skip_rows(draw_seed(rng.generator), rng.rows.begin)
    device = None if rng is None else rng.device
    return torch.randint(0, 2**63 - 1, (), dtype=torch.int64, generator=rng, device=device)


def skip_rows(seed: Tensor, count: int) -> Tensor:
    """Return the seed whose masks of row b are those of row b + `count` of `seed`, for all steps and units.

    A process that computes only the rows from `count` of a larger batch thus has the masks of one that computes all.
    """
    return seed + _signed(count * _ROW_STEP & _LOW_64)  # see `row_keys`, modulo 2^64


def apply_dropout(h: Tensor, h_previous: Tensor, mask: Tensor, kind: DropoutKind) -> Tensor:
    """Return the hidden state of a step after dropout.

        step, variational:  m_t ⊙ h_t
        zoneout:            m_t ⊙ h_t + (1 - m_t) ⊙ h_{t-1}

    All are [B, H]: `h` is the hidden state that the cell computes, `h_previous` the one before, and m_t `mask`.
    """
    return mask * h + (1.0 - mask) * h_previous if kind == "zoneout" else mask * h  # [B, H]


def hidden_masks(x: Tensor, hidden_size: int, options: LSTMOptions, seed: Tensor | None) -> Tensor | None:
    """Return the masks m of all steps of a sequence x [T, B, I], [T, B, H], or None if the hidden state stays as it is.

    In eval mode, where `seed` is None, only zoneout has a mask: 1 - p everywhere.
    """
    steps, batch, _ = x.shape
    p, kind = options.hidden_dropout, options.hidden_dropout_kind
    if seed is not None:
        return dropout_masks(seed.to(x.device), steps, batch, hidden_size, p, kind).to(x.dtype)
    if kind == "zoneout" and p > 0.0:
        return x.new_full((1, 1, 1), 1.0 - p).expand(steps, batch, hidden_size)
    return None


def dropout_masks(seed: Tensor, steps: int, batch: int, hidden_size: int, p: float, kind: DropoutKind) -> Tensor:
    """Return random masks m of all steps, [T, B, H] float64, on the device of `seed`.

    A dropped unit has 0, another 1 / (1 - p), or 1 in zoneout.
    """
    t, b = torch.arange(steps, device=seed.device), torch.arange(batch, device=seed.device)
    key = row_keys(seed, t[:, None] * (kind != "variational"), b)  # [T, B]; variational masks are those of step 0
    bits = unit_bits(key[:, :, None], torch.arange(hidden_size, device=seed.device))  # [T, B, H]
    threshold = min(int(p * 2**32 + 0.5), _LOW_32)
    return (bits >= threshold).to(torch.float64).mul_(1.0 if kind == "zoneout" else 1.0 / (1.0 - p))


def row_keys(seed: Tensor, t: Tensor, b: Tensor) -> Tensor:
    """Return the 64-bit key of row b at step t: output (t·2³² + b) of SplitMix64 seeded with `seed`."""
    z = seed + ((t << 32) + b + 1) * _signed(_ROW_STEP)
    z = (z ^ _shift_right(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift_right(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shift_right(z, 31)


def unit_bits(key: Tensor, unit: Tensor) -> Tensor:
    """Return 32 random bits, an integer in [0, 2³²), for a unit of the row with this key."""
    x = (unit * 0x9E3779B9 + key) & _LOW_32
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & _LOW_32
    x = (x + _shift_right(key, 32)) & _LOW_32
    x = ((x ^ (x >> 15)) * 0xD35A2D97) & _LOW_32
    return x ^ (x >> 15)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _shift_right(z: Tensor, n: int) -> Tensor:
    """Shift 64 bits right and fill with zeros (torch shifts a signed integer arithmetically)."""
    return (z >> n) & ((1 << (64 - n)) - 1)
