"""Figures of the LSTM: loss and accuracy over the epochs, of one run or of several seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reviver.figures import CHANCE_COLOR, TRAIN_COLOR, VALIDATION_COLOR, styled

Metrics = Sequence[Mapping[str, Any]]


def learning_curves(runs: Sequence[Metrics], num_classes: int = 10) -> Figure:
    """Loss and accuracy of training and validation over the epochs.

    The line is the mean over `runs`, the band its standard deviation; the dotted line is chance, which is
    an accuracy of 1/C and a loss of ln C. Training is measured with dropout on, validation without.
    """
    with styled():
        figure = Figure()
        loss, accuracy = figure.subplots(1, 2)
        for part, color, label in (
            ("train", TRAIN_COLOR, "train (dropout on)"),
            ("validation", VALIDATION_COLOR, "validation"),
        ):
            _mean_and_band(loss, runs, f"{part}_loss", color, label)
            _mean_and_band(accuracy, runs, f"{part}_accuracy", color, label)
        loss.axhline(np.log(num_classes), color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="chance")
        accuracy.axhline(1 / num_classes, color=CHANCE_COLOR, linestyle=":", linewidth=1.2, label="chance")
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
