"""Figure of `benchmarks.scalar_recall`: the answers to each digit over time, before and after."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from benchmarks.memory_dynamics import START
from reviver.figures import styled

PANELS = (("recall-scalar", "Preset recall-scalar"), ("recall-scalar-10000", "Preset recall-scalar-10000"))
"""Goal and title of each panel, with its first seed."""


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Plot the expected answer to each digit against the steps, of the first seed of the goals in `PANELS`, and the drift."""
    goals = results["goals"]
    if any(name not in goals for name, _ in PANELS):
        return
    with styled():
        figure = Figure(figsize=(6.3, 5.4))
        grid = figure.add_gridspec(2, 2)
        panels = [figure.add_subplot(grid[0, 0])]
        panels.append(figure.add_subplot(grid[0, 1], sharey=panels[0]))
        for axes, (name, title) in zip(panels, PANELS, strict=True):
            plot_answers(axes, goals[name]["rows"][0]["hold"])
            axes.set_title(title)
            axes.axvline(goals[name]["rows"][0]["length"], color="0.5", linestyle=":", linewidth=1.0)
        panels[0].set_ylabel("Mean answer Σ k·p(k)")
        plot_drift(figure.add_subplot(grid[1, :]), results["drift"])
        figure.savefig(path, dpi=200)


def digit_color(digit: int) -> tuple[float, float, float, float]:
    """Return the color of a digit in all panels."""
    return colormaps["viridis"](digit / 10)


def plot_drift(axes: Axes, units: Sequence[Mapping[str, Any]]) -> None:
    """Plot the cell state of the drifting unit of each lost digit, as a fraction of that at `START`, until it is lost.

    The band is the standard deviation over the sequences.
    """
    for unit in units:
        begin = unit["steps"].index(START)
        end = unit["steps"].index(unit["lost"]) + 1
        steps, scale = unit["steps"][begin:end], unit["c_mean"][begin]
        mean = [value / scale for value in unit["c_mean"][begin:end]]
        spread = [value / abs(scale) for value in unit["c_std"][begin:end]]
        color = digit_color(unit["digit"])
        label = f"digit {unit['digit']}, unit {unit['unit']}"
        axes.plot(steps, mean, color=color, linewidth=1.4, label=label)
        low, high = ([a + sign * b for a, b in zip(mean, spread, strict=True)] for sign in (-1, 1))
        axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    axes.axhline(0.0, color="0.5", linewidth=0.8)
    axes.set_xlim(START, max((unit["crossed"] for unit in units), default=START) + 3 * START)
    axes.set_ylim(-1.5, 2.0)
    axes.set_xlabel("Steps since the digit")
    axes.set_ylabel(f"Cell state / that at {START} steps")
    axes.set_title("recall-scalar: the integrators of the digits that are lost")
    axes.legend(ncols=2, fontsize=7)


def plot_answers(axes: Axes, hold: Mapping[str, Any]) -> None:
    """Plot one line for each digit; it is flat while the network holds the digit."""
    for digit in range(10):
        color = digit_color(digit)
        axes.plot(hold["steps"], [row[digit] for row in hold["expected"]], color=color, linewidth=1.4)
    axes.set_xscale("log")
    axes.set_xlabel("Steps since the digit")
    axes.set_yticks(range(10))
    axes.xaxis.set_major_locator(FixedLocator([300, 1000, 3000, 10_000]))
    axes.set_xticklabels(["300", "1000", "3000", "10 000"])
    axes.minorticks_off()
    axes.set_xlim(hold["steps"][0], hold["steps"][-1])
