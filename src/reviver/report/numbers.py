"""Numbers as text: the same number looks the same everywhere in the report."""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

Format = Callable[[float], str]

NO_BREAK = "\u00a0"
"""The space between a number and its unit; a line does not break there."""


def percent(value: float) -> str:
    """0.8575 -> "85.75 %"."""
    return f"{100 * value:.2f}{NO_BREAK}%"


def coarse_percent(value: float) -> str:
    """0.8575 -> "86 %"; a small share that is not 0 is not shown as 0."""
    return f"{100 * value:.0f}{NO_BREAK}%" if value == 0 or value >= 0.01 else f"{100 * value:.1g}{NO_BREAK}%"


def points(value: float) -> str:
    """A difference of two percentages: 0.1375 -> "13.75 points"."""
    return f"{100 * value:.2f}{NO_BREAK}points"


def loss(value: float) -> str:
    """0.39149 -> "0.3915"."""
    return f"{value:.4f}"


def whole(value: float) -> str:
    """12000.0 -> "12 000"; a mean of whole numbers keeps one decimal."""
    if value == int(value):
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.1f}"


def seconds(value: float) -> str:
    """4.687 -> "4.7 s", 513.2 -> "8.6 min"."""
    if value < 100:
        return f"{value:.1f}{NO_BREAK}s"
    return f"{value / 60:.1f}{NO_BREAK}min" if value < 6000 else f"{value / 3600:.1f}{NO_BREAK}h"


def times(shape: Sequence[int]) -> str:
    """(128, 1) -> "128 × 1"."""
    return " × ".join(map(str, shape))


def plus_minus(value: float, error: float, show: Format) -> str:
    """A value with its error, the unit once: "85.75 ± 1.20 %"."""
    return f"{show(value).split(NO_BREAK)[0]}{NO_BREAK}±{NO_BREAK}{show(error)}"


class Spread(NamedTuple):
    """One number from each seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; there is none of one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def holds(self, value: float) -> bool:
        """Whether `value` lies within the range of the seeds, up to the rounding of the numbers shown."""
        return min(self.values) - 1e-9 <= value <= max(self.values) + 1e-9

    def show(self, show: Format) -> str:
        """Mean ± deviation, such as "85.75 ± 1.20 %", or the one value there is."""
        if self.deviation is None:
            return show(self.mean)
        return plus_minus(self.mean, self.deviation, show)

    def show_range(self, show: Format) -> str:
        """Lowest to highest, such as "85.25 to 87.63 %", or the one value there is."""
        low, high = show(min(self.values)), show(max(self.values))
        return low if low == high else f"{low.split(NO_BREAK)[0]} to {high}"
