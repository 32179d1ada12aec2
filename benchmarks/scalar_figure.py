"""Figure of `benchmarks.scalar_recall`: the answers to each digit over time, before and after."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from reviver.figures import styled

PANELS = (("recall-scalar", "Preset recall-scalar"), ("recall-scalar-10000", "Preset recall-scalar-10000"))
"""Goal and title of each panel, with its first seed."""


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Plot the expected answer to each digit against the steps, of the first seed of the goals in `PANELS`."""
    goals = results["goals"]
    if any(name not in goals for name, _ in PANELS):
        return
    with styled():
        figure = Figure(figsize=(6.3, 3.2))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (name, title) in zip(panels, PANELS, strict=True):
            plot_answers(axes, goals[name]["rows"][0]["hold"])
            axes.set_title(title)
            axes.axvline(goals[name]["rows"][0]["length"], color="0.5", linestyle=":", linewidth=1.0)
        panels[0].set_ylabel("Mean answer Σ k·p(k)")
        figure.savefig(path, dpi=200)


def plot_answers(axes: Axes, hold: Mapping[str, Any]) -> None:
    """Plot one line for each digit; it is flat while the network holds the digit."""
    for digit in range(10):
        color = colormaps["viridis"](digit / 10)
        axes.plot(hold["steps"], [row[digit] for row in hold["expected"]], color=color, linewidth=1.4)
    axes.set_xscale("log")
    axes.set_xlabel("Steps since the digit")
    axes.set_yticks(range(10))
    axes.xaxis.set_major_locator(FixedLocator([300, 1000, 3000, 10_000]))
    axes.set_xticklabels(["300", "1000", "3000", "10 000"])
    axes.minorticks_off()
    axes.set_xlim(hold["steps"][0], hold["steps"][-1])
