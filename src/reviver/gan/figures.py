"""Figures of the GAN: grids of samples, a walk through latent space, losses and scores over training.

Shapes: N images, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from reviver.figures import CHANCE_COLOR, TRAIN_COLOR, VALIDATION_COLOR, in_full, plain_log_ticks, styled
from reviver.gan.data.image_set import to_pixels
from reviver.gan.evaluation.path_metrics import PathMetrics

STRIP_WIDTH, STRIP_RIGHT = 6.3, 0.995
STRIP_GAP = 0.08
"""Between two images, of their width."""
LABEL_HEIGHT, PANEL_HEIGHT, BELOW_AXES, ABOVE_AXES, LEGEND_HEIGHT = 0.35, 1.75, 0.45, 0.3, 0.3
"""Inches of what stands under a strip: its labels; panels, each with ticks below and a title above; one legend."""
CLASS_COLORS = ("#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f")
"""Told apart by the colour-blind (Okabe & Ito 2008); in grey print the styles help."""
CLASS_STYLES = ("-", "--", "-.")
MATTERS = 0.1
"""A class whose probability is nowhere this part of the greatest one is not drawn."""
MAX_PLACES = 8
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

FID_STYLE = {"fid": ("#222222", "o")}
SHARE_STYLES = {"precision": (TRAIN_COLOR, "o"), "recall": (VALIDATION_COLOR, "s"), "coverage": ("#7a3f9d", "^")}
SHADE = "#eeeeee"

EQUILIBRIUM = 0.5
"""D's answer to everything once real and generated images cannot be told apart (Goodfellow et al. 2014)."""


@styled()
def sheet_figure(sheet: NDArray[np.uint8], width: float = 4.0) -> Figure:
    """A figure, `width` inches wide, that holds nothing but the pixels of `sheet`."""
    figure = Figure(figsize=(width, width * sheet.shape[0] / sheet.shape[1]))
    figure.set_layout_engine("none")
    _show_pixels(figure.add_axes((0, 0, 1, 1)), sheet)
    return figure


@styled()
def interpolation_strip(images: Tensor, labels: Sequence[str] | None = None) -> Figure:
    """Images [N, C, H, W] in [-1, 1] in one row, the ends framed, with `labels` under them if given."""
    height = STRIP_WIDTH / len(images) * (1.32 if labels else 1.06)
    figure = Figure(figsize=(STRIP_WIDTH, height))
    figure.set_layout_engine("none")
    _draw_strip(figure, images, labels, left=0.005, bottom=0.27 if labels else 0.03, top=0.97)
    return figure


@styled()
def measured_strip(
    images: Tensor, measures: Mapping[str, PathMetrics], drawn: str, labels: Sequence[str] | None = None
) -> Figure:
    """The strip of the path `drawn`, and under it what was measured on it and on the other one.

    An image of the strip stands above its t.
    """
    count, left = len(images), 0.075
    side = STRIP_WIDTH * (STRIP_RIGHT - left) / count  # inches of an image
    panels = LEGEND_HEIGHT + len(measures) * PANEL_HEIGHT + (LABEL_HEIGHT if labels else 0)
    height = panels + 1.06 * side
    figure = Figure(figsize=(STRIP_WIDTH, height))
    figure.set_layout_engine("none")
    _draw_strip(figure, images, labels, left=left, bottom=panels / height, top=1 - 0.03 * side / height)
    # Classes that become probable somewhere, the most probable ones if they are many.
    greatest = torch.stack([one.probabilities.amax(0) for one in measures.values()]).amax(0)  # [K]
    likeliest = greatest.argsort(descending=True)[: len(CLASS_COLORS)].tolist()
    classes = sorted(one for one in likeliest if greatest[one] >= MATTERS * greatest.max())
    size = (STRIP_RIGHT - left, (PANEL_HEIGHT - BELOW_AXES - ABOVE_AXES) / height)
    half = 0.5 / ((1 + STRIP_GAP) * (count - 1))  # of an image, in t
    for index, path in enumerate(sorted(measures, key=lambda path: path == drawn)):  # from below
        bottom = LEGEND_HEIGHT + index * PANEL_HEIGHT + BELOW_AXES
        axes = figure.add_axes((left, bottom / height, *size), xlim=(-half, 1 + half))
        axes.set_title(f"{path.capitalize()} path{', drawn above' if path == drawn else ' between the same ends'}")
        _draw_measure(axes, measures[path], classes)
    figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="lower center", ncols=len(classes))
    return figure


def _draw_strip(
    figure: Figure, images: Tensor, labels: Sequence[str] | None, *, left: float, bottom: float, top: float
) -> None:
    """Draw the strip into a part of the figure, with labels below that part."""
    count = len(images)
    grid = figure.add_gridspec(1, count, left=left, right=STRIP_RIGHT, top=top, bottom=bottom, wspace=STRIP_GAP)
    for index, image in enumerate(images):
        axes = figure.add_subplot(grid[0, index])
        _show_framed(axes, image)
        axes.spines[:].set(visible=index in (0, count - 1), color=VALIDATION_COLOR, linewidth=2)
        if labels:
            axes.set_xlabel(labels[index], labelpad=3, fontsize=min(7, 100 / count), linespacing=1.1)


