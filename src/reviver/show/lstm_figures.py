"""Figures of the LSTM: learning curves, recall curve, length generalization and confusion matrix."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reviver.figures import (
    CHANCE_COLOR,
    INK,
    SHADE,
    THIRD_COLOR,
    TRAIN_COLOR,
    VALIDATION_COLOR,
    draw_runs,
    integer_ticks,
    panels,
    plain_log_ticks,
    styled,
)
from reviver.show.recall_curve import CELLS, TRAININGS, network_of
from reviver.text import one_line, percent
from reviver.train.lstm.evaluation import Evaluation

Metrics = Sequence[Mapping[str, Any]]
Values = NDArray[np.float64]

CELL_COLORS = {"lstm": TRAIN_COLOR, "gru": THIRD_COLOR, "rnn": VALIDATION_COLOR}
CELL_COLORS |= {name: f"C{number}" for number, name in enumerate(CELLS, start=1) if name not in CELL_COLORS}
TRAINING_STYLES = {"curriculum": ("o", "-"), "fixed": ("s", "--"), "no-dropout": ("^", ":")}
"""Marker and dashes of each way to train in the recall curve; the color is that of the cell."""
ENCODING_NAMES = {"onehot": "one-hot digits", "scalar": "scalar digits"}
MAX_NAME = 24
"""Maximum length of the name of a class in the figure, in characters; of a longer one, both ends."""
MAX_COUNTED = 50
"""Maximum number of classes for which the cells show counts; with more, a number would be too small to read."""


@styled()
def learning_curves(
    runs: Sequence[Metrics],
    chance: float | None = 0.1,
    baseline: float | None = np.log(10),
    loss_name: str = "cross-entropy",
    *,
    dropout: bool = True,
) -> Figure:
    """Plot loss and accuracy of training and validation over the epochs: means over the runs, and bands of standard deviations.

    Dotted lines are the accuracy of the best constant guess and the loss of the best prediction without memory, `chance` and
    `baseline`: 1/C and ln C of C classes; None if unknown.
    """
    figure = Figure()
    ((loss, accuracy),) = panels(figure)
    epochs = [metrics["epoch"] for metrics in runs[0]]
    for axes, name, limit in ((loss, "loss", np.inf), (accuracy, "accuracy", 1.0)):
        for split, color, label in (
            ("train", TRAIN_COLOR, "training (with dropout)" if dropout else "training"),
            ("validation", VALIDATION_COLOR, "validation"),
        ):
            values: Values = np.array([[metrics[f"{split}_{name}"] for metrics in run] for run in runs], dtype=float)
            marker = "o" if len(epochs) == 1 else ""  # a line of one point is invisible
            draw_runs(axes, epochs, values, color, limits=(0, limit), marker=marker, label=label)
    for axes, level in ((loss, baseline), (accuracy, chance)):
        integer_ticks(axes.xaxis)
        if level is not None:
            axes.axhline(level, color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="chance")
    loss.set(title="Loss", xlabel="epoch", ylabel=loss_name, ylim=(0, 1.05 * loss.dataLim.y1))
    accuracy.set(title="Accuracy", xlabel="epoch", ylabel="fraction correct", ylim=(0, 1.02))
    loss.legend(loc="center right")
    return figure


@styled()
def recall_curve(summary: Sequence[Mapping[str, Any]], chance: float = 0.1) -> Figure:
    """Plot accuracy and number of training sequences to 99 % accuracy over the length: a column for each encoding of the digits.

    `summary` has the rows of `reviver.show.recall_curve.rows_of_curve`. Lines are medians over the seeds, bands their range. If only
    some of the seeds reach 99 %, the lower panel gives their number; its lines are means over them.
    """
    networks = {row["network"]: network_of(row["network"]) for row in summary}
    encodings = list(dict.fromkeys(network.encoding for network in networks.values()))
    texts = dict.fromkeys(network.cell for network in networks.values() if network.cell not in CELLS)
    colors = CELL_COLORS | {cell: f"C{number}" for number, cell in enumerate(texts, start=4)}
    num_seeds = max(row["seeds"] for row in summary)
    figure = Figure(figsize=(6.3, 4.6))
    columns = figure.subplots(2, len(encodings), sharex=True, sharey="row", squeeze=False).T
    for encoding, (accuracy, needed) in zip(encodings, columns, strict=True):
        for name, (cell, of_encoding, training) in networks.items():
            if of_encoding != encoding:
                continue
            rows = [row for row in summary if row["network"] == name]
            marker, dashes = TRAINING_STYLES[training]
            style = {"color": colors[cell], "marker": marker, "markersize": 4, "linestyle": dashes}
            lengths = [row["length"] for row in rows]
            label = f"{CELLS.get(cell, cell)}, {TRAININGS[training][0]}"
            if rows[0]["seeds"] < num_seeds:
                label += f", n = {rows[0]['seeds']}"
            accuracy.plot(lengths, [np.median(row["accuracies"]) for row in rows], label=label, **style)
            low, high = ([limit(row["accuracies"]) for row in rows] for limit in (min, max))
            accuracy.fill_between(lengths, low, high, color=colors[cell], alpha=0.15, linewidth=0)
            reached = [row for row in rows if row["reached"]]
            needed.plot([row["length"] for row in reached], [row["sequences_mean"] for row in reached], **style)
            for row in reached:
                if row["reached"] < row["seeds"]:
                    place = {"xytext": (3, 3), "textcoords": "offset points", "fontsize": "x-small"}
                    text, point = f"{row['reached']}/{row['seeds']}", (row["length"], row["sequences_mean"])
                    needed.annotate(text, point, color=colors[cell], **place)
        accuracy.axhline(chance, color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="chance")
        accuracy.set(title=f"Accuracy, {ENCODING_NAMES[encoding]}", xscale="log", ylim=(0, 1.04))
        needed.set(title="Training sequences to 99 %", xlabel="sequence length T", yscale="log")
        plain_log_ticks(needed.xaxis)
    if not any(row["reached"] for row in summary):
        columns[0][1].set_ylim(1e3, 1e6)  # any: nothing is plotted
    columns[0][0].set(ylabel="fraction correct")
    columns[0][1].set(ylabel="sequences")
    plain_log_ticks(columns[0][1].yaxis)
    labels = {
        label: line for axes in columns[:, 0] for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    labels["chance"] = labels.pop("chance")
    figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=round(figure.get_figwidth() / 3.15))
    return figure


@styled()
def generalization(evaluations: Sequence[Evaluation], trained: int, chance: float) -> Figure:
    """Plot the accuracy over the sequence length, with 95 % intervals (Wilson 1927), chance and the longest `trained` length."""
    figure = Figure(figsize=(6.3, 2.9))
    axes = figure.subplots()
    lengths, values, n = np.transpose([(item.length, item.score.accuracy, item.score.size) for item in evaluations])
    z = 1.959964
    center = (values + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (values * (1 - values) / n + z * z / (4 * n * n)) ** 0.5
    errors = np.maximum(0, [values - center + half, center + half - values])  # rounding may give -1e-17
    axes.errorbar(lengths, values, errors, color=VALIDATION_COLOR, marker="o", markersize=4, capsize=2)
    axes.axvline(trained, color=TRAIN_COLOR, linestyle="--", linewidth=1.0)
    axes.text(trained, 0.5, " training length", color=TRAIN_COLOR, fontsize="small", va="center")
    axes.axhline(chance, color=CHANCE_COLOR, linestyle=":", linewidth=1.2)
    axes.text(min(lengths), chance + 0.01, " chance", color=CHANCE_COLOR, fontsize="small", va="bottom")
    axes.set(title="Length generalization", xlabel="sequence length T", ylabel="fraction correct")
    axes.set(xscale="log", ylim=(0, 1.04))
    plain_log_ticks(axes.xaxis)
    return figure


@styled()
def confusion_figure(report: Mapping[str, Any]) -> Figure:
    """Plot the confusion matrix: a row per true class, a column per predicted class, and the number of sequences in a cell.

    The shade is the fraction of the row, so the diagonal shows the recall. The row of a class that does not occur is hatched.
    """
    counts = np.array(report["confusion"])
    supports = counts.sum(1, keepdims=True)
    fractions = np.divide(counts, supports, out=np.zeros(counts.shape), where=supports > 0)
    names = [one_line(score["name"]) for score in report["classes"]]
    names = [name if len(name) <= MAX_NAME else f"{name[:11]}…{name[-12:]}" for name in names]
    C = len(names)
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
    axes.set_title(f"{report['correct']} of {report['sequences']} correct ({percent(report['accuracy'], 1)}%)")
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=25)
    bar.set_label("fraction of the true class")
    bar.outline.set(linewidth=0.5, edgecolor=INK)
    return figure
