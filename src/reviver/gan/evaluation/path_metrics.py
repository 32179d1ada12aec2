"""What lies on a path through latent space: classes, where they switch, and how long the way is to a classifier's eye.

φ are the features of an extractor, x(t) = G(z(t)) the images on the path from t = 0 to 1. Then

    length                  ∫ ‖dφ(x)/dt‖ dt, as the sum of the distances of neighbouring points
    straight                ‖φ(x(1)) - φ(x(0))‖, which no path is shorter than
    perceptual path length  E_t ‖φ(x(t + ε)) - φ(x(t))‖² / ε²  (Karras, Laine & Aila 2019), of these features, not of VGG's

By the Cauchy-Schwarz inequality  perceptual path length ≥ length² ≥ straight²,  up to the spacing of the points: the first
are equal if the images change evenly along the path, the others if they change without a path_length_ratio.

Shapes: S points on a path, Z latent size, D features, K classes, P pairs of ends.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from reviver.config import Seed
from reviver.gan.evaluation.feature_extractor import FeatureExtractor
from reviver.gan.interpolation import PATHS, interpolate_at
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_chunked
from reviver.runs.rng import make_rng
from reviver.validation import check

POINTS = 201
"""S, of the path between two chosen ends."""
PAIR_POINTS = 51
"""S, of each of the paths between random ends."""
EPSILON = 1e-4
"""ε, as Karras, Laine & Aila (2019)."""
MAX_PAIRS = 100_000


class Switch(NamedTuple):
    """Where the most probable class changes."""

    t: float
    before: int
    after: int


@dataclass(frozen=True)
class PathMetrics:
    """What was measured on one path.

    Attributes:
        t: the points, from 0 to 1, [S].
        probabilities: of each class at each point, [S, K].
        length, straight, perceptual_length: see above.
    """

    t: Tensor
    probabilities: Tensor
    switches: tuple[Switch, ...]
    length: float
    straight: float
    perceptual_length: float

    @property
    def numbers(self) -> dict[str, float | None]:
        """What is compared: see NUMBERS. The path_length_ratio is the length over the straight distance; None where that is 0."""
        return {
            "switches": float(len(self.switches)),
            "min_confidence": float(self.probabilities.amax(1).min()),
            "length": self.length,
            "straight": self.straight,
            "path_length_ratio": self.length / self.straight if self.straight > 0 else None,
            "perceptual_length": self.perceptual_length,
        }

    @property
    def min_confidence_t(self) -> float:
        """The t at which the most probable class is least probable."""
        return float(self.t[self.probabilities.amax(1).argmin()])

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return self.numbers | {
            "switches": [one._asdict() for one in self.switches],
            "min_confidence_t": self.min_confidence_t,
            "t": self.t.tolist(),
            "probabilities": self.probabilities.tolist(),
        }


NUMBERS = ("switches", "min_confidence", "length", "straight", "path_length_ratio", "perceptual_length")


class Summary(NamedTuple):
    """Mean and sample standard deviation over pairs."""

    mean: float
    std: float | None
    """None if there is one pair only."""


@dataclass(frozen=True)
class PathComparison:
    """Both kinds of path between the same ends, and between pairs of random noise.

    Attributes:
        between: for each path, what was measured between the two ends.
        pairs: P, 0 if none were drawn.
        averages: for each path, for each of NUMBERS, its summary over the pairs; None where it is not defined.
    """

    extractor: str
    extractor_sha256: str
    between: Mapping[str, PathMetrics]
    pairs: int
    averages: Mapping[str, Mapping[str, Summary | None]]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        averages = {
            path: {name: one and one._asdict() for name, one in summaries.items()}
            for path, summaries in self.averages.items()
        }
        used = {"extractor": self.extractor, "extractor_sha256": self.extractor_sha256, "epsilon": EPSILON}
        paths = {path: measure.as_dict() for path, measure in self.between.items()}
        return used | {"paths": paths, "pairs": self.pairs, "averages": averages}


def find_switches(t: Tensor, logits: Tensor) -> tuple[Switch, ...]:
    """Find where the most probable class changes, from the logits [S, K] at the points t [S].

    Between two points the difference of the two logits is taken to be a line, and the switch to be where it crosses 0.
    """
    logits = logits.double()
    classes = logits.argmax(1)
    switches = []
    for place in (classes[1:] != classes[:-1]).nonzero().flatten().tolist():
        before, after = int(classes[place]), int(classes[place + 1])
        lead, lag = (logits[place : place + 2, before] - logits[place : place + 2, after]).tolist()  # lead ≥ 0 ≥ lag
        share = lead / (lead - lag) if lead > lag else 0.5
        switches.append(Switch(float(t[place] + share * (t[place + 1] - t[place])), before, after))
    return tuple(switches)


def path_length(features: Tensor) -> float:
    """The sum of the distances between neighbours of features [S, D]."""
    return float(features.double().diff(dim=0).norm(dim=1).sum())


def perceptual_path_length(features: Tensor, moved: Tensor, epsilon: float = EPSILON) -> float:
    """The mean of ‖φ(x(t + ε)) - φ(x(t))‖² / ε² over points with features φ(x(t)) [S, D] and φ(x(t + ε)), `moved` [S, D]."""
    return float((moved.double() - features.double()).square().sum(1).mean() / epsilon**2)


def measure_path(
    generator: Generator,
    extractor: FeatureExtractor,
    start: Tensor,
    end: Tensor,
    path: str = "linear",
    points: int = POINTS,
) -> PathMetrics:
    """Measure the path from `start` to `end`, each [Z], at `points` evenly spaced points.

    Raises:
        ConfigError: if `path` is spherical and the ends point in opposite directions.
    """
    t = torch.linspace(0, 1, points, dtype=torch.float64)
    moved = t[:-1] + EPSILON
    z = interpolate_at(start, end, torch.cat([t, moved]), path)
    features, logits = extractor.forward(generate_chunked(generator, z))
    return PathMetrics(
        t=t,
        probabilities=logits[:points].softmax(1),
        switches=find_switches(t, logits[:points]),
        length=path_length(features[:points]),
        straight=path_length(features[[0, points - 1]]),
        perceptual_length=perceptual_path_length(features[: points - 1], features[points:]),
    )


def compare_paths(
    generator: Generator, extractor: FeatureExtractor, start: Tensor, end: Tensor, *, pairs: int = 0, seed: int = 0
) -> PathComparison:
    """Measure the linear and the spherical path between the same ends, and between `pairs` pairs of random noise.

    Raises:
        ConfigError: if `pairs` or `seed` is out of range, or ends point in opposite directions.
    """
    check("pairs", pairs, Annotated[int, Field(ge=0, le=MAX_PAIRS)])
    check("seed", seed, Seed)
    between = {path: measure_path(generator, extractor, start, end, path) for path in PATHS}
    averages = measure_pairs(generator, extractor, pairs, seed) if pairs else {}
    return PathComparison(extractor.name, extractor.sha256, between, pairs, averages)


def measure_pairs(
    generator: Generator, extractor: FeatureExtractor, pairs: int, seed: int
) -> dict[str, dict[str, Summary | None]]:
    """Measure both paths between the same pairs of random noise, and sum up their NUMBERS."""
    randomness = make_rng(seed, "pairs")
    starts, ends = generator.sample_latents(pairs, randomness), generator.sample_latents(pairs, randomness)  # [P, Z]
    both = list(zip(starts, ends, strict=True))
    return {
        path: summarise([measure_path(generator, extractor, *pair, path, PAIR_POINTS) for pair in both])
        for path in PATHS
    }


def summarise(measures: Sequence[PathMetrics]) -> dict[str, Summary | None]:
    """Mean and spread of each of NUMBERS; None if it is not defined for one of the paths."""
    summaries: dict[str, Summary | None] = dict.fromkeys(NUMBERS)
    for name in NUMBERS:
        values = [value for one in measures if (value := one.numbers[name]) is not None]
        if len(values) == len(measures):
            summaries[name] = Summary(fmean(values), stdev(values) if len(values) > 1 else None)
    return summaries


def describe(report: PathComparison) -> list[str]:
    """The measurements as a table, with what is needed to quote them."""
    lines = [f"features of {report.extractor}, sha256 {report.extractor_sha256}"]
    lines += _table("between the ends", lambda path, name: _number(report.between[path].numbers[name]))
    for path, measure in report.between.items():
        switches = [f"{one.before} to {one.after} at t = {one.t:.3f}" for one in measure.switches]
        lines.append(f"{path}: {', '.join([*switches, f'least sure at t = {measure.min_confidence_t:.3f}'])}")
    if report.pairs:
        lines += _table(f"{report.pairs} random pairs", lambda path, name: _spread(report.averages[path][name]))
    lines.append(
        f"{POINTS} points between the ends, {PAIR_POINTS} between random ones (mean ± standard deviation over the pairs); "
        f"ε = {EPSILON:g}. These lengths cannot be compared with those of VGG's features."
    )
    return lines


def _table(title: str, cell: Callable[[str, str], str]) -> list[str]:
    """A column for each path, a row for each of NUMBERS; `cell` returns the text for both."""
    rows = {title: PATHS} | {f"  {name.replace('_', ' ')}": [cell(path, name) for path in PATHS] for name in NUMBERS}
    return [f"{label:<20}" + "".join(f" {text:>20}" for text in texts) for label, texts in rows.items()]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.{_decimals(value)}f}"


def _spread(summary: Summary | None) -> str:
    text = _number(summary and summary.mean)
    return text if not summary or summary.std is None else f"{text} ± {summary.std:.{_decimals(summary.mean)}f}"


def _decimals(value: float) -> int:
    """The decimals that show four digits; none of a whole number."""
    return 0 if value == int(value) else max(0, 3 - math.floor(math.log10(abs(value))))
