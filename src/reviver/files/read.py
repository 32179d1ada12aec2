"""Readers of JSON, of safetensors files and of arrays, by their libraries; and the check of a folder's links.

Where it is not said otherwise they raise what the libraries raise: call them inside `file_errors.reading`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from reviver.errors import DataError, ReviverError, RunFolderError
from reviver.files.file_errors import DATA_REMEDY, reading
from reviver.settings.validation import Record, find_problem
from reviver.text import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

Model = TypeVar("Model", bound=Record)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; no tensor is read."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return file.metadata() or {}


@contextmanager
def open_arrays(path: Path, remedy: str = DATA_REMEDY) -> "Iterator[Mapping[str, NDArray[Any]]]":
    """Yield the arrays of an .npz file by name, each read when it is used; errors inside are those of `reading`."""
    import numpy as np

    with reading(path, remedy), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        yield archive


def map_array(path: Path) -> "NDArray[Any]":
    """Return the array of an .npy file, of which a part is read when it is used; a damaged one is a `DataError`."""
    import numpy as np

    with reading(path):
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file."""
    return parse_json(path.read_bytes())


def parse_json(content: bytes | str) -> dict[str, Any]:
    """Return the object that JSON text encodes; anything else is a `ValueError`."""
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def validate_record(
    model: type[Model], value: object, location: object, remedy: str, kind: type[ReviverError] = DataError
) -> Model:
    """Return the record that a value of a file describes; raise a `kind` of error that names the first wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        known = tuple(field.alias or name for name, field in model.model_fields.items())
        raise kind(f"{location}: {one_line(find_problem(error, known))}; {remedy}") from error


def reject_external_links(folder: Path) -> None:
    """Raise `RunFolderError` if a run folder contains a link that leads out of it: a resumed run would write there."""
    root = os.path.realpath(folder)
    for path in folder.rglob("*"):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
            problem = f"{path.relative_to(folder)} is a link that leads out of the folder"
            raise RunFolderError(f"{folder}: {problem}; remove it from the run folder")
