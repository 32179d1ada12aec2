"""Metrics of a path through latent space: where the predicted class switches, and how far the features move.

φ are the features of an extractor, x(t) = G(z(t)) the image at t from 0 to 1.

    path length             ∫ ‖dφ(x)/dt‖ dt, as the sum of the distances of neighboring points
    end distance            ‖φ(x(1)) - φ(x(0))‖, the length of a straight line between the ends in feature space
    path length ratio       path length / end distance, at least 1
    perceptual path length  E_t ‖φ(x(t + ε)) - φ(x(t))‖² / ε²  (Karras, Laine & Aila 2019, eq. 2), of these features
                            instead of those of VGG

By the Cauchy-Schwarz inequality, perceptual path length ≥ path length² ≥ end distance², up to the spacing of the points.
The first two are equal if the features move at constant speed, the last two if they move along a straight line.

Shapes: S points on a path, Z latent size, D features, K classes, P pairs of ends.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from reviver.gan.interpolation import PATHS, interpolate_at
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_chunked
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.rng import make_rng
from reviver.settings.fields import Seed
from reviver.settings.validation import check

NUM_POINTS, NUM_PAIR_POINTS = 201, 51
"""S of the path between two chosen ends, and of each path between random ends."""
EPSILON = 1e-4
"""ε, as in Karras, Laine & Aila (2019)."""
MAX_PAIRS = 100_000


class ClassSwitch(NamedTuple):
    """A point where the most probable class changes."""

    t: float
    before: int
    after: int


@dataclass(frozen=True)
class PathMetrics:
    """Metrics of one path, see the top of this module, at points t from 0 to 1, [S].

    Attributes:
        probabilities: probability of each class at each point, [S, K].
        class_switches: points where the most probable class changes.
    """

    t: Tensor
    probabilities: Tensor
    class_switches: tuple[ClassSwitch, ...]
    path_length: float
    end_distance: float
    perceptual_path_length: float

    @property
    def values(self) -> dict[str, float | None]:
        """Value of each metric that paths are compared by; the path length ratio is None if the end distance is 0."""
        return {
            "class_switches": float(len(self.class_switches)),
            "min_confidence": float(self.probabilities.amax(1).min()),
            "path_length": self.path_length,
            "end_distance": self.end_distance,
            "path_length_ratio": self.path_length / self.end_distance if self.end_distance > 0 else None,
            "perceptual_path_length": self.perceptual_path_length,
        }

    @property
    def min_confidence_t(self) -> float:
        """The t at which the most probable class is least probable."""
        return float(self.t[self.probabilities.amax(1).argmin()])

    def as_dict(self) -> dict[str, Any]:
        """Return all metrics, for JSON."""
        return self.values | {
            "class_switches": [switch._asdict() for switch in self.class_switches],
            "min_confidence_t": self.min_confidence_t,
            "t": self.t.tolist(),
            "probabilities": self.probabilities.tolist(),
        }


class Summary(NamedTuple):
    """Mean, sample standard deviation (None for a single pair), median and range over pairs."""

    mean: float
    std: float | None
    median: float
    min: float
    max: float


@dataclass(frozen=True)
class PathComparison:
    """Metrics of each kind of path, between the same two ends and between P random pairs.

    Attributes:
        averages: for each kind of path and each of `PathMetrics.values`, the summary over the pairs; None where it is not defined.
    """

    extractor: str
    extractor_sha256: str
    paths: Mapping[str, PathMetrics]
    num_pairs: int
    averages: Mapping[str, Mapping[str, Summary | None]]

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        averages = {
            path: {name: summary and summary._asdict() for name, summary in summaries.items()}
            for path, summaries in self.averages.items()
        }
        paths = {path: metrics.as_dict() for path, metrics in self.paths.items()}
        return vars(self) | {"epsilon": EPSILON, "paths": paths, "averages": averages}


def find_class_switches(t: Tensor, logits: Tensor) -> tuple[ClassSwitch, ...]:
    """Find where the most probable class changes, at points t [S] with logits [S, K].

    Between two points the difference of the two logits is interpolated linearly; the switch is where it crosses 0.
    """
    logits = logits.double()
    classes = logits.argmax(1)
    switches = []
    for index in (classes[1:] != classes[:-1]).nonzero().flatten().tolist():
        before, after = int(classes[index]), int(classes[index + 1])
        # the lead of the class before over the class after: ≥ 0 at the first point, ≤ 0 at the second
        lead, next_lead = (logits[index : index + 2, before] - logits[index : index + 2, after]).tolist()
        fraction = lead / (lead - next_lead) if lead > next_lead else 0.5
        switches.append(ClassSwitch(float(t[index] + fraction * (t[index + 1] - t[index])), before, after))
    return tuple(switches)


def measure_path(
    generator: Generator,
    extractor: FeatureExtractor,
    start: Tensor,
    end: Tensor,
    path: str = "linear",
    num_points: int = NUM_POINTS,
) -> PathMetrics:
    """Compute the metrics of a path from z(0) to z(1), [Z] each, at S = `num_points` evenly spaced points.

    Raises `ConfigError` if `path` is spherical and the ends point in opposite directions.
    """
    t = torch.linspace(0, 1, num_points, dtype=torch.float64)
    z = interpolate_at(start, end, torch.cat([t, t[:-1] + EPSILON]), path)
    outputs = extractor.forward(generate_chunked(generator, z))
    logits, features = outputs.logits[:num_points], outputs.features.double()
    at_t, shifted = features[:num_points], features[num_points:]
    return PathMetrics(
        t=t,
        probabilities=logits.softmax(1),
        class_switches=find_class_switches(t, logits),
        path_length=float(at_t.diff(dim=0).norm(dim=1).sum()),
        end_distance=float((at_t[-1:] - at_t[:1]).norm(dim=1).sum()),
        perceptual_path_length=float((shifted - at_t[:-1]).square().sum(1).mean() / EPSILON**2),
    )


def compare_paths(
    generator: Generator, extractor: FeatureExtractor, start: Tensor, end: Tensor, *, num_pairs: int = 0, seed: int = 0
) -> PathComparison:
    """Compare the linear and the spherical path from z(0) to z(1), [Z], and between P = `num_pairs` random pairs.

    Raises `ConfigError` if `num_pairs` or `seed` is out of range, or the ends point in opposite directions.
    """
    check("num_pairs", num_pairs, Annotated[int, Field(ge=0, le=MAX_PAIRS)])
    check("seed", seed, Seed)
    paths = {path: measure_path(generator, extractor, start, end, path) for path in PATHS}
    rng = make_rng(seed, "pairs")
    starts, ends = (generator.sample_latents(num_pairs, rng) for _ in range(2))  # [P, Z]
    pairs = list(zip(starts, ends, strict=True))
    averages = {}
    for path in PATHS if pairs else ():
        measured = [measure_path(generator, extractor, *pair, path, NUM_PAIR_POINTS).values for pair in pairs]
        averages[path] = {name: _summarize([values[name] for values in measured]) for name in measured[0]}
    return PathComparison(extractor.name, extractor.sha256, paths, num_pairs, averages)


def _summarize(values: Sequence[float | None]) -> Summary | None:
    """Return the summary of a metric over paths; None if it is not defined for one of them."""
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return None
    return Summary(
        fmean(defined), stdev(defined) if len(defined) > 1 else None, median(defined), min(defined), max(defined)
    )


def describe(comparison: PathComparison) -> list[str]:
    """Return the lines of a table of the metrics, with what is needed to quote them."""
    lines = [f"features of {comparison.extractor}, sha256 {comparison.extractor_sha256}"]
    values = {path: metrics.values for path, metrics in comparison.paths.items()}
    lines += _table("between the ends", values, lambda _, value: _format(value))
    for path, metrics in comparison.paths.items():
        parts = [f"{switch.before} to {switch.after} at t = {switch.t:.3f}" for switch in metrics.class_switches]
        parts.append(f"minimum confidence at t = {metrics.min_confidence_t:.3f}")
        lines.append(f"{path}: {', '.join(parts)}")
    if comparison.num_pairs:
        title = f"{comparison.num_pairs} random pairs"
        lines += _table(title, comparison.averages, _format_summary)
    lines.append(
        f"{NUM_POINTS} points between the ends, {NUM_PAIR_POINTS} between random ones (mean ± standard deviation over the "
        "pairs, or with median and range where that leaves the possible values); "
        f"ε = {EPSILON:g}. These lengths cannot be compared with those of VGG's features."
    )
    return lines


def _table(title: str, columns: Mapping[str, Mapping[str, Any]], cell_text: Callable[[str, Any], str]) -> list[str]:
    """Return lines with a column for each kind of path and a row for each metric."""
    rows = {title: PATHS}
    for name in columns["linear"]:
        rows[f"  {name.replace('_', ' ')}"] = tuple(cell_text(name, columns[path][name]) for path in PATHS)
    width = max(20, *(len(text) for texts in rows.values() for text in texts))
    return [f"{label:<24}" + "".join(f" {text:>{width}}" for text in texts) for label, texts in rows.items()]


def _format_summary(name: str, summary: Summary | None) -> str:
    """Return mean ± standard deviation, or the mean with median and range where that leaves the bounds of the metric."""
    if summary is None or summary.std is None:
        return _format(summary and summary.mean)
    high = 1.0 if name == "min_confidence" else math.inf
    if summary.mean - summary.std >= 0 and summary.mean + summary.std <= high:
        return _format(summary.mean, summary.std)
    return (
        f"{_format(summary.mean)} (median {_format(summary.median)}, {_format(summary.min)} to {_format(summary.max)})"
    )


def _format(value: float | None, std: float | None = None) -> str:
    """Return a value, with its standard deviation if there is one, in as many decimals as show four digits of it."""
    if value is None:
        return "-"
    decimals = 0 if value == int(value) and not std else max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}" + ("" if std is None else f" ± {std:.{decimals}f}")
