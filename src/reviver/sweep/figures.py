"""Figure of a sweep: the measure over the axes, mean ± standard deviation over the seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reviver.figures import plain_log_ticks, styled
from reviver.sweep.summary import Setting, Summary, show

MIN_LOG_RATIO = 20.0
"""Minimum ratio of the largest to the smallest value on an axis, from which the axis is logarithmic."""
MAX_LINES = 8
"""Maximum number of lines."""
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


class _Line(NamedTuple):
    """Settings that differ on the horizontal axis only."""

    label: str
    """Values on the other axes."""
    settings: list[Setting]
    """Settings with a result, by their position."""


def summary_figure(summary: Summary) -> Figure:
    """Plot the measure over an axis of a sweep: mean ± standard deviation (n - 1) over the seeds.

    The horizontal axis is the first numeric axis with several values, else the first one with several values. It is
    logarithmic if it spans more than a factor of `MIN_LOG_RATIO`; an axis that is not numeric has points without a line.
    Each value on the other axes is a line of its own; of more than `MAX_LINES`, those with the best settings. The best
    setting has a ring.

    Args:
        summary: summary of the sweep.
    """
    varying = [name for name in summary.axes if len({show(setting.values[name]) for setting in summary.settings}) > 1]
    numeric = [name for name in varying if all(_is_number(setting.values[name]) for setting in summary.settings)]
    horizontal = (numeric or varying or [""])[0]
    others = [name for name in varying if name != horizontal]
    lines = _lines(summary, horizontal, others)
    positions = _positions(summary, horizontal, is_numeric=bool(numeric))
    with styled():
        figure = Figure(figsize=(6.3, 3.2))
        axes = figure.subplots()
        for number, line in enumerate(lines[:MAX_LINES]):
            # On an axis that is not numeric, beside each other, so that error bars do not cover each other.
            offset = 0.0 if numeric else 0.1 * (number - (min(len(lines), MAX_LINES) - 1) / 2)
            x = [positions[_text(setting, horizontal)] + offset for setting in line.settings]
            _plot_line(axes, x, line, STYLES[number], connected=bool(numeric))
            for place, setting in zip(x, line.settings, strict=True):
                if setting is summary.best and len(summary.settings) > 1:
                    axes.plot(
                        place, setting.mean, "o", markersize=11, fillstyle="none", color="black", markeredgewidth=0.8
                    )
        if numeric:
            _scale(axes, list(positions.values()))
        else:
            _name_positions(axes, positions)
        best = "largest" if summary.goal == "max" else "smallest"
        axes.set(xlabel=_words(horizontal), ylabel=_words(summary.measure))
        has_spread = any(setting.std is not None for setting in summary.settings)
        what = "Mean ± standard deviation over the seeds" if has_spread else "One seed per setting"
        axes.set_title(f"{what}; ring: {best} value", fontweight="normal", fontsize=8)
        if others:
            selection = f", best {MAX_LINES} of {len(lines)}" if len(lines) > MAX_LINES else ""
            title = ", ".join(map(_words, others)) + selection
            figure.legend(loc="outside right center", title=title, title_fontsize=8)
    return figure


def _lines(summary: Summary, horizontal: str, others: Sequence[str]) -> list[_Line]:
    """Return the lines in the order of the sweep; of more than `MAX_LINES`, those with the best settings come first."""
    groups: dict[str, list[Setting]] = {}
    for setting in summary.settings:
        if setting.measured:
            groups.setdefault(", ".join(show(setting.values[name]) for name in others), []).append(setting)
    lines = [_Line(label, settings) for label, settings in groups.items()]
    if len(lines) > MAX_LINES:
        sign = -1 if summary.goal == "max" else 1
        lines.sort(key=lambda line: min(sign * setting.mean for setting in line.settings))
    if all(_is_number(setting.values.get(horizontal)) for setting in summary.settings):
        for line in lines:
            line.settings.sort(key=lambda setting: setting.values[horizontal])
    return lines


def _positions(summary: Summary, horizontal: str, *, is_numeric: bool) -> dict[str, float]:
    """Return the position of each value on the horizontal axis, by its text."""
    if is_numeric:
        return {_text(setting, horizontal): float(setting.values[horizontal]) for setting in summary.settings}
    texts = dict.fromkeys(_text(setting, horizontal) for setting in summary.settings)
    return {text: float(index) for index, text in enumerate(texts)}


def _plot_line(axes: Axes, x: list[float], line: _Line, style: tuple[str, str, str], *, connected: bool) -> None:
    """Plot means, with standard deviations where there are several seeds."""
    color, marker, dashes = style
    means = [setting.mean for setting in line.settings]
    spreads = [setting.std or 0.0 for setting in line.settings]
    look: dict[str, Any] = {
        "color": color,
        "marker": marker,
        "markersize": 4.5,
        "linestyle": dashes if connected else "none",
    }
    if any(spreads):
        axes.errorbar(x, means, spreads, capsize=2.5, elinewidth=0.9, label=line.label, **look)
    else:
        axes.plot(x, means, label=line.label, **look)


def _scale(axes: Axes, values: list[float]) -> None:
    """Make a numeric axis logarithmic if it spans a large range; mark every value of a short axis."""
    if min(values) > 0 and max(values) / min(values) > MIN_LOG_RATIO:
        axes.set_xscale("log")
        plain_log_ticks(axes.xaxis)
    elif len(set(values)) <= 8:
        axes.set_xticks(sorted(set(values)), [f"{value:g}" for value in sorted(set(values))])


def _name_positions(axes: Axes, positions: Mapping[str, float]) -> None:
    """Mark the values of an axis that is not numeric by their texts."""
    axes.set_xticks(list(positions.values()), [text if len(text) <= 24 else text[:23] + "…" for text in positions])
    axes.set_xlim(-0.5, max(len(positions), 1) - 0.5)
    if sum(map(len, positions)) > 60:
        axes.tick_params(axis="x", labelrotation=30)


def _text(setting: Setting, axis: str) -> str:
    return show(setting.values[axis]) if axis else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _words(name: str) -> str:
    """Return the name of an axis or a measure as words."""
    return name.replace("_", " ").replace(".", " ")
