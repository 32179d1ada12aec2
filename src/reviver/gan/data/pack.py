"""Packing of images: `reviver data pack` for everything that `gan train --data` reads."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reviver.errors import DataError
from reviver.gan.data.image_files import class_folders
from reviver.gan.data.stream import ImageStream, stream_images
from reviver.packed.blocks import equal_blocks
from reviver.packed.format import ArrayName
from reviver.packed.write import PackedWriter, new_packed_folder, refuse_existing
from reviver.runs.progress import ProgressBar

_log = logging.getLogger(__name__)


def pack_images(source: str, out: Path, image_size: int = 28, *, progress: bool = False) -> dict[str, list[int]]:
    """Write the images of a source, with their labels and the test images that belong to them, to a packed folder.

    Args:
        source: source of the images, see `load_images`.
        out: folder that must not exist.
        image_size: height and width, pixels.
        progress: whether to show a progress bar.

    Returns:
        The shape of each array by name.

    Raises:
        DataError: see `load_images`.
        RunFolderError: if `out` exists or cannot be written.
        Interrupted: at SIGINT or SIGTERM; nothing is left then.
    """
    refuse_existing(out)
    streams = {"images": stream_images(source, image_size)}
    problem = ""
    try:
        test = stream_images(source, image_size, "test")
        if test.shape[1:] == streams["images"].shape[1:]:
            streams["test_images"] = test
    except DataError as error:
        problem = str(error)
    total = sum(np.prod(stream.shape, dtype=np.int64) for stream in streams.values())
    classes = class_folders(Path(source)) if streams["images"].labels is not None else None
    done = 0

    def report(size: int) -> None:
        nonlocal done
        done += size
        bar.update(done / 10**6)

    with (
        ProgressBar(f"packing {streams['images'].name}", -(-int(total) // 10**6), "MB", visible=progress) as bar,
        new_packed_folder(out, "images", streams["images"].name, source, classes or None, report) as writer,
    ):
        if problem:
            _log.info("packing without test images (%s)", problem)
        _write_stream(writer, "images", "labels", streams["images"])
        if "test_images" in streams:
            _write_stream(writer, "test_images", "test_labels", streams["test_images"])
    return {name: array["shape"] for name, array in writer.arrays.items()}


def _write_stream(writer: PackedWriter, name: ArrayName, labels_name: ArrayName, stream: ImageStream) -> None:
    """Write images and their labels."""
    count = stream.shape[0]
    edges = equal_blocks(count, int(np.prod(stream.shape[1:])))
    chunks: Iterator[NDArray[Any]] = (chunk.numpy() for chunk in stream.chunks)
    writer.write(name, "uint8", stream.shape, edges, chunks)
    if stream.labels is not None:
        writer.write(labels_name, "int64", (count,), equal_blocks(count, 8), iter([stream.labels.numpy()]))
