"""Common parts of all figures: the style, and saving as PDF, SVG or PNG.

Figures do not use pyplot, so they need no display and leave no global state behind.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from reviver.files.atomic import atomic_write
from reviver.files.file_errors import check_writable
from reviver.settings.validation import check, refuse
from reviver.text import one_line

FORMATS = ("pdf", "svg", "png")
FIXED = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
"""The layout of figures whose axes stay where they are put; "none" would end with the first file that is saved."""
TRAIN_COLOR, VALIDATION_COLOR, THIRD_COLOR, CHANCE_COLOR, INK, SHADE = "C0", "C1", "C2", "C3", "C8", "C9"
"""Entries of the color cycle, which are other colors on a dark background; the first four differ in grayscale and with
color blindness."""
_log = logging.getLogger(__name__)
_style: ContextVar[tuple[float | None, float | None, bool]] = ContextVar("_style", default=(None, None, False))
"""Width, font size and whether the background is dark, see `figure_style`."""


@contextmanager
def figure_style(*, width: float | None = None, font_size: float | None = None, dark: bool = False) -> Iterator[None]:
    """Plot and save figures inside with another width in inches, font size in points, or a dark background."""
    check("figure_width", width, Annotated[float, Field(ge=2, le=40)] | None)
    check("font_size", font_size, Annotated[float, Field(ge=4, le=60)] | None)
    token = _style.set((width, font_size, dark))
    try:
        yield
    finally:
        _style.reset(token)


@contextmanager
def styled() -> Iterator[None]:
    """Use the style of Reviver, and what `figure_style` changes of it, for figures created inside."""
    _, font_size, dark = _style.get()
    light_file, dark_file = (str(files("reviver") / f"{name}.mplstyle") for name in ("reviver", "dark"))
    changes: Any = mpl.rc_params_from_file(dark_file, use_default_template=False) if dark else {}
    with mpl.rc_context(changes | ({} if font_size is None else {"font.size": font_size}), light_file):
        yield


def check_figure_path(path: Path) -> None:
    """Check, before a long computation, that `save_figure` can write to `path`: a `ConfigError` or `RunFolderError`."""
    if path.suffix.removeprefix(".").lower() not in FORMATS:
        refuse("out", f"must end in one of .{', .'.join(FORMATS)} for a figure, got {path}")
    check_writable(path)


def save_figure(figure: Figure, path: Path) -> None:
    """Save `figure` atomically in the format of the path's suffix, without a date, so that equal figures are equal files."""
    kind = path.suffix.removeprefix(".").lower()
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    content = BytesIO()  # if matplotlib wrote a PDF to a full disk itself, the file would stay open
    width, height = figure.get_size_inches()
    new_width = _style.get()[0] or width
    figure.set_size_inches(new_width, height * new_width / width)
    with styled(), warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph .* missing")
        figure.savefig(content, format=kind, metadata=dates[kind])
    if caught:  # such as for a name in a script that the font lacks
        _log.warning("%s: %s", path, one_line("; ".join(dict.fromkeys(str(warning.message) for warning in caught))))
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getvalue())


def panels(figure: Figure, rows: int = 1) -> Any:
    """Add rows of two panels to a figure, or a single column if the width is too small, and return the axes, [rows, 2]."""
    width, height = _style.get()[0] or figure.get_figwidth(), figure.get_figheight()
    if width >= mpl.rcParams["font.size"] / 2:
        return figure.subplots(rows, 2, squeeze=False)
    figure.set_size_inches(width, 2 * height)
    return figure.subplots(2 * rows, squeeze=False).reshape(rows, 2)


def draw_runs(
    axes: Axes,
    x: ArrayLike,
    values: NDArray[np.float64],
    color: str,
    *,
    limits: tuple[float, float] = (0.0, np.inf),
    use_median: bool = False,
    **style: Any,
) -> None:
    """Draw a quantity [runs, N] over x [N]: a line, and a band over several runs.

    They are the mean and one sample standard deviation, within the `limits` of the quantity; or median and range.
    """
    center = np.median(values, 0) if use_median else values.mean(0)
    axes.plot(x, center, color=color, **style)
    if len(values) > 1:
        spread = values.std(0, ddof=1)
        band = (values.min(0), values.max(0)) if use_median else np.clip((center - spread, center + spread), *limits)
        axes.fill_between(x, *band, color=color, alpha=0.2, linewidth=0)


def format_number(value: float, digits: int = 3) -> str:
    """Return a number without an exponent: `digits` of it below 1000, otherwise an integer with grouped thousands."""
    return f"{value:.{digits}g}" if 0 < abs(value) < 999.5 else f"{value:,.0f}".replace(",", "\u2009")


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers: 1, 2 and 5 times powers of ten, or only powers of ten on a long axis."""
    low, high = axis.get_view_interval()
    locator = LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 400 else (1.0,), numticks=12)
    is_short = sum(low <= tick <= high for tick in locator.tick_values(low, high)) < 2
    short = MaxNLocator("auto", steps=(1, 2, 5, 10), integer=low >= 999.5)
    axis.set_major_locator(short if is_short else locator)
    axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=100))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value, digits=6)))
    axis.set_minor_formatter(NullFormatter())


def integer_ticks(axis: Axis) -> None:
    """Label an axis with integers."""
    axis.set_major_locator(MaxNLocator("auto", steps=(1, 2, 5, 10), integer=True, min_n_ticks=1))


@styled()
def grid_figure(grid: NDArray[np.uint8]) -> Figure:
    """Return a figure, four inches wide, with the pixels of a grid (see `train.gan.grids.tile`) and nothing else."""
    figure = Figure(figsize=(4, 4 * grid.shape[0] / grid.shape[1]), layout=FIXED)
    show_pixels(figure.add_axes((0, 0, 1, 1)), grid)
    return figure


def show_pixels(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    """Show pixels as they are, gray [H, W] or in color [H, W, 3], without the frame of the axes."""
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_axis_off()
