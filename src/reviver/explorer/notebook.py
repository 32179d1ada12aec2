"""The explorer in a notebook."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from reviver.explorer.page import build_page
from reviver.files.atomic import write_text
from reviver.settings.validation import check
from reviver.train.opened import OpenedRun

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


def show_runs(runs: Sequence[OpenedRun], *, training_images: int | None, with_data: bool, height: int) -> ExplorerPage:
    """Return the explorer of trained runs, see `reviver.explore`."""
    check("height", height, Annotated[int, Field(ge=100, le=10_000)])
    check("training_images", training_images, Annotated[int, Field(ge=0)] | None)
    page = build_page(runs, num_training=training_images, with_data=with_data)
    return ExplorerPage(page.html, page.title, height)
