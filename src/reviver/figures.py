"""What all figures share: one style, and saving as vector PDF, SVG or PNG.

Figures are made without pyplot, so that no state outlives them and nothing needs a screen.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EISDIR, ENOTDIR
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reviver.errors import ConfigError
from reviver.io.files import atomic_write, explain_write_errors

FORMATS = ("pdf", "svg", "png")
TRAIN_COLOR, VALIDATION_COLOR, CHANCE_COLOR = "#0b6fa4", "#d1600a", "#6b6b6b"
"""Told apart by the colour-blind and in grey print."""


@contextmanager
def styled() -> Iterator[None]:
    """Use Reviver's style for the figures made inside."""
    with mpl.rc_context(fname=str(files("reviver") / "reviver.mplstyle")):
        yield


def check_figure_path(path: Path) -> None:
    """Refuse, before any work is done, a `path` that `save_figure` could not write to.

    Raises:
        ConfigError: if the ending is of no known format.
        RunFolderError: if the file cannot be written.
    """
    _format_of(path)
    check_writable(path)


def check_writable(path: Path) -> None:
    """Raise `RunFolderError`, before any work is done, if no file can be written at `path`."""
    with explain_write_errors(path):
        nearest = next(folder for folder in path.absolute().parents if folder.exists())
        is_writable = os.access(nearest, os.W_OK)
        for code, is_so in ((ENOTDIR, not nearest.is_dir()), (EISDIR, path.is_dir()), (EACCES, not is_writable)):
            if is_so:
                raise OSError(code, os.strerror(code))


def save_figure(figure: Figure, path: Path) -> None:
    """Save `figure` in the format of the path's ending, whole or not at all, without a date in it.

    Raises:
        ConfigError: if the ending is of no known format.
        RunFolderError: if the file cannot be written.
    """
    kind = _format_of(path)
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    content = BytesIO()  # a PDF that a full disk cuts short would leave its file open
    with styled():
        figure.savefig(content, format=kind, metadata=dates[kind])
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getvalue())


def in_full(value: float) -> str:
    """A number without an exponent: to three digits if it is small, else whole, its thousands set apart."""
    return f"{value:.3g}" if 0 < abs(value) < 1000 else f"{value:,.0f}".replace(",", "\u2009")


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis at 1, 2 and 5 times the powers of ten, or at these alone where it is long, in plain numbers."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 400 else (1.0,), numticks=12))
    axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=100))
    axis.set_major_formatter(FuncFormatter(lambda value, _: in_full(value)))
    axis.set_minor_formatter(NullFormatter())


def _format_of(path: Path) -> str:
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ConfigError(f"out must end in one of .{', .'.join(FORMATS)} for a figure, got {path}", field="out")
    return kind
