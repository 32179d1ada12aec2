"""Figure of the confusion matrix of a classifier."""

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure

from reviver.figures import INK, SHADE, styled
from reviver.train.lstm.classification import ClassificationReport

MAX_NAME = 24
"""Maximum length of the name of a class in the figure, in characters."""
MAX_COUNTED = 50
"""Maximum number of classes for which the cells show counts; with more, a number would be too small to read."""


@styled()
def confusion_figure(report: ClassificationReport) -> Figure:
    """Plot the confusion matrix: a row per true class, a column per predicted class.

    The shade of a cell is the fraction of the sequences of its row, so that the diagonal shows the recall; the number is
    that of the sequences. The row of a class that does not occur is hatched.
    """
    counts = np.array(report.confusion)
    supports = counts.sum(1, keepdims=True)
    fractions = np.divide(counts, supports, out=np.zeros(counts.shape), where=supports > 0)
    C = len(report.classes)
    names = [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…" for name in report.classes]
    labels = [name.replace("$", r"\$") for name in names]  # matplotlib would read math between dollars
    longest = max(map(len, names))
    scale = rcParams["font.size"] / 9
    cell = scale * float(np.interp(C, (2, 10, 40), (0.55, 0.4, 0.135)))  # inches: 40 classes fit on a page
    font = scale * float(np.interp(C, (2, 10, 40), (8.5, 8.0, 5.0)))  # points
    is_upright = longest * font * 0.6 < cell * 72  # a name fits above its column
    names_width = 0.0083 * font * longest  # inches: 0.6 of the font size per character, 72 points per inch
    width = C * cell + names_width + 1.6 * scale
    height = C * cell + (0.2 * scale if is_upright else names_width) + 0.95 * scale
    figure = Figure(figsize=(max(width, 3.2 * scale), max(height, 2.2 * scale)))
    axes = figure.subplots()
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for index in np.flatnonzero(supports == 0):
        axes.axhspan(index - 0.5, index + 0.5, facecolor=SHADE, edgecolor="#bdbdbd", hatch="////", linewidth=0)
    if C <= MAX_COUNTED:
        size = min(font, cell * 72 / (0.7 * max(len(str(counts.max())), 2)))  # a number fits into its cell
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if fractions[row, column] > 0.6 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=size)
    axes.set_xticks(range(C), labels, rotation=0 if is_upright else 90, fontsize=font)
    axes.set_yticks(range(C), labels, fontsize=font)
    axes.set_xticks(np.arange(C + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(C + 1) - 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(which="minor", color="#d0d0d0", linewidth=0.4)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(True)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"{report.num_correct} of {report.size} correct ({report.accuracy:.1%})")
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=25)
    bar.set_label("fraction of the true class")
    bar.outline.set(linewidth=0.5, edgecolor=INK)
    return figure
