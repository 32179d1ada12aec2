"""Results that are dear to compute, kept in a folder: written whole, checked when read, made anew if damaged.

The folder is `$REVIVER_CACHE`, else `$XDG_CACHE_HOME/reviver`, else `~/.cache/reviver`. It may be emptied at any time.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from reviver.io.tensors import read_header, read_tensors

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder in which results are kept."""
    if folder := os.environ.get("REVIVER_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reviver"


def cached(name: str, build: Callable[[], dict[str, Tensor]], note: str = "") -> dict[str, Tensor]:
    """Return the tensors kept under `name`, or those that `build` makes, which are then kept.

    `name` must say all that the tensors depend on. Before `build` is called the `note`, if any, is logged. A folder that
    cannot be written is logged as a warning.
    """
    path = cache_folder() / f"{name}.safetensors"
    tensors = _read(path)
    if tensors is None:
        if note:
            _log.info("%s", note)
        tensors = build()
        try:
            _write(path, tensors)
        except (OSError, SafetensorError) as error:
            _log.warning("%s: cannot be kept (%s); it will be computed anew each time", path, error)
    return tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and numbers."""
    sha256 = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        sha256.update(tensor.contiguous().numpy().data)
    return sha256.hexdigest()


def _read(path: Path) -> dict[str, Tensor] | None:
    """The tensors of a file, or None if it is not there or is not what was written."""
    try:
        written = read_header(path).metadata.get("sha256")
        tensors = read_tensors(path)
        is_whole = written == digest(tensors)
    except (OSError, ValueError, TypeError):
        return None
    return tensors if is_whole else None


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a file by a rename, under a name of its own until then: another process may write the same."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="writing-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        with torch.no_grad():
            save_file({name: one.contiguous() for name, one in tensors.items()}, made, {"sha256": digest(tensors)})
        made.replace(path)
