"""Packed data: `.npy` files, which training maps instead of loading, and the order in which an epoch reads examples.

    images.npy        uint8 [N, C, H, W]            of the kind `images`
    labels.npy        int64 [N], if there are labels
    test_images.npy   uint8 [M, C, H, W], if there are test images; test_labels.npy alike

    sequences.npy     float32 [S, I], the steps of all sequences, of the kind `sequences`
    offsets.npy       int64 [N + 1]: sequence n has the steps offsets[n] ≤ step < offsets[n + 1]
    labels.npy        int64 [N], indices of the classes

    packed.json       a `PackedRecord`

The order of an epoch is a permutation of all examples, or one of blocks and then within a window of them. Blocks are
examples that follow one another, about `BLOCK_BYTES` together: block b holds edges[b] ≤ n < edges[b + 1]. The order
depends on the seed and the epoch alone, so that a run resumes at any index of it, by any number of processes. Data in
memory and packed data have the same order.

Shapes: N examples, M test images, C channels, H height, W width, S steps of all sequences, I input size, B blocks.
"""

import math
import re
import shutil
import signal
import warnings
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from reviver.errors import DataError, Interrupted, RunFolderError, needing_train
from reviver.files.atomic import make_folder, write_json
from reviver.files.file_errors import explain_write_errors, reading
from reviver.files.read import read_json, validate_record
from reviver.settings.fields import Count, DataOrder
from reviver.settings.validation import JSON_LIST, Record
from reviver.system import handling_signals, sync

RECORD_NAME = "packed.json"
REMEDY = "restore the folder, or pack the data again"

Chunks = tuple[Sequence[int], Iterable[Tensor]]
"""Shape of an array, and its rows, some at a time."""
PackedKind = Literal["images", "sequences"]

LAYOUTS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(("images", "test_images"), ("|u1", 4)),
        **dict.fromkeys(("labels", "test_labels", "offsets"), ("<i8", 1)),
        "sequences": ("<f4", 2),
    }
)
"""dtype and number of dimensions of each array."""

BLOCK_BYTES = 4 << 20
"""Size of a block: 4 MiB."""
WINDOW_BLOCKS = 16
"""Blocks whose examples are permuted together by the order `blocks`: 64 MiB."""


class PackedRecord(Record):
    """Content of packed.json."""

    kind: PackedKind
    name: Annotated[str, Field(min_length=1)]
    classes: Annotated[tuple[str, ...], JSON_LIST]
    """Names of the classes, in the order of their indices; empty if they have none."""
    max_length: Count | None
    """T of the sequences, to which batches of an evaluation are sized; null for images."""


def is_packed(path: Path) -> bool:
    """Return whether a path is a folder with packed.json."""
    return (path / RECORD_NAME).exists()


def open_packed(path: Path, kind: PackedKind) -> PackedRecord:
    """Return the record of a packed folder; raise `DataError` if it is damaged or holds another kind of data."""
    location = path / RECORD_NAME
    with reading(location, REMEDY):
        content = read_json(location)
    record = validate_record(PackedRecord, content, location, REMEDY)
    if record.kind != kind:
        trainer = "gan train" if record.kind == "images" else "lstm train"
        raise DataError(f"data: {path} holds {record.kind}; give it to reviver {trainer}")
    return record


def map_array(folder: Path, name: str) -> Tensor:
    """Map an array, which must not be written to; DataError if it is damaged, or has not the dtype and dimensions of its name."""
    path, expected = folder / f"{name}.npy", LAYOUTS[name]
    with reading(path, REMEDY):
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        if (rows.dtype.str, rows.ndim) != expected or not rows.flags.c_contiguous:
            raise ValueError(f"it holds {rows.dtype} of shape {list(rows.shape)}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(rows)


def write_packed(
    out: Path,
    kind: PackedKind,
    name: str,
    arrays: Mapping[str, Chunks],
    *,
    classes: Sequence[str],
    max_length: int | None = None,
    progress: bool,
) -> dict[str, list[int]]:
    """Write the packed folder `out` and return the shape of each array; after an error or `Interrupted` nothing is left."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(f"{out}: stopped by {signal.Signals(number).name}; nothing was written", number)

    with needing_train("packing"):
        from reviver.progress import ProgressBar
    out = out.absolute()
    folder = out.with_name(f".{out.name}.part")
    megabytes = {
        array: prod(shape) * np.dtype(LAYOUTS[array][0]).itemsize / 10**6 for array, (shape, _) in arrays.items()
    }
    done = 0.0
    record = {"kind": kind, "name": re.sub(r"[\x00-\x1f\x7f]", "?", name), "classes": classes, "max_length": max_length}
    with (
        explain_write_errors(out),
        handling_signals(stop),
        ProgressBar(f"packing {name}", math.ceil(sum(megabytes.values())), "MB", visible=progress) as bar,
    ):
        make_folder(out.parent)
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
        folder.mkdir()
        try:
            for array, (shape, chunks) in arrays.items():
                path, dtype = folder / f"{array}.npy", LAYOUTS[array][0]
                with path.open("xb") as file:
                    header = {"descr": dtype, "fortran_order": False, "shape": tuple(shape)}
                    np.lib.format.write_array_header_1_0(file, header)
                    for chunk in chunks:
                        content = np.ascontiguousarray(chunk.numpy(), dtype)
                        file.write(content.data)
                        done += content.nbytes / 10**6
                        bar.update(done)
                sync(path)
            write_json(folder / RECORD_NAME, record)
            sync(folder)
            folder.replace(out)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        sync(out.parent)
    return {array: list(shape) for array, (shape, _) in arrays.items()}


def refuse_existing(out: Path) -> None:
    """Raise `RunFolderError` if something exists at `out`."""
    if out.exists() or out.is_symlink():
        raise RunFolderError(f"{out}: exists already and is never overwritten; choose another --out")


def equal_blocks(num_rows: int, row_bytes: int) -> Tensor:
    """Return the edges [B + 1] of blocks of equal rows: as many in each as fit, at least one; the last has the rest."""
    rows = max(1, BLOCK_BYTES // max(1, row_bytes))
    return torch.cat([torch.arange(0, num_rows, rows), torch.tensor([num_rows])])


def unequal_blocks(ends: Tensor) -> Tensor:
    """Return the edges [B + 1] of blocks of rows of different sizes, given the position in bytes after each, [N], N ≥ 1.

    A block ends with the row that reaches the next multiple of `BLOCK_BYTES`, so that a long row makes a larger block.
    """
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    block = starts // BLOCK_BYTES
    inner = torch.nonzero(block[1:] != block[:-1]).flatten() + 1
    return torch.cat([torch.tensor([0]), inner, torch.tensor([len(ends)])])


def epoch_order(order: DataOrder, edges: Tensor, rng: torch.Generator) -> Tensor:
    """Return the indices of the N examples, in blocks with `edges` [B + 1], in the order of an epoch, [N] int64.

    `full` is a permutation of all examples. `blocks` permutes the blocks, and then the examples of each window of
    `WINDOW_BLOCKS` blocks, so that an epoch reads the data block by block.
    """
    if order == "full":
        return torch.randperm(int(edges[-1]), generator=rng)
    parts = []
    for window in torch.randperm(len(edges) - 1, generator=rng).split(WINDOW_BLOCKS):
        bounds = zip(edges[window].tolist(), edges[window + 1].tolist(), strict=True)
        examples = torch.cat([torch.arange(begin, end) for begin, end in bounds])
        parts.append(examples[torch.randperm(len(examples), generator=rng)])
    return torch.cat(parts)
