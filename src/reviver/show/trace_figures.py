"""Figure of a trace: gates and states of one layer over time, class probabilities and gradients.

Shapes: T time, H hidden size, C classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from reviver.figures import TRAIN_COLOR, VALIDATION_COLOR, panels, styled
from reviver.show.trace import DIRECTIONS, Trace

Values = NDArray[np.float64]

PANELS = (
    ("i", "Input gate i"),
    ("g", "Cell candidate g"),
    ("f", "Forget gate f"),
    ("c", "Cell state c"),
    ("o", "Output gate o"),
    ("h", "Hidden state h"),
)
"""Quantity and title of each heat map. Left column: gates, from 0 to 1. Right column: the signed values that
they scale."""
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
MAX_LABELED_STEPS = 20
"""Maximum number of steps for which each step is labeled with its digit."""
MIN_PIXELS = 1000
"""Minimum width and height of the image of a heat map, more than a print resolves."""


def trace_figure(trace: Trace, digits: Sequence[int], index: int) -> Figure:
    """Plot the trace of one layer and direction, of `index` in `trace.layers`, on a palindrome; the first digit is the target."""
    return _state_figure(trace, digits, index) if trace.gradients is None else _lstm_figure(trace, digits, index)


@styled()
def _lstm_figure(trace: Trace, digits: Sequence[int], index: int) -> Figure:
    """Plot gates, candidate and states of an LSTM, a row a unit, and probabilities and gradients after each step."""
    assert trace.gradients is not None
    layer, num_layers = trace.layers[index], trace.rows[-1]["layer"]
    is_backward = trace.rows[index]["direction"] == DIRECTIONS[1]
    order = layer["f"].mean(0).argsort(descending=True, stable=True)  # [H], units that keep most of their state on top
    figure = Figure(figsize=(6.3, 7.2))
    parts = [f"Layer {trace.rows[index]['layer']} of {num_layers}"] if num_layers > 1 else []
    if len(trace.layers) > num_layers:
        parts.append("backward (from right to left)" if is_backward else "forward")
    if parts:
        title = ", ".join(parts)
        figure.suptitle(title[0].upper() + title[1:], x=0.01, ha="left")
    grid = panels(figure, 4)
    for axes, (name, label) in zip(grid[:3].flat, PANELS, strict=True):
        values = _array(layer[name][:, order])  # [T, H]
        limit = max(1.0, float(np.abs(values).max()))  # |c| may exceed 1; |g| and |h| do not
        colors, low, limit = (SEQUENTIAL, 0.0, 1.0) if name in "ifo" else (DIVERGING, -limit, limit)
        _heat_map(axes, values, colors, low, limit)
        axes.set_title(label)
    for axes in grid[:3, 0]:
        axes.set_ylabel("unit, by mean f")
    _plot_probabilities(grid[3, 0], _array(trace.probabilities), digits[0])
    norms = {name: _array(values) for name, values in trace.gradients[index].items()}
    _plot_gradients(grid[3, 1], norms, reverse=is_backward)
    is_short = len(digits) <= MAX_LABELED_STEPS
    for axes in (*grid[:3].flat, grid[3, 0]):
        if is_short:
            axes.set_xticks(range(1, len(digits) + 1), map(str, digits))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        is_bottom = axes in (*grid[2], grid[3, 0])
        axes.tick_params(axis="x", bottom=is_bottom, labelbottom=is_bottom)
        axes.set_xlabel(("digit read" if is_short else "step") if is_bottom else "")
    return figure


@styled()
def _state_figure(trace: Trace, digits: Sequence[int], index: int) -> Figure:
    """Plot the quantities of a cell, a row a unit, and the class probabilities."""
    layer = trace.layers[index]
    figure = Figure(figsize=(6.3, 1.8 * (len(layer) + 1)))
    grid = figure.subplots(len(layer) + 1, 1, squeeze=False)
    for axes, (title, entry) in zip(grid[:-1, 0], layer.items(), strict=True):
        values = _array(entry.flatten(1))  # [T, H]
        limit = max(1.0, float(np.abs(values).max()))
        _heat_map(axes, values, DIVERGING, -limit, limit)
        axes.set(title=title, ylabel="unit")
    _plot_probabilities(grid[-1, 0], _array(trace.probabilities), digits[0])
    for axes in grid[:, 0]:
        if len(digits) <= MAX_LABELED_STEPS:
            axes.set_xticks(range(1, len(digits) + 1), map(str, digits))
    grid[-1, 0].set_xlabel("digit read" if len(digits) <= MAX_LABELED_STEPS else "step")
    return figure


def _heat_map(axes: Axes, values: Values, colors: str, low: float, high: float, first_row: int = 1) -> None:
    """Plot values [T, rows] with time from left to right and rows from top to bottom, numbered from `first_row`."""
    steps, rows = values.shape
    extent = (0.5, steps + 0.5, rows + first_row - 0.5, first_row - 0.5)
    # Matplotlib blurs both axes of an image if one has about as many values as pixels: repeat the values.
    pixels = values.T.repeat(-(-MIN_PIXELS // rows), axis=0).repeat(-(-MIN_PIXELS // steps), axis=1)
    image = axes.imshow(pixels, colors, aspect="auto", vmin=low, vmax=high, extent=extent)
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, linewidth=0.4)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=14, ticks=MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    bar.outline.set_linewidth(0.4)


def _plot_probabilities(axes: Axes, probabilities: Values, target: int) -> None:
    """Plot the probabilities [T, C] after each step: a frame around the target class, a dot on the most probable class."""
    steps, classes = probabilities.shape
    predicted = probabilities.argmax(1)  # [T]
    _heat_map(axes, probabilities, SEQUENTIAL, 0.0, 1.0, first_row=0)
    frame: dict[str, Any] = {"fill": False, "edgecolor": VALIDATION_COLOR, "linewidth": 1.3, "clip_on": False}
    axes.add_patch(Rectangle((0.5, target - 0.5), steps, 1, **frame))
    first = 0 if steps <= MAX_LABELED_STEPS else steps - 1  # of many steps only the prediction has a dot
    dot: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "markeredgewidth": 0.6, "markersize": 3.2}
    axes.plot(range(first + 1, steps + 1), predicted[first:], "o", clip_on=False, **dot)
    axes.set_yticks(range(classes))
    axes.tick_params(axis="y", labelsize="x-small")
    axes.get_yticklabels()[target].set(color=VALIDATION_COLOR, fontweight="bold")
    axes.set(title=f"Next digit: prediction {predicted[-1]}, target {target}", ylabel="digit")


def _plot_gradients(axes: Axes, norms: dict[str, Values], *, reverse: bool) -> None:
    """Plot the gradient norms [T] of the loss over the number of steps before the last step of the layer."""
    steps = len(norms["h"])
    # Aligned with the heat maps: the last step is on the right, or on the left with `reverse`.
    distance = np.arange(steps) if reverse else np.arange(steps)[::-1]
    style = {"marker": "o", "markersize": 3} if steps <= MAX_LABELED_STEPS else {"linewidth": 0.9}
    for (name, values), color in zip(norms.items(), (TRAIN_COLOR, VALIDATION_COLOR), strict=True):
        positive_or_nan = np.where(values > 0, values, np.nan)  # a log axis has no 0
        axes.plot(distance, positive_or_nan, color=color, label=f"‖∂loss/∂{name}‖", clip_on=False, **style)
    positive = np.concatenate([values[values > 0] for values in norms.values()])
    axes.set_yscale("log")
    if len(positive):
        powers = np.log10(positive)
        axes.set_ylim(10 ** np.floor(powers.min()), 10 ** np.floor(powers.max() + 1))
    axes.set_xlim(*((-0.5, steps - 0.5) if reverse else (steps - 0.5, -0.5)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set(title="Gradient of the loss", xlabel="steps before the last step", ylabel="gradient norm")
    axes.legend(loc="best")


def _array(values: Tensor) -> Values:
    return values.cpu().double().numpy()
