"""Figure of docs/explanation/scaling.md: measured points as markers, the model as lines, extrapolation dashed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.distributed.model import Compute, Network
from benchmarks.distributed.predictions import PRESETS, Model
from reviver.figures import CHANCE_COLOR, TRAIN_COLOR, VALIDATION_COLOR, format_number, plain_log_ticks, styled

SERIES = {"2": (TRAIN_COLOR, "o"), "4": (VALIDATION_COLOR, "s")}
"""Color and marker by number of processes."""
NETWORK_STYLES = {
    "loopback": (CHANCE_COLOR, "loopback"),
    "10 Gb/s": (VALIDATION_COLOR, "10 Gb/s (assumed)"),
    "100 Gb/s": (TRAIN_COLOR, "100 Gb/s (assumed)"),
}
KINDS = {"LSTM": (TRAIN_COLOR, "o"), "GAN best": (VALIDATION_COLOR, "s"), "GAN report": ("#7a3f9d", "^")}
MAX_WORKERS = 1000


def scaling_figure(result: Mapping[str, Any]) -> Figure:
    """Plot the all-reduce, the computing time, and the steps of two presets over the number of processes."""
    with styled():
        figure = Figure(figsize=(6.3, 7.2))
        (reduce_axes, compute_axes), strong_axes, weak_axes = figure.subplots(3, 2)
        plot_all_reduce(reduce_axes, result)
        plot_compute(compute_axes, result)
        for column, preset in enumerate(("LSTM recall", "GAN best")):
            plot_steps(strong_axes[column], result, preset, is_weak=False)
            plot_steps(weak_axes[column], result, preset, is_weak=True)
        handles, labels = strong_axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def plot_all_reduce(axes: Axes, result: Mapping[str, Any]) -> None:
    """Plot the all-reduce over the bytes, with the fitted model."""
    for count, by_size in result["all_reduce"].items():
        color, marker = SERIES[count]
        sizes = np.array([int(size) for size in by_size])
        measured = [1e3 * values["median"] for values in by_size.values()]
        axes.plot(sizes, measured, marker, color=color, markersize=3.5, label=f"{count} processes")
        network = Network(result["fits"][count]["latency"], result["fits"][count]["bandwidth"])
        axes.plot(sizes, [1e3 * network.all_reduce(size, int(count)) for size in sizes], color=color, linewidth=1.2)
    axes.set(title="All-reduce over gloo", xlabel="bytes", ylabel="ms", xscale="log", yscale="log")
    axes.set_xticks([4, 4 << 10, 4 << 20, 64 << 20], ["4 B", "4 KB", "4 MB", "64 MB"])
    axes.minorticks_off()
    plain_log_ticks(axes.yaxis)
    axes.legend(loc="upper left")


def plot_compute(axes: Axes, result: Mapping[str, Any]) -> None:
    """Plot predicted over measured computing time; filled markers are sizes that the fit did not see."""
    for kind, (color, marker) in KINDS.items():
        for held_out in (False, True):
            points = [point for point in result["compute"][kind]["points"] if point["held_out"] == held_out]
            measured, predicted = ([1e3 * point[name] for point in points] for name in ("seconds", "predicted"))
            face = color if held_out else "none"
            label = kind if held_out else None
            axes.plot(measured, predicted, marker, color=color, markerfacecolor=face, markersize=4, label=label)
    values = [point["seconds"] for kind in KINDS for point in result["compute"][kind]["points"]]
    ends = [1e3 * min(values), 1e3 * max(values)]
    axes.plot(ends, ends, color=CHANCE_COLOR, linewidth=1.0, label="equal", zorder=0)
    axes.set(title="Computing, one core", xlabel="measured, ms", ylabel="model, ms", xscale="log", yscale="log")
    plain_log_ticks(axes.xaxis)
    plain_log_ticks(axes.yaxis)
    axes.legend(loc="upper left", title="filled: not used to fit", title_fontsize=7)


def plot_steps(axes: Axes, result: Mapping[str, Any], preset: str, *, is_weak: bool) -> None:
    """Plot the milliseconds of a step over the number of processes, or for weak scaling its efficiency t(1) / t(p).

    Args:
        axes: axes to plot into.
        result: results of the benchmark.
        preset: key of `PRESETS`.
        is_weak: each process has the rows of the preset's batch; otherwise they share them.
    """
    workload = PRESETS[preset]
    compute = {kind: Compute(tuple(fitted["coefficients"])) for kind, fitted in result["compute"].items()}
    model = Model(compute, result["seconds_per_copied_byte"])
    counts = np.unique(np.geomspace(1, MAX_WORKERS if is_weak else workload.batch, 40).astype(int))
    batches = counts * workload.batch if is_weak else np.full_like(counts, workload.batch)
    alone = model.seconds(workload, workload.batch, 1, Network(0.0, np.inf))
    for name, (color, label) in NETWORK_STYLES.items():
        network = Network(**result["predictions"]["networks"][name])
        seconds = np.array(
            [
                model.seconds(workload, int(batch), int(count), network)
                for count, batch in zip(counts, batches, strict=True)
            ]
        )
        values = alone / seconds if is_weak else 1e3 * seconds
        axes.plot(counts, values, "--", color=color, linewidth=1.3, label=f"extrapolated: {label}")
    if not is_weak:
        rows = [row for row in result["model_steps"] if row["preset"] == preset]
        processes = [row["processes"] for row in rows]
        measured, predicted = ([1e3 * row[name] for row in rows] for name in ("measured", "predicted"))
        axes.plot(processes, predicted, color="black", linewidth=1.0, label="model, two cores")
        axes.plot(processes, measured, "D", color="black", markersize=4, label="measured, two cores")
    axes.set(
        title=f"{preset}, {workload.batch} rows {'each' if is_weak else 'in all'}", xlabel="processes", xscale="log"
    )
    axes.set_xlim(0.9, 1.1 * MAX_WORKERS)
    ticks = (1, 2, 4, 10, 100, 1000)
    axes.set_xticks(ticks, [format_number(count) for count in ticks])
    axes.minorticks_off()
    if is_weak:
        axes.set(ylabel="efficiency", ylim=(0, 1.04))
    else:
        axes.set(ylabel="ms a step", yscale="log")
        plain_log_ticks(axes.yaxis)
