"""Figure of a sweep: the measure over the axes, mean ± standard deviation over the seeds."""

from typing import Any

from matplotlib.figure import Figure

from reviver.figures import plain_log_ticks, styled
from reviver.sweep.summary import STATISTICS, Row, show

MIN_LOG_RATIO = 20.0
"""Minimum ratio of the largest to the smallest value on an axis, from which the axis is logarithmic."""
MAX_TICKS = 8
"""Maximum number of values on a numeric axis that are all marked."""
STYLES = (
    ("#0b6fa4", "o", "-"),
    ("#d1600a", "s", "--"),
    ("#7a3f9d", "^", "-."),
    ("#3d8b37", "D", ":"),
    ("#6b6b6b", "x", "-"),
    ("#b8336a", "v", "--"),
    ("#8a6d1d", "P", "-."),
    ("#1b9e9e", "*", ":"),
)
"""Color, marker and dashes of each line; markers and dashes also tell them apart in grayscale."""


def summary_figure(summary: Row) -> Figure:
    """Plot the measure over an axis of a sweep: mean ± standard deviation (n - 1) over the seeds.

    The horizontal axis is the first numeric axis with several values, else the first one with several values. Each value
    on the other axes is a line of its own, or points where the horizontal axis is not numeric; of more than there are
    `STYLES`, those with the best settings. The best setting has a ring.

    Args:
        summary: summary of the sweep.
    """
    settings = summary["settings"]
    axes = [name for name in settings[0] if name not in STATISTICS]
    varying = [name for name in axes if len({show(setting[name]) for setting in settings}) > 1]
    numeric = [name for name in varying if all(type(setting[name]) in (int, float) for setting in settings)]
    horizontal = (numeric or varying or [""])[0]
    others = [name for name in varying if name != horizontal]
    names = list(dict.fromkeys(show(setting.get(horizontal, "")) for setting in settings))
    lines: dict[str, list[Row]] = {}
    for setting in settings:
        if setting["n"]:
            lines.setdefault(", ".join(show(setting[name]) for name in others), []).append(setting)
    sign = -1 if summary["goal"] == "max" else 1
    chosen = list(lines.items())
    if len(chosen) > len(STYLES):
        chosen = sorted(chosen, key=lambda line: min(sign * setting["mean"] for setting in line[1]))[: len(STYLES)]
    with styled():
        figure = Figure(figsize=(6.3, 3.2))
        panel = figure.subplots()
        for number, ((label, points), (color, marker, dashes)) in enumerate(zip(chosen, STYLES, strict=False)):
            # Beside each other where there are no lines, so that error bars do not cover each other.
            offset = 0.1 * (number - (len(chosen) - 1) / 2)
            placed: list[tuple[float, Row]] = [
                (setting[horizontal] if numeric else names.index(show(setting.get(horizontal, ""))) + offset, setting)
                for setting in points
            ]
            placed.sort(key=lambda point: point[0])
            x, means, spreads = zip(*((place, row["mean"], row["std"] or 0.0) for place, row in placed), strict=True)
            style: dict[str, Any] = {"color": color, "marker": marker, "linestyle": dashes if numeric else "none"}
            yerr = spreads if any(spreads) else None
            panel.errorbar(x, means, yerr, capsize=2.5, elinewidth=0.9, markersize=4.5, label=label, **style)
            for place, setting in placed:
                if setting is summary["best"] and len(settings) > 1:
                    ring: dict[str, Any] = {
                        "markersize": 11,
                        "fillstyle": "none",
                        "color": "black",
                        "markeredgewidth": 0.8,
                    }
                    panel.plot(place, setting["mean"], "o", **ring)
        values = sorted({setting[horizontal] for setting in settings}) if numeric else []
        if values and values[0] > 0 and values[-1] / values[0] > MIN_LOG_RATIO:
            panel.set_xscale("log")
            plain_log_ticks(panel.xaxis)
        elif 0 < len(values) <= MAX_TICKS:
            panel.set_xticks(values, [f"{value:g}" for value in values])
        elif not numeric:
            texts = [text if len(text) <= 24 else text[:23] + "…" for text in names]
            panel.set_xticks(range(len(names)), texts, rotation=30 if sum(map(len, texts)) > 60 else 0)
            panel.set_xlim(-0.5, len(names) - 0.5)
        best = "largest" if summary["goal"] == "max" else "smallest"
        has_spread = any(setting["std"] is not None for setting in settings)
        what = "Mean ± standard deviation over the seeds" if has_spread else "One seed per setting"
        panel.set_title(f"{what}; ring: {best} value", fontweight="normal", fontsize=8)
        panel.set(xlabel=_words(horizontal), ylabel=_words(summary["measure"]))
        if others:
            selection = f", best {len(chosen)} of {len(lines)}" if len(lines) > len(chosen) else ""
            title = ", ".join(map(_words, others)) + selection
            figure.legend(loc="outside right center", title=title, title_fontsize=8)
    return figure


def _words(name: str) -> str:
    """Return the name of an axis or a measure as words."""
    return name.replace("_", " ").replace(".", " ")
