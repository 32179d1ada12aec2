"""Standardization of sequences: mean 0 and standard deviation 1 per channel.

Shapes: N sequences, T steps of the longest, I channels per step.
"""

import math
from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from reviver.errors import DataError
from reviver.settings.validation import JSON_LIST, Record

CHUNK_NUMBERS = 1 << 22
"""Number of values that are added up at a time."""


class Standardization(Record):
    """The transformation x' = (x - mean) / scale of each channel, fitted on the training set."""

    mean: Annotated[tuple[float, ...], JSON_LIST, Field(min_length=1)]
    """Mean of each channel, [I]."""
    scale: Annotated[tuple[Annotated[float, Field(gt=0)], ...], JSON_LIST]
    """Standard deviation of each channel, [I]; 1 for a constant channel."""

    @classmethod
    def fit(cls, x: Tensor, lengths: Tensor, rows: Tensor | None = None) -> "Standardization":
        """Return the standardization of sequences x [N, T, I] of `lengths` [N], in float64, without the padding.

        With `rows`, it is that of some of them, whose numbers a network reads as float32.
        """
        parts = (torch.arange(len(x)) if rows is None else rows).split(chunk_size(*x.shape[1:]))
        inside = torch.arange(x.shape[1])

        def chunks() -> Iterator[Tensor]:
            """Yield the steps of some sequences at a time, [n, I]."""
            for part in parts:
                numbers = x[part] if rows is None else x[part].float()
                yield numbers[inside < lengths[part].unsqueeze(1)].double()

        count, minimum, maximum, total = 0, torch.tensor(math.inf), torch.tensor(-math.inf), torch.tensor(0.0)
        for steps in chunks():
            count += len(steps)
            minimum = torch.minimum(minimum, steps.amin(0))
            maximum = torch.maximum(maximum, steps.amax(0))
            total = total + steps.sum(0)
        is_constant = minimum == maximum  # by the values: rounding of the mean would give a tiny deviation
        mean = torch.where(is_constant, minimum, total / count)
        squares = torch.zeros_like(mean)
        for steps in chunks():
            squares += (steps - mean).square().sum(0)
        scale = torch.where(is_constant, 1.0, (squares / count).sqrt())
        return cls(mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))

    def apply(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the sequences x [N, T, I] of `lengths` [N] standardized, float32; the padding stays 0.

        Raises:
            DataError: if x has another number of channels, or a result does not fit into float32.
        """
        if x.shape[2] != len(self.mean):
            problem = f"{x.shape[2]} channels a step and the training data had {len(self.mean)}"
            raise DataError(f"data has {problem}; give data of the same kind")
        mean = torch.tensor(self.mean, dtype=torch.float64)
        scale = torch.tensor(self.scale, dtype=torch.float64)
        is_inside = torch.arange(x.shape[1]) < lengths.unsqueeze(1)  # [N, T]
        result = torch.where(is_inside.unsqueeze(2), ((x.double() - mean) / scale).float(), 0.0)
        if not result.isfinite().all():
            raise DataError("data: its numbers are too far from those of the training data; give data of the same kind")
        return result


def chunk_size(steps: int, channels: int) -> int:
    """Return the number of sequences of T = `steps` steps and I = `channels` channels in a chunk."""
    return max(1, CHUNK_NUMBERS // max(1, steps * channels))
