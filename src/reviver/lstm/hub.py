"""Saving a network and loading it again, for every class of this room."""

from pathlib import Path
from typing import Any, Self, Unpack

from reviver.files.hub import DownloadKeywords


class PretrainedMixin:
    """A network that is saved as a folder in the layout of the Hugging Face Hub, see `reviver.lstm.pretrained`."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and README.md into `folder`, see `reviver.files.pretrained.Family.save`."""
        from reviver.lstm import pretrained  # imports much that a layer does not need

        network: Any = self
        pretrained.save(network, folder)

    @classmethod
    def from_pretrained(cls, source: str | Path, **download: Unpack[DownloadKeywords]) -> Self:
        """Return a saved network from a folder or a repository, see `reviver.files.pretrained.Family.load`."""
        from reviver.lstm import pretrained

        network: Any = cls
        return pretrained.load(network, source, **download)  # type: ignore[no-any-return]
