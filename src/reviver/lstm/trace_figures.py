"""The figure of a trace: gates and states of one layer over time, the probabilities and the gradients.

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

from reviver.figures import TRAIN_COLOR, VALIDATION_COLOR, styled
from reviver.lstm.trace import ClassifierTrace

Values = NDArray[np.float64]

PANELS = (
    ("i", "Input gate i"),
    ("g", "Cell candidate g"),
    ("f", "Forget gate f"),
    ("c", "Cell state c"),
    ("o", "Output gate o"),
    ("h", "Hidden state h"),
)
"""Two in a row: on the left the gates, from 0 to 1, on the right what they act on, of either sign."""
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
MOST_LABELLED_STEPS = 20
"""Up to so many steps each is labelled with its digit."""
LEAST_CELLS = 1000
"""Of a heat map in each direction, more than a print has dots."""


def trace_figure(trace: ClassifierTrace, digits: Sequence[int], index: int) -> Figure:
    """Draw what layer `index` of a trace computed while it read `digits`, and what came of it.

    Six heat maps show its gates, candidate and states. A row is a unit, and the units stand in the same order in
    all of them: by the mean of their forget gate over the steps, so that those that hold their cell longest are on
    top. Below are the probability of each class after each step, and the norms of the gradients of the final loss.
    """
    layer, (number, direction) = trace.layers[index], trace.place(index)
    order = layer.f[:, 0].mean(0).argsort(descending=True, stable=True)  # [H]
    with styled():
        figure = Figure(figsize=(6.3, 7.0))
        figure.get_layout_engine().set(h_pad=0.03, w_pad=0.03)  # type: ignore[union-attr, call-arg]
        if len(trace.layers) > 1:
            figure.suptitle(_title(trace, number, direction), x=0.01, ha="left", fontsize=9)
        grid = figure.subplots(4, 2)
        for axes, (name, label) in zip(grid[:3].flat, PANELS, strict=True):
            values = _array(getattr(layer, name)[:, 0, order])  # [T, H]
            limit = max(1.0, float(np.abs(values).max()))  # of either sign; g and h stay within 1
            _heat_map(axes, values, *((SEQUENTIAL, (0.0, 1.0)) if name in "ifo" else (DIVERGING, (-limit, limit))))
            axes.set_title(label)
        for axes in grid[:3, 0]:
            axes.set_ylabel("unit, by its mean f")
        _draw_probabilities(grid[3, 0], _array(trace.probabilities[:, 0]), digits[0])
        norms = {"h": _array(trace.gradient_h[index, :, 0]), "c": _array(trace.gradient_c[index, :, 0])}
        _draw_gradients(grid[3, 1], norms, reverse=direction == "backward")
        for axes in (*grid[:3].flat, grid[3, 0]):
            _label_steps(axes, digits, is_lowest=axes in (*grid[2], grid[3, 0]))
    return figure


def _title(trace: ClassifierTrace, number: int, direction: str) -> str:
    """Name the layer as far as there are others."""
    layers = len(trace.layers) // trace.num_directions
    parts = [f"Layer {number} of {layers}"] if layers > 1 else []
    if trace.num_directions > 1:
        parts.append("forward" if direction == "forward" else "backward (reads from right to left)")
    title = ", ".join(parts)
    return title[0].upper() + title[1:]


def _heat_map(axes: Axes, values: Values, colors: str, limits: tuple[float, float], first_row: int = 1) -> None:
    """Draw values [T, rows]: time from left to right, the first row, which is called `first_row`, on top."""
    steps, rows = values.shape
    extent = (0.5, steps + 0.5, rows + first_row - 0.5, first_row - 0.5)
    # Matplotlib blurs both axes of an image as soon as one of them has about as many cells as dots: repeat the cells.
    cells = values.T.repeat(-(-LEAST_CELLS // rows), axis=0).repeat(-(-LEAST_CELLS // steps), axis=1)
    image = axes.imshow(cells, colors, aspect="auto", vmin=limits[0], vmax=limits[1], extent=extent)
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, linewidth=0.4)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=14, ticks=MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    bar.outline.set_linewidth(0.4)


def _label_steps(axes: Axes, digits: Sequence[int], *, is_lowest: bool) -> None:
    """Label the steps with their digits while there is room, else with numbers."""
    if len(digits) <= MOST_LABELLED_STEPS:
        axes.set_xticks(range(1, len(digits) + 1), [str(digit) for digit in digits])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.tick_params(axis="x", bottom=is_lowest, labelbottom=is_lowest)
    if is_lowest:
        axes.set_xlabel("digit read" if len(digits) <= MOST_LABELLED_STEPS else "step")


def _draw_probabilities(axes: Axes, probabilities: Values, right: int) -> None:
    """Draw the probabilities [T, C] after each step: the row of the right class framed, a dot on the most probable one.

    Of many steps only the last has its dot, which is the prediction.
    """
    steps, classes = probabilities.shape
    predicted = probabilities.argmax(1)  # [T]
    _heat_map(axes, probabilities, SEQUENTIAL, (0.0, 1.0), first_row=0)
    frame: dict[str, Any] = {"fill": False, "edgecolor": VALIDATION_COLOR, "linewidth": 1.3, "clip_on": False}
    axes.add_patch(Rectangle((0.5, right - 0.5), steps, 1, **frame))
    first = 0 if steps <= MOST_LABELLED_STEPS else steps - 1
    dot: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "markeredgewidth": 0.6, "markersize": 3.2}
    axes.plot(range(first + 1, steps + 1), predicted[first:], "o", clip_on=False, **dot)
    axes.set_yticks(range(classes))
    axes.tick_params(axis="y", labelsize=6.5)
    axes.get_yticklabels()[right].set(color=VALIDATION_COLOR, fontweight="bold")
    axes.set(title=f"Next digit: {predicted[-1]} predicted, {right} right", ylabel="digit")


def _draw_gradients(axes: Axes, norms: dict[str, Values], *, reverse: bool) -> None:
    """Draw how much the final loss depends on the states [T] so many steps before the layer's last one.

    The steps stand where they do in the heat maps: the layer's last one is on the right, or with `reverse` on the left.
    """
    steps = len(norms["h"])
    distance = np.arange(steps) if reverse else np.arange(steps)[::-1]
    look = {"marker": "o", "markersize": 3} if steps <= MOST_LABELLED_STEPS else {"linewidth": 0.9}
    for (name, values), color in zip(norms.items(), (TRAIN_COLOR, VALIDATION_COLOR), strict=True):
        shown = np.where(values > 0, values, np.nan)  # 0 has no place on a log axis
        axes.plot(distance, shown, color=color, label=f"‖∂loss/∂{name}‖", clip_on=False, **look)
    positive = np.concatenate([values[values > 0] for values in norms.values()])
    axes.set_yscale("log")
    if len(positive):
        powers = np.log10(positive)
        axes.set_ylim(10 ** np.floor(powers.min()), 10 ** np.floor(powers.max() + 1))
    axes.set_xlim(-0.5, steps - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    if not reverse:
        axes.invert_xaxis()
    axes.set(title="Gradient of the final loss", xlabel="steps before the layer's last one", ylabel="norm")
    axes.legend(loc="best")


def _array(values: Tensor) -> Values:
    return values.cpu().double().numpy()
