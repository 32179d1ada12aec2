"""Labelled sequences of numbers: the table, its classes, its scale, its two parts.

Shapes: N sequences, T steps of the longest, I channels a step.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from reviver.errors import DataError
from reviver.runs.rng import make_rng
from reviver.text import short_repr
from reviver.validation import JSON_LIST, Record, check

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,200}")
SHOWN = 3
"""So many bad rows, unknown labels and the like an error spells out; the rest it counts."""
CHUNK_NUMBERS = 1 << 22
"""So many numbers are turned into float64 at a time."""


@dataclass(frozen=True, eq=False)
class SequenceTable:
    """Sequences of one file, padded to one length."""

    x: Tensor
    """The numbers, [N, T, I] float32; 0 beyond a sequence's end."""
    lengths: Tensor
    """Steps of each sequence, from 1 to T, [N] int64."""
    labels: tuple[str, ...] | None
    """The class of each sequence, as text; None if they have none."""
    rows: tuple[int, ...]
    """Where each sequence stands in the file."""
    row_format: str
    """How a message calls that place: `row {}` of a CSV file as a spreadsheet counts (the header is row 1),
    `row index {}` of a Parquet file as pandas counts (from 0), `x[{}]` of an .npz file."""
    name: str
    """What the file is called."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> "SequenceTable":
        """The sequences at `index` (int64), as long padded as before."""
        places = index.tolist()
        labels = None if self.labels is None else tuple(self.labels[place] for place in places)
        rows = tuple(self.rows[place] for place in places)
        return SequenceTable(self.x[index], self.lengths[index], labels, rows, self.row_format, self.name)

    def row_name(self, index: int) -> str:
        """What messages call sequence number `index`."""
        return self.row_format.format(self.rows[index])


class SplitRows(NamedTuple):
    """Disjoint parts of a table: places of its sequences, int64, in the file's order."""

    train: Tensor
    validation: Tensor


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels in order: of their value if all are integers, else of their text.

    Raises:
        DataError: if there are fewer than two.
    """
    names = set(labels)
    if len(names) < 2:
        which = f"every row has the label {short_repr(next(iter(names)))}" if names else "there are no rows"
        raise DataError(f"labels: {which}; a classifier needs rows of at least 2 classes")
    is_whole = all(WHOLE_NUMBER.fullmatch(name) for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if is_whole else 0, name)))


def class_indices(table: SequenceTable, names: Sequence[str]) -> Tensor:
    """The place in `names` of each sequence's label, [N] int64.

    Raises:
        DataError: if a label is not among `names`, or there are none.
    """
    if table.labels is None:
        raise DataError(f"{table.name}: the sequences were read without labels; give a file that has them")
    place = {name: index for index, name in enumerate(names)}
    unknown = [index for index, label in enumerate(table.labels) if label not in place]
    if unknown:
        first = [f"{table.row_name(index)}: {short_repr(table.labels[index])}" for index in unknown[:SHOWN]]
        raise DataError(
            f"{table.name}: labels that were not there in training ({listed(first, len(unknown))}); known are "
            f"{listed([short_repr(name) for name in names[: 2 * SHOWN]], len(names), 2 * SHOWN)}: correct the labels, "
            "take the rows out, or train on data that has them"
        )
    return torch.tensor([place[label] for label in table.labels], dtype=torch.int64)


def split_rows(labels: Sequence[str], train_fraction: float, seed: int) -> SplitRows:
    """Divide rows at random into two parts in which each class has its share, rounded.

    A class of one row goes to training; a larger one has at least one row in each part, even where
    `train_fraction` of its rows would round to none or all. The same arguments give the same parts.

    Raises:
        ConfigError: if `train_fraction` is not between 0 and 1.
        DataError: if no class has two rows, so that nothing is left to validate on.
    """
    check("train_fraction", train_fraction, Annotated[float, Field(gt=0, lt=1)])
    of_class: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        of_class[label].append(index)
    counts = [len(rows) for rows in of_class.values()]
    if max(counts, default=0) < 2:
        raise DataError(
            f"labels: none of the {len(counts)} classes has a second row, so that none is left for validation; "
            "give at least 2 rows of a class, and check that the column of labels is the right one"
        )
    generator = make_rng(seed, "split")
    train: list[int] = []
    validation: list[int] = []
    for rows, size in zip(of_class.values(), _train_sizes(counts, train_fraction), strict=True):
        order = torch.randperm(len(rows), generator=generator).tolist()
        train += [rows[place] for place in order[:size]]
        validation += [rows[place] for place in order[size:]]
    return SplitRows(torch.tensor(sorted(train)), torch.tensor(sorted(validation)))


def _train_sizes(counts: Sequence[int], fraction: float) -> list[int]:
    """How many rows of each class go to training: shares rounded down, what is left to the largest remainders."""
    most = [max(1, count - 1) for count in counts]
    sizes = [min(max(math.floor(fraction * count), 1), limit) for count, limit in zip(counts, most, strict=True)]
    left = round(fraction * sum(counts)) - sum(sizes)
    by_remainder = sorted(range(len(counts)), key=lambda place: sizes[place] - fraction * counts[place])
    for place in by_remainder:
        if left > 0 and sizes[place] < most[place]:
            sizes[place] += 1
            left -= 1
    return sizes


class Standardisation(Record):
    """x' = (x - mean) / scale for each channel, so that the training data has mean 0 and standard deviation 1."""

    mean: Annotated[tuple[float, ...], JSON_LIST, Field(min_length=1)]
    """[I]."""
    scale: Annotated[tuple[Annotated[float, Field(gt=0)], ...], JSON_LIST]
    """[I], above 0; 1 for a channel that never changes."""

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        if len(self.mean) != len(self.scale):
            raise ValueError(f"must have as many means as scales, got {len(self.mean)} and {len(self.scale)}")
        return self

    @classmethod
    def fit(cls, x: Tensor, lengths: Tensor) -> "Standardisation":
        """Measure the steps of sequences x [N, T, I], padding left out, in float64: give the training part only."""
        channels = x.shape[2]
        count = int(lengths.sum())
        low = torch.full((channels,), math.inf, dtype=torch.float64)
        high, total, squares = -low, torch.zeros_like(low), torch.zeros_like(low)
        for part, inside in _chunks(x, lengths):
            steps = part[inside].double()  # [steps, I]
            low = torch.minimum(low, steps.amin(0))
            high = torch.maximum(high, steps.amax(0))
            total += steps.sum(0)
        mean = torch.where(low == high, low, total / count)  # rounding would make a constant seem to vary
        for part, inside in _chunks(x, lengths):
            squares += (part[inside].double() - mean).square().sum(0)
        scale = torch.where(low == high, 1.0, (squares / count).sqrt())
        return cls(mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))

    def apply(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Standardise x [N, T, I]; padding stays 0.

        Raises:
            DataError: if x has another number of channels, or is so far from the training data that float32
                cannot hold it.
        """
        if x.shape[2] != len(self.mean):
            raise DataError(
                f"data: it has {x.shape[2]} channels a step and the training data had {len(self.mean)}; "
                "give data of the same kind"
            )
        mean = torch.tensor(self.mean, dtype=torch.float64)
        scale = torch.tensor(self.scale, dtype=torch.float64)
        result = torch.zeros_like(x)
        filled = 0
        for part, inside in _chunks(x, lengths):
            standard = ((part.double() - mean) / scale).float()
            result[filled : filled + len(part)] = torch.where(inside.unsqueeze(2), standard, 0.0)
            filled += len(part)
        if not result.isfinite().all():
            raise DataError("data: its numbers are too far from those of the training data; give data of the same kind")
        return result


def _chunks(x: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Parts of x [n, T, I], each with which of its steps are no padding [n, T]."""
    size = max(1, CHUNK_NUMBERS // max(1, x.shape[1] * x.shape[2]))
    steps = torch.arange(x.shape[1])
    for part, ends in zip(x.split(size), lengths.split(size), strict=True):
        yield part, steps < ends.unsqueeze(1)


def listed(items: Sequence[str], count: int, limit: int = SHOWN) -> str:
    """The first `limit` of `count` items, and how many more there are."""
    text = ", ".join(items[:limit])
    return f"{text}, and {count - limit} more" if count > limit else text
