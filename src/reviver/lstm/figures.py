"""Figures of the LSTM: loss and accuracy over the epochs, recall over the length of the sequences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reviver.figures import CHANCE_COLOR, TRAIN_COLOR, VALIDATION_COLOR, plain_log_ticks, styled
from reviver.lstm.curve import NETWORKS, Outcome, summarise
from reviver.lstm.evaluation import Evaluation

Metrics = Sequence[Mapping[str, Any]]

NETWORK_STYLES = {
    "growing": (TRAIN_COLOR, "o"),
    "fixed": (VALIDATION_COLOR, "s"),
    "chrono": ("#7a3f9d", "^"),
    "rnn": (CHANCE_COLOR, "x"),
}

PUBLIC_RESULTS = ((13, 20), (31, 33))
"""Lengths up to which the LSTMs of public solutions of this task are reliable: most, and the best (docs/explanation/recall.md)."""


def learning_curves(runs: Sequence[Metrics], num_classes: int = 10) -> Figure:
    """Loss and accuracy of training and validation over the epochs.

    The line is the mean over `runs`, the band its standard deviation; the dotted line is chance, which is
    an accuracy of 1/C and a loss of ln C. Training is measured with dropout on, validation without.
    """
    with styled():
        figure = Figure()
        loss, accuracy = figure.subplots(1, 2)
        for axes, name, chance in ((loss, "loss", np.log(num_classes)), (accuracy, "accuracy", 1 / num_classes)):
            _mean_and_band(axes, runs, f"train_{name}", TRAIN_COLOR, "train (dropout on)")
            _mean_and_band(axes, runs, f"validation_{name}", VALIDATION_COLOR, "validation")
            axes.axhline(chance, color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="chance")
        loss.set(title="Loss", xlabel="epoch", ylabel="cross-entropy", ylim=(0, None))
        accuracy.set(title="Accuracy", xlabel="epoch", ylabel="fraction right", ylim=(0, 1.02))
        loss.legend(loc="center right")
    return figure


def _mean_and_band(axes: Axes, runs: Sequence[Metrics], name: str, color: str, label: str) -> None:
    epochs = [point["epoch"] for point in runs[0]]
    values: NDArray[np.float64] = np.array([[point[name] for point in run] for run in runs], dtype=np.float64)
    mean = values.mean(0)
    axes.plot(epochs, mean, color=color, label=label)
    if len(runs) > 1:
        spread = values.std(0, ddof=1)
        axes.fill_between(epochs, mean - spread, mean + spread, color=color, alpha=0.2, linewidth=0)


def recall_curve(outcomes: Sequence[Outcome], chance: float = 0.1) -> Figure:
    """Accuracy over the length of the palindromes, and the training sequences that 99 % took, of several networks.

    Lines are means over the seeds, bands standard deviations. In the panel on the right a number at a point says how
    many of the seeds got there, where not all did. Grey bands on the left are public results.
    """
    with styled():
        figure = Figure(figsize=(6.3, 3.4))
        accuracy, needed = figure.subplots(1, 2)
        for first, last in PUBLIC_RESULTS:
            span = accuracy.axvspan(first * 0.97, last * 1.03, color="#e4e4e4", zorder=0, linewidth=0)
        span.set_label("public solutions: reliable up to here")
        results = sorted(summarise(outcomes), key=lambda row: row["length"])
        for network, (color, marker) in NETWORK_STYLES.items():
            rows = [row for row in results if row["network"] == network]
            if not rows:
                continue
            lengths = [row["length"] for row in rows]
            mean, spread = (np.array([row[f"accuracy_{name}"] for row in rows]) for name in ("mean", "std"))
            style = {"color": color, "marker": marker, "markersize": 4}
            accuracy.plot(lengths, mean, label=NETWORKS[network][0], **style)
            band = np.clip(mean - spread, 0, 1), np.clip(mean + spread, 0, 1)
            accuracy.fill_between(lengths, *band, color=color, alpha=0.2, linewidth=0)
            reached = [row for row in rows if row["reached"]]
            needed.plot([row["length"] for row in reached], [row["sequences_mean"] for row in reached], **style)
            for row in reached:
                if row["reached"] < row["seeds"]:
                    place = row["length"], row["sequences_mean"]
                    text = f"{row['reached']}/{row['seeds']}"
                    needed.annotate(text, place, (3, 3), textcoords="offset points", fontsize=6.5, color=color)
        accuracy.axhline(chance, color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="chance")
        accuracy.set(title="Accuracy", xlabel="length T", ylabel="fraction right", xscale="log", ylim=(0, 1.04))
        needed.set(title="Training sequences to 99 %", xlabel="length T", ylabel="sequences", yscale="log")
        needed.set(xscale="log", xlim=accuracy.get_xlim())
        if not any(outcome.reached for outcome in outcomes):
            used = [outcome.sequences for outcome in outcomes]
            needed.set_ylim(min(used), 10 * max(used))
            needed.text(0.5, 0.5, "none got there", transform=needed.transAxes, ha="center", color=CHANCE_COLOR)
        for axis in (accuracy.xaxis, needed.xaxis, needed.yaxis):
            plain_log_ticks(axis)
        figure.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def generalisation(evaluations: Sequence[Evaluation], trained: int, chance: float) -> Figure:
    """Accuracy of one network over the length of the sequences, with the length that it was trained on marked.

    Bars are 95 % intervals of a fraction (Wilson 1927).
    """
    with styled():
        figure = Figure(figsize=(6.3, 2.9))
        axes = figure.subplots()
        lengths = [evaluation.length for evaluation in evaluations]
        values = np.array([evaluation.score.accuracy for evaluation in evaluations])
        low, high = np.transpose([wilson(one.score.accuracy, one.score.size) for one in evaluations])
        errors = np.maximum(0, [values - low, high - values])
        axes.errorbar(lengths, values, errors, color=VALIDATION_COLOR, marker="o", markersize=4, capsize=2)
        axes.axvline(trained, color=TRAIN_COLOR, linestyle="--", linewidth=1.0)
        axes.text(trained, 0.5, " trained up to here", color=TRAIN_COLOR, fontsize=8, ha="left", va="center")
        axes.axhline(chance, color=CHANCE_COLOR, linestyle=":", linewidth=1.2)
        axes.text(min(lengths), chance + 0.01, "chance", color=CHANCE_COLOR, fontsize=8, ha="left", va="bottom")
        axes.set(title="Accuracy beyond the lengths of training", xlabel="length T", ylabel="fraction right")
        axes.set(xscale="log", ylim=(0, 1.04))
        plain_log_ticks(axes.xaxis)
    return figure


def wilson(fraction: float, size: int) -> tuple[float, float]:
    """The 95 % interval of a fraction found in `size` trials (Wilson 1927)."""
    z = 1.959964
    centre = (fraction + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * (fraction * (1 - fraction) / size + z * z / (4 * size * size)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)
