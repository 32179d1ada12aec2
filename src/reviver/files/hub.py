"""Folders of pretrained models: a local one, or a copy of a repository of the Hugging Face Hub."""

from pathlib import Path
from typing import Any, Self

from reviver.errors import DataError, import_library
from reviver.text import one_line

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
"""Files of a pretrained model: settings, weights and model card."""


class PretrainedMixin:
    """A network that is saved as a folder in the layout of the Hugging Face Hub, see `reviver.files.pretrained`."""

    _family: Any
    """The `reviver.files.pretrained.Family` of the network."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and README.md into `folder`, see `reviver.files.pretrained.Family.save`."""
        self._family.save(self, folder)

    @classmethod
    def from_pretrained(cls, source: str | Path, **download: Any) -> Self:
        """Return a saved network from a folder or a repository, see `reviver.files.pretrained.Family.load`."""
        network: Self = cls._family.load(cls, source, **download).network
        return network


def find_folder(source: str | Path, **download: Any) -> Path:
    """Return the folder of a model: a local folder, which comes first, or a copy of the repository of the id `source`.

    `download` are options of `huggingface_hub.snapshot_download`, such as `revision`, `token`, `cache_dir` and
    `local_files_only`; a local folder needs none.

    Raises:
        DataError: if there is no such folder, or the repository cannot be downloaded.
        ConfigError: if a repository is needed and `huggingface_hub` is not installed.
    """
    path = Path(source)
    if path.is_dir():
        return path
    problem = f"{source}: there is no such folder; downloading the repository of this id needs huggingface_hub"
    hub = import_library("huggingface_hub", problem)
    try:
        return Path(hub.snapshot_download(str(source), **download, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # the library and its HTTP client raise errors of many types
        raise DataError(
            f"{source}: there is no such folder, and the repository of this id cannot be downloaded ({one_line(error)}); "
            f"give a folder with {CONFIG} and {WEIGHTS}, or check the id, the revision, the token and the network"
        ) from error
