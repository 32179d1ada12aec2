"""Classes of labeled sequences, and a stratified split into training and validation set."""

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from reviver.data.sequences.table import MAX_LISTED, SequenceTable, join_listed
from reviver.errors import DataError
from reviver.rng import make_rng
from reviver.text import short_repr

INTEGER = re.compile(r"[+-]?[0-9]{1,200}")


def class_names(table: SequenceTable) -> tuple[str, ...]:
    """Return the distinct labels in order: by value if all are integers, else alphabetically; DataError if there are < 2."""
    names = set(table.labels or ())
    if len(names) < 2:
        found = f"every row has the label {short_repr(min(names, default=''))}"
        raise DataError(f"{table.name}: labels: {found}; a classifier needs rows of at least 2 classes")
    are_integers = all(INTEGER.fullmatch(name) for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if are_integers else 0, name)))


def class_indices(table: SequenceTable, names: Sequence[str]) -> Tensor:
    """Return the index of the label of each of the N sequences among `names`, [N] int64; DataError if there is another."""
    assert table.labels is not None, "the table was read with labels"
    index_of = {name: index for index, name in enumerate(names)}
    unknown = [index for index, label in enumerate(table.labels) if label not in index_of]
    if unknown:
        first = [f"{table.row_name(index)}: {short_repr(table.labels[index])}" for index in unknown[:MAX_LISTED]]
        known = [short_repr(name) for name in names[: 2 * MAX_LISTED]]
        raise DataError(
            f"{table.name}: labels that were not there in training ({join_listed(first, len(unknown))}); known are "
            f"{join_listed(known, len(names), 2 * MAX_LISTED)}: correct the labels, "
            "take the rows out, or train on data that has them"
        )
    return torch.tensor([index_of[label] for label in table.labels], dtype=torch.int64)


def stratified_split(classes: Tensor, train_fraction: float, seed: int, name: str = "labels") -> tuple[Tensor, Tensor]:
    """Return the training and the validation rows, in order: random ones, with about the same frequencies of `classes` [N].

    A class with one row is in the training set. A larger class has at least one row in each set, even if
    `train_fraction` of its rows rounds to none or to all. The same arguments give the same split.

    Raises:
        DataError: if no class has two rows, so that the validation set would be empty; it begins with `name`.
    """
    by_class = classes.argsort(stable=True)
    groups = [rows for rows in by_class.split(torch.bincount(classes).tolist()) if len(rows)]
    groups.sort(key=lambda rows: int(rows[0]))  # in the order in which the classes appear
    sizes = [len(rows) for rows in groups]
    if max(sizes, default=0) < 2:
        raise DataError(
            f"{name}: none of the {len(sizes)} classes has a second row, so that none is left for validation; "
            "give at least 2 rows of a class, and check that the column of labels is the right one"
        )
    rng = make_rng(seed, "split")
    shuffled = [rows[torch.randperm(len(rows), generator=rng)] for rows in groups]
    parts = [
        rows.tensor_split([size]) for rows, size in zip(shuffled, _train_sizes(sizes, train_fraction), strict=True)
    ]
    train, validation = (torch.cat(rows).sort().values for rows in zip(*parts, strict=True))
    return train, validation


def _train_sizes(counts: Sequence[int], fraction: float) -> list[int]:
    """Return the number of training rows of each class, by the largest remainder method."""
    limits = [max(1, count - 1) for count in counts]
    sizes = [min(max(math.floor(fraction * count), 1), limit) for count, limit in zip(counts, limits, strict=True)]
    missing = round(fraction * sum(counts)) - sum(sizes)
    for k in sorted(range(len(counts)), key=lambda k: sizes[k] - fraction * counts[k]):
        if missing > 0 and sizes[k] < limits[k]:
            sizes[k] += 1
            missing -= 1
    return sizes