def _draw_measure(axes: Axes, measure: PathMetrics, classes: Sequence[int]) -> None:
    """Draw the probabilities of `classes` over t, and where the most probable one switches."""
    for one, color, style in zip(classes, CLASS_COLORS, cycle(CLASS_STYLES), strict=False):
        axes.plot(measure.t, measure.probabilities[:, one], color=color, linestyle=style, label=f"class {one}")
    for switch in measure.switches:
        axes.axvline(switch.t, color=CHANCE_COLOR, linestyle=":", linewidth=1)
    places = [f"{switch.t:.2f}" for switch in measure.switches]
    shown = ", ".join(places[:MAX_PLACES]) + (" …" if len(places) > MAX_PLACES else "")
    xlabel = f"t; the class switches at {shown}" if shown else "t"
    axes.set(xticks=TICKS, xlabel=xlabel, ylim=(-0.03, 1.03), ylabel="probability")
    path_length_ratio = measure.numbers["path_length_ratio"]
    title = "" if path_length_ratio is None else f"path_length_ratio {path_length_ratio:.2f}, "
    title += f"perceptual path length {in_full(measure.perceptual_length)}"
    axes.set_title(title, loc="right", fontsize=8, fontweight="normal")


@styled()
def projection_figure(originals: Tensor, drawn: Tensor, errors: Sequence[float]) -> Figure:
    """Originals [N, C, H, W] in [-1, 1] above what the generator draws for them, and the difference of the pixels."""
    figure = Figure(figsize=(max(2.0, 0.9 * len(originals) + 0.9), 3.1))
    axes = figure.subplots(3, len(originals), squeeze=False)
    differences = (drawn - originals).abs() - 1  # no difference is black
    rows = {"original": originals, "drawn": drawn, "difference": differences}
    for (name, images), row in zip(rows.items(), axes, strict=True):
        for image, cell in zip(images, row, strict=True):
            _show_framed(cell, image)
            cell.grid(visible=False)
        row[0].set_ylabel(name)
    for cell, error in zip(axes[2], errors, strict=True):
        cell.set_xlabel(f"{error:.3f}", fontsize=8)
    figure.supxlabel("root-mean-square difference of pixels in [−1, 1]", fontsize=8)
    return figure


@styled()
def loss_curves(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """The losses of both networks, and how probable D finds real and generated images, over the epochs."""
    epochs = [point["epoch"] for point in metrics]
    figure = Figure()
    losses, probabilities = figure.subplots(1, 2)
    for axes, name, color, label in (
        (losses, "generator_loss", VALIDATION_COLOR, "generator"),
        (losses, "discriminator_loss", TRAIN_COLOR, "discriminator"),
        (probabilities, "probability_real", TRAIN_COLOR, "real images, D(x)"),
        (probabilities, "probability_fake", VALIDATION_COLOR, "generated images, D(G(z))"),
    ):
        values = np.array([point[name] for point in metrics], dtype=float)  # None becomes NaN
        axes.plot(epochs, values, color=color, label=label)
    probabilities.axhline(EQUILIBRIUM, color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="no difference")
    losses.set(title="Loss", ylabel="cross-entropy", ylim=(0, None))
    probabilities.set(title="Answer of the discriminator", ylabel="probability of being real", ylim=(0, 1))
    for axes in (losses, probabilities):
        axes.set_xlabel("epoch")
        axes.legend()
    return figure


@styled()
def score_curves(points: Sequence[Mapping[str, Any]], collapsed: Sequence[bool]) -> Figure:
    """FID, precision, recall and coverage over the epochs; dotted is what real images score.

    `points` are those of scores.jsonl; where the run is `collapsed` its epochs since the point before are shaded.
    """
    epochs = [point["epoch"] for point in points]
    baseline = points[-1]["real_baseline"]
    figure = Figure(figsize=(6.3, 2.9))
    fid, shares = figure.subplots(1, 2)
    for axes, styles in ((fid, FID_STYLE), (shares, SHARE_STYLES)):
        for name, (color, marker) in styles.items():
            values = np.array([point[name] for point in points], dtype=float)
            axes.plot(epochs, values, color=color, marker=marker, markersize=3.5, label=name)
            axes.axhline(baseline[name], color=color, linestyle=":", linewidth=1.2)
        for start, end, is_collapsed in zip([0, *epochs], epochs, collapsed, strict=False):
            if is_collapsed:
                axes.axvspan(start, end, color=SHADE, zorder=0, linewidth=0)
        axes.set(xlabel="epoch", xlim=(0, epochs[-1] * 1.03))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    fid.set(title="FID", ylabel="squared distance, lower is better", yscale="log")
    plain_log_ticks(fid.yaxis)
    shares.set(title="Precision, recall, coverage", ylabel="fraction, higher is better", ylim=(-0.02, 1.02))
    handles, _ = shares.get_legend_handles_labels()
    handles.append(Line2D([], [], color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="real images"))
    if any(collapsed):
        handles.append(Patch(color=SHADE, label="collapsed"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _show_framed(axes: Axes, image: Tensor) -> None:
    """Show an image [C, H, W] in [-1, 1] with the frame of its axes."""
    pixels = to_pixels(image).permute(1, 2, 0).numpy()
    _show_pixels(axes, pixels[:, :, 0] if len(image) == 1 else pixels)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])


def _show_pixels(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set_axis_off()
