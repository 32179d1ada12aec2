"""On-disk cache for expensive results: written atomically, recomputed if damaged.

The folder is `$REVIVER_CACHE`, else `$XDG_CACHE_HOME/reviver`, else `~/.cache/reviver`. It may be deleted at any time.
"""

import errno
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from reviver.errors import RunFolderError
from reviver.files.atomic import atomic_write

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the path of the cache folder; raise `OSError` if the user has no home folder."""
    if folder := os.environ.get("REVIVER_CACHE"):
        return Path(folder)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reviver"
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no home folder, set REVIVER_CACHE", "~/.cache") from error


def cached(name: str, build: Callable[[], dict[str, Tensor]], message: str = "") -> dict[str, Tensor]:
    """Return cached tensors, or compute them by `build` and cache them; a cache that cannot be written is a warning.

    The `name` of the file must identify everything that the tensors depend on. A `message` is logged before `build`.
    """
    with suppress(OSError, ValueError, TypeError, SafetensorError):  # it is missing or damaged
        return load_file(cache_folder() / f"{name}.safetensors")
    if message:
        _log.info("%s", message)
    tensors = build()
    try:
        path = cache_folder() / f"{name}.safetensors"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
        with atomic_write(path) as temporary:
            save_file(whole, temporary)
    except (OSError, SafetensorError, RunFolderError) as error:
        _log.warning("%s: cannot be cached (%s); it will be recomputed each time", name, error)
    return tensors
