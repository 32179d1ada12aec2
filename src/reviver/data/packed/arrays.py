"""A packed folder: `.npy` files, which are mapped, and packed.json with their checksums; its writer and its reader.

    images.npy        uint8 [N, C, H, W]            of the kind `images`
    labels.npy        int64 [N], if there are labels
    test_images.npy   uint8 [M, C, H, W], if there are test images; test_labels.npy alike

    sequences.npy     float32 [S, I], the steps of all sequences, of the kind `sequences`
    offsets.npy       int64 [N + 1]: sequence n has the steps offsets[n] ≤ step < offsets[n + 1]
    labels.npy        int64 [N], indices of the classes

    packed.json       a `PackedRecord`

A folder is not trusted: packed.json and all bytes of an array are compared with their checksums before they are used.

Shapes: N examples, M test images, C channels, H height, W width, S steps of all sequences, I input size.
"""

import hashlib
import json
import re
import signal
import warnings
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from reviver.errors import DataError, Interrupted, RunFolderError, needing_train
from reviver.files.atomic import atomic_folder, make_folder, write_json
from reviver.files.file_errors import damaged_data_file, explain_write_errors
from reviver.files.json import read_json, validate_record
from reviver.files.npz import map_npy
from reviver.files.read import open_file, reject_external_links
from reviver.settings.fields import Count
from reviver.settings.validation import JSON_LIST, Record
from reviver.system import handling_signals
from reviver.text import one_line

FORMAT = 1
RECORD_NAME = "packed.json"
MAX_RECORD_BYTES = 1 << 26
REMEDY = "restore the folder, or pack the data again"

Chunks = tuple[Sequence[int], Iterable[Tensor]]
"""Shape of an array, and its rows, some at a time."""
PackedKind = Literal["images", "sequences"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

LAYOUTS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(("images", "test_images"), ("|u1", 4)),
        **dict.fromkeys(("labels", "test_labels", "offsets"), ("<i8", 1)),
        "sequences": ("<f4", 2),
    }
)
"""dtype and number of dimensions of each array."""


class ArrayRecord(Record):
    """Description of one array."""

    shape: Annotated[tuple[Count, ...], JSON_LIST]
    sha256: Sha256
    """SHA-256 of all bytes, without the header."""


class PackedRecord(Record):
    """Content of packed.json."""

    format: int
    kind: PackedKind
    name: Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
    """Name of the data, as runs record it."""
    classes: Annotated[tuple[Annotated[str, Field(max_length=255)], ...], JSON_LIST]
    """Names of the classes, in the order of their indices; empty if they have none."""
    max_length: Count | None
    """T of the sequences, to which batches of an evaluation are sized; null for images."""
    arrays: dict[str, ArrayRecord]
    checksum: Sha256
    """SHA-256 of this object without `checksum`, see `checksum_of`."""


def is_packed(path: Path) -> bool:
    """Return whether a path is a folder with packed.json."""
    return (path / RECORD_NAME).exists()


def open_packed(path: Path, kind: PackedKind) -> PackedRecord:
    """Return the record of a packed folder.

    Raises:
        DataError: if it holds another kind of data, is of another format, is damaged, or has links that leave it.
    """
    location = path / RECORD_NAME
    try:
        reject_external_links(path)
        content = read_json(location, MAX_RECORD_BYTES)
    except (OSError, ValueError) as error:
        raise damaged_data_file(path, f"it cannot be read ({one_line(error)})", REMEDY) from error
    if content.get("format") != FORMAT:
        raise damaged_data_file(location, f"its format is not {FORMAT}, which this version reads", REMEDY)
    record = validate_record(PackedRecord, content, location, REMEDY)
    if checksum_of(content) != record.checksum:
        raise damaged_data_file(location, "its checksum differs", REMEDY)
    if record.kind != kind:
        trainer = "gan train" if record.kind == "images" else "lstm train"
        raise DataError(f"data: {path} holds {record.kind}; give it to reviver {trainer}")
    return record


def map_array(folder: Path, record: PackedRecord, name: str) -> Tensor:
    """Map an array: the operating system reads a page of it when it is used. All bytes are compared with the checksum.

    The result must not be written to. If another program truncates the file later, SIGBUS ends the process.

    Raises:
        DataError: if it is missing, or is not the array that was packed.
    """
    if name not in record.arrays:
        raise damaged_data_file(folder / RECORD_NAME, f"must have the array {name}", REMEDY)
    path, expected = folder / f"{name}.npy", record.arrays[name]
    rows = map_npy(path, remedy=REMEDY)
    size = rows.offset + rows.nbytes
    if (rows.dtype.str, rows.ndim) != LAYOUTS[name] or rows.shape != expected.shape or not rows.flags.c_contiguous:
        problem = f"it holds {rows.dtype} of shape {list(rows.shape)}, not what {RECORD_NAME} describes"
        raise damaged_data_file(path, problem, REMEDY)
    if path.stat().st_size != size:
        raise damaged_data_file(path, f"it has {path.stat().st_size} bytes instead of {size}", REMEDY)
    try:
        with open_file(path) as file:
            file.seek(rows.offset)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise damaged_data_file(path, f"it cannot be read ({error})", REMEDY) from error
    if digest != expected.sha256:
        raise damaged_data_file(path, "it has another checksum than when packed", REMEDY)
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
    """Write the packed folder `out`, see `PackedRecord`, and return the shape of each array; after an error nothing is left.

    Raises:
        RunFolderError: if `out` exists or cannot be written.
        Interrupted: at SIGINT or SIGTERM.
    """

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(f"{out}: stopped by {signal.Signals(number).name}; nothing was written", number)

    with needing_train("packing"):
        from reviver.progress import ProgressBar
    refuse_existing(out)
    with explain_write_errors(out):
        make_folder(out.absolute().parent)
    total = sum(prod(shape) * np.dtype(LAYOUTS[array][0]).itemsize for array, (shape, _) in arrays.items())
    done = 0
    records: dict[str, dict[str, Any]] = {}
    with (
        handling_signals(stop),
        atomic_folder(out.absolute()) as folder,
        ProgressBar(f"packing {name}", -(-total // 10**6), "MB", visible=progress) as bar,
    ):
        for array, (shape, chunks) in arrays.items():
            dtype, digest = LAYOUTS[array][0], hashlib.sha256()
            with (folder / f"{array}.npy").open("xb") as file:
                header = {"descr": dtype, "fortran_order": False, "shape": tuple(shape)}
                np.lib.format.write_array_header_1_0(file, header)
                for chunk in chunks:
                    content = np.ascontiguousarray(chunk.numpy(), dtype).ravel().view(np.uint8).data
                    file.write(content)
                    digest.update(content)
                    done += len(content)
                    bar.update(done / 10**6)
            records[array] = {"shape": list(shape), "sha256": digest.hexdigest()}
        assert done == total, "all rows are written"
        record: dict[str, Any] = {"format": FORMAT, "kind": kind, "name": re.sub(r"[\x00-\x1f\x7f]", "?", name)}
        record |= {"classes": list(classes), "max_length": max_length, "arrays": records}
        write_json(folder / RECORD_NAME, {**record, "checksum": checksum_of(record)})
    return {array: described["shape"] for array, described in records.items()}


def refuse_existing(out: Path) -> None:
    """Raise `RunFolderError` if something exists at `out`."""
    if out.exists() or out.is_symlink():
        raise RunFolderError(f"{out}: exists already and is never overwritten; choose another --out")


def checksum_of(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the JSON of a record without its key `checksum`, with sorted keys and without spaces."""
    rest = {key: value for key, value in record.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
