"""What all figures share: one style, and saving as vector PDF, SVG or PNG.

Figures are made without pyplot, so that no state outlives them and nothing needs a screen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from reviver.errors import ConfigError
from reviver.runs.files import replacing

FORMATS = ("pdf", "svg", "png")
TRAIN_COLOR, VALIDATION_COLOR, CHANCE_COLOR = "#0b6fa4", "#d1600a", "#6b6b6b"
"""Told apart by the colour-blind and in grey print."""


@contextmanager
def styled() -> Iterator[None]:
    """Use Reviver's style for the figures made inside."""
    with mpl.rc_context(fname=str(files("reviver") / "reviver.mplstyle")):
        yield


def check_figure_path(path: Path) -> None:
    """Refuse a path whose ending is of no known format.

    Raises:
        ConfigError: if it is so.
    """
    if path.suffix.removeprefix(".").lower() not in FORMATS:
        raise ConfigError(
            f"out: {path} has no ending that a figure can be saved as; choose from .{', .'.join(FORMATS)}"
        )


def save_figure(figure: Figure, path: Path) -> None:
    """Save `figure` in the format of the path's ending, whole or not at all, without a date in it.

    Raises:
        ConfigError: if the ending is of no known format.
    """
    check_figure_path(path)
    kind = path.suffix.removeprefix(".").lower()
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    with styled(), replacing(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=dates[kind])
