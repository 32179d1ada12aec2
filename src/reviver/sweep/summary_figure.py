"""Figure of a sweep: the measure over the axes, mean ± standard deviation over the seeds."""

from matplotlib.figure import Figure

from reviver.figures import INK, plain_log_ticks, styled
from reviver.sweep.statistics import STATISTICS, Row, show

STYLES = tuple(zip([f"C{index}" for index in range(8)], "os^DxvP*", ("-", "--", "-.", ":") * 2, strict=True))
"""Color, marker and dashes of each line; markers and dashes also tell them apart in grayscale."""


def summary_figure(summary: Row) -> Figure:
    """Plot the measure over an axis of a sweep: mean ± standard deviation (n - 1) over the seeds.

    The horizontal axis is the first numeric axis with several values, else the first one with several values. Each value
    on the other axes is a line of its own, or points where the horizontal axis is not numeric; of more than there are
    `STYLES`, those with the best settings. The best setting has a ring.
    """
    settings, is_max = summary["settings"], summary["goal"] == "max"
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
    chosen = list(lines.items())
    if len(chosen) > len(STYLES):
        sign = -1 if is_max else 1
        chosen = sorted(chosen, key=lambda line: min(sign * setting["mean"] for setting in line[1]))[: len(STYLES)]
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
            means, spreads = zip(*((row["mean"], row["std"] or 0.0) for row in rows), strict=True)
            panel.errorbar(
                x, means, spreads if any(spreads) else None, capsize=2.5, elinewidth=0.9, markersize=4.5,
                label=_plain(label), color=color, marker=marker, linestyle=dashes if numeric else "none",
            )  # fmt: skip
            for place, row in zip(x, rows, strict=True):
                if row is summary["best"] and len(settings) > 1:
                    panel.plot(place, row["mean"], "o", color=INK, markersize=11, fillstyle="none", markeredgewidth=0.8)
        values = sorted({setting[horizontal] for setting in settings}) if numeric else []
        if values and values[0] > 0 and values[-1] > 20 * values[0]:
            panel.set_xscale("log")
            plain_log_ticks(panel.xaxis)
        elif 0 < len(values) <= 8:
            panel.set_xticks(values, [f"{value:g}" for value in values])
        elif not numeric:
            texts = [_plain(text if len(text) <= 24 else "…" + text[-23:]) for text in names]
            panel.set_xticks(range(len(names)), texts, rotation=30 if sum(map(len, texts)) > 60 else 0)
            panel.set_xlim(-0.5, len(names) - 0.5)
        has_spread = any(setting["std"] is not None for setting in settings)
        what = "Mean ± standard deviation over the seeds" if has_spread else "One seed per setting"
        title = f"{what}; ring: {'largest' if is_max else 'smallest'} value"
        panel.set_title(title, fontweight="normal", fontsize="small")
        panel.set(xlabel=_words(horizontal), ylabel=_words(summary["measure"]))
        if others:
            selection = f", best {len(chosen)} of {len(lines)}" if len(lines) > len(chosen) else ""
            title = ", ".join(map(_words, others)) + selection
            figure.legend(loc="outside right center", title=title, title_fontsize="small")
    return figure


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib would read math between dollars


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", " ")
