"""Figures of the GAN: grids, interpolations, projections, losses and scores over training.

Shapes: N images, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from reviver.data.images.image_set import to_pixels
from reviver.figures import (
    CHANCE_COLOR,
    FIXED,
    INK,
    SHADE,
    THIRD_COLOR,
    TRAIN_COLOR,
    VALIDATION_COLOR,
    integer_ticks,
    panels,
    plain_log_ticks,
    show_pixels,
    styled,
)
from reviver.gan.interpolation import Interpolation
from reviver.gan.losses import describe_losses
from reviver.gan.scores.monitor import find_collapses
from reviver.settings.validation import refuse

Records = Sequence[Mapping[str, Any]]

WIDTH, RIGHT, GAP = 6.3, 0.99, 0.08
"""Of a row of images: its width in inches, its right end, and the space between images, as fractions."""
SCORE_STYLES = (
    {"fid": (INK, "o")},
    {"precision": (TRAIN_COLOR, "o"), "recall": (VALIDATION_COLOR, "s"), "coverage": (THIRD_COLOR, "^")},
)
"""Color and marker of the scores in each panel."""


def interpolation_figure(interpolation: Interpolation, *, annotate: bool = False) -> Figure:
    """Return a row of the images of an interpolation, with `annotate` above the predicted classes and their confidences."""
    labels = None
    if annotate:
        if interpolation.classes is None or interpolation.confidences is None:
            problem = "must be left out, since the classifier knows only digits, which this run did not learn"
            refuse("annotate", f"{problem}; or give an --extractor")
        predictions = zip(interpolation.classes, interpolation.confidences, strict=True)
        labels = [f"{class_index}\n{confidence:.0%}" for class_index, confidence in predictions]
    return strip_figure(interpolation.images, labels)


@styled()
def strip_figure(images: Tensor, labels: Sequence[str] | None = None) -> Figure:
    """Return images [N, C, H, W] in [-1, 1] in one row, with a frame around both ends and labels below the images."""
    side = WIDTH / len(images)  # inches per image
    size = rcParams["font.size"] * min(0.8, 11 / len(images))  # points, of the two lines of a label
    bottom = (2.8 * size + 5) / 72 if labels else 0.03 * side
    height = bottom + 1.03 * side
    figure = Figure(figsize=(WIDTH, height), layout=FIXED)
    top = 1 - 0.03 * side / height
    grid = figure.add_gridspec(1, len(images), left=0.01, right=RIGHT, top=top, bottom=bottom / height, wspace=GAP)
    for index, image in enumerate(images):
        axes = figure.add_subplot(grid[0, index])
        _show_framed(axes, image)
        axes.spines[:].set(visible=index in (0, len(images) - 1), color=VALIDATION_COLOR, linewidth=2)
        if labels:
            axes.set_xlabel(labels[index], labelpad=3, fontsize=size, linespacing=1.1)
    return figure


@styled()
def projection_figure(targets: Tensor, projections: Tensor, errors: Sequence[float]) -> Figure:
    """Return images above their projections, [N, C, H, W] in [-1, 1], the differences of the pixels and their root mean square."""
    figure = Figure(figsize=(max(2.8, 0.9 * len(targets) + 0.9), 3.1))
    grid = figure.subplots(3, len(targets), squeeze=False)
    differences = (projections - targets).abs() - 1  # black where there is none
    for name, images, row in zip(
        ("target", "projection", "difference"), (targets, projections, differences), grid, strict=True
    ):
        for image, axes in zip(images, row, strict=True):
            _show_framed(axes, image)
            axes.grid(visible=False)
        row[0].set_ylabel(name)
    for axes, error in zip(grid[2], errors, strict=True):
        axes.set_xlabel(f"{error:.3f}", fontsize="small")
    figure.supxlabel("root-mean-square difference\nof pixels in [−1, 1]", fontsize="small")
    return figure


@styled()
def loss_curves(records: Records, loss: str = "non-saturating", label_smoothing: float = 0.0) -> Figure:
    """Plot the losses of both networks, and the mean outputs of D, over the epochs; `records` are of metrics.jsonl.

    `loss` and `label_smoothing` are settings of the run. Only a cross-entropy has that name and a known equilibrium.
    """
    figure = Figure()
    ((losses, outputs),) = panels(figure)
    for axes, name, color, label in (
        (losses, "generator_loss", VALIDATION_COLOR, "generator"),
        (losses, "discriminator_loss", TRAIN_COLOR, "discriminator"),
        (outputs, "probability_real", TRAIN_COLOR, "real images, D(x)"),
        (outputs, "probability_fake", VALIDATION_COLOR, "generated images, D(G(z))"),
    ):
        marker = "o" if len(records) == 1 else ""  # a line of one point is invisible
        axes.plot(_column(records, "epoch"), _column(records, name), color=color, marker=marker, label=label)
    is_cross_entropy = describe_losses(loss).smoothed is not None
    if is_cross_entropy:  # D(x) once generated images are distributed like the real ones (Goodfellow et al. 2014)
        level = (1 - label_smoothing) / 2
        outputs.axhline(level, color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="equilibrium")
    losses.set(title="Loss", ylabel="cross-entropy" if is_cross_entropy else f"{loss} loss")
    if not describe_losses(loss).is_negative:
        losses.set_ylim(0, None)
    outputs.set(
        title="Discriminator output", ylim=(0, 1), ylabel="probability of being real" if is_cross_entropy else "sigmoid"
    )
    for axes in (losses, outputs):
        axes.set_xlabel("epoch")
        axes.legend()
    return figure


@styled()
def score_curves(records: Records) -> Figure:
    """Plot FID, precision, recall and coverage over the epochs, with dotted lines for real images; `records` are of scores.jsonl.

    Where the run had collapsed at a record, the epochs since the record before are shaded.
    """
    epochs, baseline = _column(records, "epoch"), records[-1]["real_baseline"]
    collapsed = [warning is not None for warning in find_collapses(records)]
    figure = Figure(figsize=(WIDTH, 2.9))
    ((fid, fractions),) = panels(figure)
    for axes, styles in zip((fid, fractions), SCORE_STYLES, strict=True):
        for name, (color, marker) in styles.items():
            axes.plot(epochs, _column(records, name), color=color, marker=marker, markersize=3.5, label=name)
            axes.axhline(baseline[name], color=color, linestyle=":", linewidth=1.2)
        for start, end, is_collapsed in zip([0, *epochs], epochs, collapsed, strict=False):
            if is_collapsed:
                axes.axvspan(start, end, color=SHADE, zorder=0, linewidth=0)
        axes.set(xlabel="epoch", xlim=(0, epochs[-1] * 1.03))
        integer_ticks(axes.xaxis)
    fid.set(title="FID, lower is better", ylabel="squared distance", yscale="log")
    plain_log_ticks(fid.yaxis)
    fractions.set(title="Precision, recall, coverage", ylabel="fraction, higher is better", ylim=(-0.02, 1.02))
    handles, _ = fractions.get_legend_handles_labels()
    handles.append(Line2D([], [], color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="real images"))
    if any(collapsed):
        handles.append(Patch(color=SHADE, label="collapsed"))
    figure.legend(handles=handles, loc="outside lower center", ncols=int(figure.get_figwidth()))
    return figure


def _column(records: Records, name: str) -> Any:
    return np.array([record[name] for record in records], dtype=float)  # None becomes NaN


def _show_framed(axes: Axes, image: Tensor) -> None:
    """Show an image [C, H, W] in [-1, 1] with the frame of its axes."""
    pixels = to_pixels(image).permute(1, 2, 0).numpy()
    show_pixels(axes, pixels[:, :, 0] if len(image) == 1 else pixels)
    axes.set_axis_on()
    axes.spines[:].set_visible(True)
    axes.set(xticks=[], yticks=[])
