"""The explorer in a notebook."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from reviver.errors import ConfigError
from reviver.explorer.page import build_page
from reviver.explorer.records import open_run
from reviver.files.atomic import write_text
from reviver.settings.validation import check
from reviver.train.gan.run import GANRun
from reviver.train.lstm.run import LSTMRun

RunOrPath = LSTMRun | GANRun | str | Path

SANDBOX = "allow-scripts allow-downloads"
"""What the page may do in a notebook. It has an origin of its own, so it cannot reach the notebook or its server."""


@dataclass(frozen=True)
class ExplorerPage:
    """The explorer of some runs; a notebook shows it if it is the value of a cell.

    Attributes:
        html: The page.
        title: Its title, for screen readers.
        height: Height in a notebook, in pixels.
    """

    html: str
    title: str
    height: int

    def _repr_html_(self) -> str:
        """Return the page in a sandboxed frame, for notebooks."""
        return (
            f'<iframe sandbox="{SANDBOX}" title="{html.escape(self.title)}" width="100%" height="{self.height}" '
            f'style="border: 0" srcdoc="{html.escape(self.html)}"></iframe>'
        )

    def __repr__(self) -> str:
        """Return a short description, without the page."""
        return f"<{self.title}, {len(self.html) / 1e6:.1f} MB>"

    def save(self, path: str | Path) -> None:
        """Write the page to `path`.

        Raises:
            RunFolderError: if the file cannot be written.
        """
        write_text(Path(path), self.html)


def explore(
    runs: RunOrPath | Sequence[RunOrPath],
    *,
    training_images: int | None = None,
    with_data: bool = True,
    height: int = 720,
) -> ExplorerPage:
    """Return the explorer of trained runs, to show in a notebook or to save.

    Args:
        runs: A run folder or a loaded run, or several of them. Of one with a cell or networks of the user's own, the page has
            what its training recorded, and no code.
        training_images: Training images to embed for each GAN; 0 for none, by default as `reviver explore`.
        with_data: Embed real images of the GANs, and sequences of custom data; False for confidential data.
        height: Height of the frame in a notebook, in pixels.

    Raises:
        ConfigError: if there is no run, or an argument is out of range.
        RunFolderError: if a run folder is missing or damaged.
    """
    check("height", height, Annotated[int, Field(ge=100, le=10_000)])
    check("training_images", training_images, Annotated[int, Field(ge=0)] | None)
    given = [runs] if isinstance(runs, RunOrPath) else list(runs)
    if not given:
        raise ConfigError("runs must hold at least one run, got none", field="runs")
    loaded = [open_run(run) if isinstance(run, str | Path) else run for run in given]
    page = build_page(loaded, num_training=training_images, with_data=with_data)
    return ExplorerPage(page.html, page.title, height)
