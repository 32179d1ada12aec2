"""Figure of a sweep: the measure over the axes, mean ± standard deviation over the seeds."""

from statistics import median

from matplotlib.figure import Figure

from reviver.figures import INK, plain_log_ticks, styled
from reviver.sweep.statistics import STATISTICS, Row, bounds_of, show, stopped_short
from reviver.text import leaves_bounds

STYLES = tuple(zip([f"C{index}" for index in range(8)], "os^DxvP*", ("-", "--", "-.", ":") * 2, strict=True))
"""Color, marker and dashes of each line; markers and dashes also tell them apart in grayscale."""

LENGTH_LABEL = "length reached / final length"


def summary_figure(summary: Row) -> Figure:
    """Plot the measure over an axis of a sweep: mean ± standard deviation (n - 1) over the seeds, near a bound median and range.

    If some runs stopped before the final length of their curriculum, it is the length reached, as a fraction: mean and range.
    The horizontal axis is the first numeric axis with several values, else the first one with several values. Each value on
    the other axes is a line of its own, of more than there are `STYLES` those with the best settings. The best setting has a
    ring, as do all that equal it. A dashed line is chance, if it is the same for all.
    """
    settings, by_length = summary["settings"], stopped_short(summary)
    bounds = bounds_of(summary["measure"])
    use_median = any(leaves_bounds(setting["values"], *bounds) for setting in settings)
    rank = {id(settings[index]): place for place, index in enumerate(summary["ranking"])}
    leaders = {id(settings[index]) for index in summary["leaders"]}
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
    chosen = sorted(lines.items(), key=lambda line: min(rank[id(setting)] for setting in line[1]))[: len(STYLES)]
    with styled():
        figure = Figure(figsize=(6.3, 3.2))
        panel = figure.subplots()
        for number, ((label, points), (color, marker, dashes)) in enumerate(zip(chosen, STYLES, strict=False)):
            # Beside each other where there are no lines, so that error bars do not cover each other.
            offset = 0.1 * (number - (len(chosen) - 1) / 2)
            places = (
                row[horizontal] if numeric else names.index(show(row.get(horizontal, ""))) + offset for row in points
            )
            x, rows = zip(*sorted(zip(places, points, strict=True), key=lambda point: point[0]), strict=True)
            means, *spreads = zip(*(_value(row, by_length, use_median) for row in rows), strict=True)
            panel.errorbar(
                x, means, spreads if any(map(any, spreads)) else None, capsize=2.5, elinewidth=0.9, markersize=4.5,
                label=plain_text(label), color=color, marker=marker, linestyle=dashes if numeric else "none",
            )  # fmt: skip
            for place, row, value in zip(x, rows, means, strict=True):
                if id(row) in leaders and len(settings) > 1:
                    panel.plot(place, value, "o", color=INK, markersize=11, fillstyle="none", markeredgewidth=0.8)
        values = sorted({setting[horizontal] for setting in settings}) if numeric else []
        if values and values[0] > 0 and values[-1] > 20 * values[0]:
            panel.set_xscale("log")
            plain_log_ticks(panel.xaxis)
        elif 0 < len(values) <= 8:
            panel.set_xticks(values, [f"{value:g}" for value in values])
        elif not numeric:
            texts = [plain_text(text if len(text) <= 24 else "…" + text[-23:]) for text in names]
            panel.set_xticks(range(len(names)), texts, rotation=30 if sum(map(len, texts)) > 60 else 0)
            panel.set_xlim(-0.5, len(names) - 0.5)
        center = "Mean and range" if by_length else "Median and range" if use_median else "Mean ± standard deviation"
        has_spread = any(setting["std"] is not None for setting in settings)
        what = f"{center} over the seeds" if has_spread else "One seed per setting"
        title = f"{what}; ring: best{'' if summary['best'] else ', equal within the spread'}"
        panel.set_title(title, fontweight="normal", fontsize="small")
        panel.set(xlabel=_words(horizontal), ylabel=LENGTH_LABEL if by_length else _words(summary["measure"]))
        if not by_length:
            chances = {setting["chance"] for setting in settings if setting["n"]}
            for chance in chances - {None} if len(chances) == 1 else ():
                panel.axhline(chance, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
                panel.text(1, chance, "chance", transform=panel.get_yaxis_transform(), ha="right", va="bottom")
        if others:
            selection = f", best {len(chosen)} of {len(lines)}" if len(lines) > len(chosen) else ""
            title = ", ".join(map(_words, others)) + selection
            figure.legend(loc="outside right center", title=title, title_fontsize="small")
    return figure


def _value(setting: Row, by_length: bool, use_median: bool) -> tuple[float, float, float]:
    """Return the center of a bar and how far it goes below and above: of the measure, or of the fraction of the final length."""
    if not by_length and use_median:
        center = median(setting["values"])
        return center, center - min(setting["values"]), max(setting["values"]) - center
    if not by_length:
        return setting["mean"], setting["std"] or 0.0, setting["std"] or 0.0
    if setting["reached"] is None:  # no curriculum
        return 1.0, 0.0, 0.0
    low, mean, high = (length / setting["final_length"] for length in setting["lengths_reached"])
    return mean, mean - low, high - mean


def plain_text(text: str) -> str:
    """Return text as matplotlib shows it literally."""
    return text.replace("$", r"\$")  # matplotlib would read math between dollars


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", " ")
