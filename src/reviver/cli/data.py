"""`reviver data`: pack data, so that training maps it instead of loading it."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from reviver.cli import options
from reviver.settings.fields import Text
from reviver.settings.gan import MAX_IMAGE_SIZE

SEQUENCE_SUFFIXES = (".csv", ".parquet")
"""Suffixes that only sequences have; an .npz may hold either."""


def pack(
    source: Annotated[Text, Parameter(name="SOURCE", help="Data as gan train or lstm train reads it with --data.")],
    /,
    *,
    out: Text,
    kind: Literal["images", "sequences"] | None = None,
    image_size: Annotated[int, Field(ge=4, le=MAX_IMAGE_SIZE)] | None = None,
    sequence_column: Text | None = None,
    label_column: Text | None = None,
    common: options.CommonOptions = options.DEFAULTS,
) -> None:
    """Pack images or sequences into a folder that training reads a little at a time, so that it may exceed the memory.

    Examples:
      reviver data pack photos/ --image-size 64 --out packed
      reviver gan train --data packed --image-size 64 --order blocks
      reviver data pack series.parquet --out packed-series
      reviver lstm train --data packed-series --order blocks

    Args:
        out: Folder to write; it must not exist.
        kind: Kind of the data; by default sequences for a .csv, a .parquet or an .npz with x and y, else images.
        image_size: Height and width of the images, 28 by default; others are cropped and resized.
        sequence_column: Column of the sequences, by default sequence.
        label_column: Column of the labels, by default label.
    """
    common.require_cpu()
    kind = kind or find_kind(source)
    columns = {"sequence_column": sequence_column, "label_column": label_column}
    options.leave_out(f"{source} holds {kind}", **columns if kind == "images" else {"image_size": image_size})
    if kind == "images":
        from reviver.data.images.image_set import pack_images

        size = image_size or 28
        shapes = pack_images(source, Path(out), size, progress=not common.quiet)
        text = f"{shapes['images'][0]} images of {list(shapes['images'][1:])}"
        train = f"gan train --image-size {size}"
    else:
        from reviver.data.sequences.examples import pack_sequences

        given = {name: value for name, value in columns.items() if value is not None}
        shapes = pack_sequences(Path(source), Path(out), progress=not common.quiet, **given)
        steps, channels = shapes["sequences"]
        text = f"{shapes['labels'][0]} sequences of {steps} steps in all, {channels} numbers each"
        train = "lstm train"
    lines = [f"{out}: {text}", f"  train on it with reviver {train} --data {shlex.quote(out)}"]
    common.show({"out": out, "kind": kind, "shapes": shapes}, *lines)


def find_kind(source: str) -> Literal["images", "sequences"]:
    """Return the kind of the data of a source by its suffix, or by the arrays of an .npz; a damaged one is a `DataError`."""
    from reviver.files.read import open_arrays

    path = Path(source)
    suffix = path.suffix.lower()
    is_sequences = suffix in SEQUENCE_SUFFIXES
    if suffix == ".npz" and path.is_file():
        with open_arrays(path) as arrays:
            is_sequences = {"x", "y"} <= set(arrays)
    return "sequences" if is_sequences else "images"
