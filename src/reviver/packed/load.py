"""Opening the arrays of a packed folder: large ones are mapped, small ones are loaded and verified.

Shapes: N examples.
"""

from typing import Any

import torch
from numpy.typing import NDArray

from reviver.io.errors import damaged_data_file
from reviver.packed.blocks import equal_blocks, unequal_blocks
from reviver.packed.format import REMEDY, ArrayName, PackedFolder
from reviver.packed.mapped import MappedArray


def map_images(folder: PackedFolder, name: ArrayName = "images") -> MappedArray:
    """Map images, uint8 [N, C, H, W].

    Raises:
        DataError: see `MappedArray`.
    """
    return _map_equal(folder, name)


def map_sequences(folder: PackedFolder) -> tuple[MappedArray, NDArray[Any]]:
    """Map the steps of sequences, float32 [S, I], and load their offsets, int64 [N + 1].

    Raises:
        DataError: if the offsets do not increase from 0 to S, or see `MappedArray`.
    """
    offsets = load_side(folder, "offsets")
    record = folder.record.arrays["sequences"]
    steps, channels = record.shape
    is_partition = offsets[0] == 0 and offsets[-1] == steps and bool((offsets[1:] > offsets[:-1]).all())
    if not is_partition:
        raise damaged_data_file(folder.file("offsets"), f"offsets must increase from 0 to {steps}", REMEDY)
    ends = torch.from_numpy(offsets[1:])
    blocks = unequal_blocks(4 * channels * ends, folder.record.block_bytes)  # in sequences
    edges = torch.from_numpy(offsets)[blocks]
    return MappedArray(folder.file("sequences"), record, edges), offsets


def load_side(folder: PackedFolder, name: ArrayName) -> NDArray[Any]:
    """Load a small array, such as labels or offsets, and verify it.

    Raises:
        DataError: if it has another checksum.
    """
    mapped = _map_equal(folder, name)
    for _ in mapped.verify_all():
        pass
    return mapped.rows.copy()


def _map_equal(folder: PackedFolder, name: ArrayName) -> MappedArray:
    """Map an array whose rows have the same size."""
    record = folder.record.arrays[name]
    edges = equal_blocks(record.shape[0], record.num_bytes // record.shape[0], folder.record.block_bytes)
    return MappedArray(folder.file(name), record, edges)
