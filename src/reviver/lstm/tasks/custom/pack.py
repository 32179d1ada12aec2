"""Packing of sequences: `reviver data pack` for everything that `lstm train --data` reads.

Shapes: N sequences, T steps of the longest, S steps of all sequences, I channels per step.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reviver.lstm.tasks.custom.labels import class_indices, class_names
from reviver.lstm.tasks.custom.reader import read_sequences
from reviver.lstm.tasks.custom.standardisation import chunk_size
from reviver.lstm.tasks.custom.table import SequenceTable
from reviver.packed.blocks import equal_blocks, unequal_blocks
from reviver.packed.write import new_packed_folder, refuse_existing
from reviver.runs.progress import ProgressBar


def pack_sequences(
    path: Path, out: Path, *, sequence_column: str = "sequence", label_column: str = "label", progress: bool = False
) -> dict[str, list[int]]:
    """Write the labelled sequences of a file to a packed folder, without padding.

    Args:
        path: file, see `read_sequences`.
        out: folder that must not exist.
        sequence_column: column of the sequences.
        label_column: column of the labels.
        progress: whether to show a progress bar.

    Returns:
        The shape of each array by name.

    Raises:
        ConfigError, DataError: see `read_sequences`, and if there are fewer than two classes.
        RunFolderError: if `out` exists or cannot be written.
        Interrupted: at SIGINT or SIGTERM; nothing is left then.
    """
    refuse_existing(out)
    table = read_sequences(path, sequence_column=sequence_column, label_column=label_column)
    assert table.labels is not None, "read_sequences reads them by default"
    classes = class_names(table.labels)
    labels = class_indices(table, classes)
    count, max_length, channels = table.x.shape
    ends = table.lengths.cumsum(0)
    offsets = torch.cat([torch.tensor([0]), ends])
    blocks = unequal_blocks(ends * 4 * channels)
    steps = int(ends[-1])
    done = 0

    def report(size: int) -> None:
        nonlocal done
        done += size
        bar.update(done / 10**6)

    total = 4 * steps * channels + 16 * count + 8
    with (
        ProgressBar(f"packing {path.name}", -(-total // 10**6), "MB", visible=progress) as bar,
        new_packed_folder(out, "sequences", path.name, str(path), classes, report, max_length) as writer,
    ):
        writer.write("sequences", "float32", (steps, channels), offsets[blocks], _steps(table))
        writer.write("offsets", "int64", (count + 1,), equal_blocks(count + 1, 8), iter([offsets.numpy()]))
        writer.write("labels", "int64", (count,), equal_blocks(count, 8), iter([labels.numpy()]))
    return {name: array["shape"] for name, array in writer.arrays.items()}


def _steps(table: SequenceTable) -> Iterator[NDArray[Any]]:
    """Yield the steps of some sequences at a time, [n, I], without padding."""
    size = chunk_size(*table.x.shape[1:])
    positions = np.arange(table.x.shape[1])
    for x, lengths in zip(table.x.split(size), table.lengths.split(size), strict=True):
        yield x.numpy()[positions < lengths.numpy()[:, None]]
