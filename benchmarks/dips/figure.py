"""Figure of docs/explanation/dips.md, drawn from docs/measurements/dips.json: `python -m benchmarks.dips.figure`."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.publish import MEASUREMENTS, PICTURES
from reviver.figures import CHANCE_COLOR, TRAIN_COLOR, VALIDATION_COLOR, save_figure, styled


def dips_figure(result: Mapping[str, Any]) -> Figure:
    """Plot the last epochs of one seed update by update, the sharpness over training, and the replays of all dips."""
    with styled():
        figure = Figure(figsize=(6.3, 6.8))
        grid = figure.add_gridspec(3, 2, height_ratios=(1, 1, 1.5))
        trace = result["trace"]
        accuracy = figure.add_subplot(grid[0, :])
        plot_accuracy(accuracy, trace)
        margins = figure.add_subplot(grid[1, :], sharex=accuracy)
        plot_margins(margins, trace)
        plot_sharpness(figure.add_subplot(grid[2, 0]), result)
        plot_replays(figure.add_subplot(grid[2, 1]), result)
    return figure


def plot_accuracy(axes: Axes, trace: list[Mapping[str, Any]]) -> None:
    """Plot the validation accuracy after every update; a circle marks the end of an epoch."""
    epochs, values = [row["epoch"] for row in trace], [row["accuracy"] for row in trace]
    axes.plot(
        epochs, values, color=VALIDATION_COLOR, marker=".", markersize=3, linewidth=1.0, label="after each update"
    )
    ends = [row for row in trace if abs(row["epoch"] - round(row["epoch"])) < 1e-9]
    axes.plot(
        [row["epoch"] for row in ends],
        [row["accuracy"] for row in ends],
        "o",
        color="black",
        markerfacecolor="none",
        markersize=6,
        label="end of the epoch: what a run records",
    )
    axes.set(title="Validation accuracy, seed 0", ylabel="fraction correct", ylim=(0.86, 1.01))
    axes.legend(loc="lower left", ncols=2)


def plot_margins(axes: Axes, trace: list[Mapping[str, Any]]) -> None:
    """Plot by how much the logit of a digit lies above that of the next digit, for two digits."""
    epochs = [row["epoch"] for row in trace]
    for digit, color, style in ((8, TRAIN_COLOR, "-"), (2, CHANCE_COLOR, "--")):
        axes.plot(
            epochs,
            [row[str(digit)] for row in trace],
            style,
            color=color,
            linewidth=1.2,
            label=f"digit {digit}: logit of {digit} − logit of {digit + 1}",
        )
    axes.axhline(0.0, color="black", linewidth=0.8)
    low = min(min(row["8"], row["2"]) for row in trace)
    high = max(max(row["8"], row["2"]) for row in trace)
    axes.set(title="Margin to the next digit", xlabel="epoch", ylabel="difference", ylim=(low - 0.3, 1.45 * high))
    axes.legend(loc="upper left", ncols=2)


def plot_sharpness(axes: Axes, result: Mapping[str, Any]) -> None:
    """Plot the sharpness over training: mean over the seeds, and each seed as a dot."""
    epochs = [int(epoch) for epoch in result["seeds"][0]["sharpness"]]
    values = np.array([[seed["sharpness"][str(epoch)] for epoch in epochs] for seed in result["seeds"]])
    for row in values:
        axes.plot(epochs, row, ".", color=TRAIN_COLOR, markersize=4, alpha=0.5)
    axes.plot(epochs, values.mean(0), color=TRAIN_COLOR, linewidth=1.5)
    axes.axhline(2.0, color=VALIDATION_COLOR, linestyle="--", linewidth=1.2)
    axes.text(epochs[-1], 2.05, "unstable above", color=VALIDATION_COLOR, fontsize=8, ha="right", va="bottom")
    axes.set(title="Sharpness × learning rate", xlabel="epoch", ylabel="largest eigenvalue")
    axes.set_ylim(0, max(2.6, 1.1 * values.max()))


def plot_replays(axes: Axes, result: Mapping[str, Any]) -> None:
    """Plot which part of the dips remains if one thing in the update is different."""
    replays = result["summary"]["replays"]
    names = [name for name in SHOWN if name in replays]
    values = [replays[name]["dips"] for name in names]
    places = range(len(names))
    axes.barh(places, values, color=TRAIN_COLOR, height=0.6)
    for place, value in zip(places, values, strict=True):
        axes.text(value + 0.02, place, f"{value:.0%}", va="center", fontsize=8)
    axes.set_yticks(places, [SHOWN[name] for name in names], fontsize=7.5)
    axes.invert_yaxis()
    axes.set(title="Dips that remain", xlabel="fraction", xlim=(0, 1.3), xticks=(0, 0.5, 1))
    axes.grid(visible=False, axis="y")


SHOWN = {
    "none": "as trained",
    "√v at its maximum of the last 100 updates": "√v at its recent maximum",
    "every weight moves by at most the learning rate": "each weight by ≤ lr",
    "the whole step shortened as much": "step shortened as much",
    "learning rate × 1/2": "learning rate × 1/2",
    "gradient clipped at norm 1": "clipped at norm 1",
    "other dropout masks": "other dropout masks",
    "no dropout": "no dropout",
    "Adam's mean of the gradients (β₁ = 0.9)": "Adam's mean gradient",
}
"""Changes of `benchmarks.dips.replay` in the figure, and their short names."""


def main() -> None:
    """Draw the figure from the results on disk."""
    result = json.loads((MEASUREMENTS / "dips.json").read_text(encoding="utf-8"))
    save_figure(dips_figure(result), PICTURES / "dips.png")


if __name__ == "__main__":
    main()
