"""Path metrics: closed forms of linear maps and circles, and averages over pairs."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import fmean, median, stdev

import pytest
import torch
from torch import Tensor, nn

from reviver.gan.interpolation import PATHS, interpolate_at
from reviver.gan.networks import Generator
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.path_metrics import (
    ClassSwitch,
    PathComparison,
    PathMetrics,
    Summary,
    compare_paths,
    describe,
    find_class_switches,
    measure_path,
)
from reviver.rng import make_rng


class LinearGenerator(Generator):
    """Generates z, times a factor, as the pixels of an image with one row."""

    def __init__(self, size: int, factor: float = 1.0) -> None:
        super().__init__(size, (1, 1, size))
        self.factor = factor

    def forward(self, z: Tensor) -> Tensor:
        return self.factor * z.view(len(z), 1, 1, -1)


def linear_extractor(features: Tensor, head: Tensor) -> FeatureExtractor:
    """Return an extractor of pixels x [Z] with the features Fx and the logits HFx, for `features` F [D, Z] and `head` H [K, D]."""
    classifier = DigitClassifier(len(head))
    classifier.features = nn.Sequential(nn.Flatten(), nn.Linear(features.shape[1], len(features), bias=False))
    classifier.head = nn.Linear(head.shape[1], len(head), bias=False)
    with torch.no_grad():
        classifier.features[1].weight.copy_(features)
        classifier.head.weight.copy_(head)
    return FeatureExtractor("linear", "0" * 64, classifier.eval())


def identity(size: int) -> FeatureExtractor:
    """Return an extractor whose features and logits are the pixels."""
    return linear_extractor(torch.eye(size), torch.eye(size))


def test_all_switches_are_found_in_order_where_the_lines_of_two_logits_cross() -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    logits = torch.stack([0.25 - t, torch.zeros_like(t), t - 0.6537, torch.full_like(t, -9)], 1)
    for offset in (0, torch.linspace(0, 9, 101)[:, None]):  # which changes no probability
        switches = find_class_switches(t, logits + offset)
        assert [(switch.before, switch.after) for switch in switches] == [(0, 1), (1, 2)]
        assert [switch.t for switch in switches] == pytest.approx([0.25, 0.6537], abs=1e-6)
    assert find_class_switches(t, torch.tensor([[1.0, 0.0]]).repeat(101, 1)) == ()


@pytest.mark.parametrize("seed", range(3))
def test_linear_maps_take_a_straight_line_at_constant_speed(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, 20, generator=rng)
    features, head = torch.randn(6, 20, generator=rng), torch.randn(3, 6, generator=rng)
    metrics = measure_path(LinearGenerator(20), linear_extractor(features, head), start, end)
    distance = float((features @ (end - start)).norm())
    expected = {"end_distance": distance, "path_length": distance, "path_length_ratio": 1}
    assert {name: metrics.values[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert metrics.values["perceptual_path_length"] == pytest.approx(distance**2, rel=5e-3)
    logits = interpolate_at(start, end, metrics.t) @ features.T @ head.T
    torch.testing.assert_close(metrics.probabilities, logits.softmax(1), rtol=1e-4, atol=1e-5)
    assert metrics.values["min_confidence"] == pytest.approx(float(logits.softmax(1).amax(1).min()), abs=1e-5)


def test_a_quarter_of_a_circle() -> None:
    linear, spherical = (measure_path(LinearGenerator(3), identity(3), *torch.eye(3)[:2], path) for path in PATHS)
    assert spherical.path_length == pytest.approx(math.pi / 2, rel=1e-4)
    assert spherical.end_distance == linear.end_distance == pytest.approx(math.sqrt(2))
    assert spherical.values["path_length_ratio"] == pytest.approx(math.pi / 2 / math.sqrt(2), rel=1e-4)
    assert spherical.perceptual_path_length == pytest.approx((math.pi / 2) ** 2, rel=5e-3)
    assert linear.perceptual_path_length == pytest.approx(2, rel=5e-3)
    for metrics in (linear, spherical):
        assert metrics.class_switches == ((pytest.approx(0.5, abs=1e-6), 0, 1),)
        assert metrics.values["class_switches"] == 1
    at_half = torch.tensor([[0.5, 0.5, 0.0]]).softmax(1)
    assert linear.values["min_confidence"] == pytest.approx(float(at_half.max()))
    assert linear.min_confidence_t == 0.5


def test_the_path_length_ratio_of_a_constant_generator_is_undefined() -> None:
    metrics = measure_path(LinearGenerator(4, 0.0), identity(4), *torch.eye(4)[:2])
    assert (metrics.path_length, metrics.end_distance, metrics.perceptual_path_length) == (0, 0, 0)
    assert (metrics.class_switches, metrics.values["path_length_ratio"]) == ((), None)
    extractor = linear_extractor(torch.eye(2)[:1], torch.eye(1))
    extractor.classifier.features.append(nn.ReLU())  # constant between some pairs
    averages = compare_paths(LinearGenerator(2), extractor, *torch.eye(2), num_pairs=8).averages["linear"]
    assert averages["path_length"].mean > 0
    assert averages["path_length_ratio"] is None


def test_a_table_has_what_is_needed_to_quote_it(golden: Callable[..., None]) -> None:
    t, probabilities = (
        torch.linspace(0, 1, 5),
        torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.55, 0.45], [0.3, 0.7], [0.1, 0.9]]),
    )
    straight = PathMetrics(t, probabilities, (ClassSwitch(0.5625, 0, 1),), 12.5, 10.0, 300.25)
    round_ = PathMetrics(t, probabilities.flip(0), (), 0.0625, 0.0, 0.5)
    summaries = dict.fromkeys(straight.values, Summary(0.5, 0.125, 0.5, 0.25, 0.75))
    averages = {"linear": summaries, "spherical": summaries | {"path_length_ratio": None}}
    comparison = PathComparison("mine", "abc", {"linear": straight, "spherical": round_}, 3, averages)
    golden("path_metrics", [describe(comparison), describe(replace(comparison, num_pairs=0)), comparison.as_dict()])


def test_a_table_has_the_digits_of_a_deviation_whose_mean_is_an_integer() -> None:
    comparison = compare_paths(LinearGenerator(2), identity(2), *torch.eye(2), num_pairs=2)
    averages = {path: dict.fromkeys(comparison.averages[path], Summary(2.0, 0.4, 2.0, 1.7, 2.3)) for path in PATHS}
    text = "\n".join(describe(replace(comparison, averages=averages)))
    assert "2.000 ± 0.400" in text
    assert "2 (median 2, 1.700 to 2.300)" in text  # as a confidence it would reach beyond 1


@pytest.mark.parametrize("num_pairs", [0, 1, 4])
def test_averages_are_mean_and_standard_deviation_over_the_pairs(num_pairs: int) -> None:
    generator, extractor = LinearGenerator(5), identity(5)
    compare = partial(compare_paths, generator, extractor, *torch.eye(5)[:2], num_pairs=num_pairs)
    comparison, again, other = (compare(seed=seed) for seed in (7, 7, 8))
    assert comparison.as_dict() == again.as_dict()
    assert comparison.as_dict()["paths"] == other.as_dict()["paths"]
    assert (comparison.averages == other.averages) == (num_pairs == 0)
    rng = make_rng(7, "pairs")
    starts, ends = (generator.sample_latents(num_pairs, rng) for _ in range(2))
    for path in comparison.averages:
        measured = [measure_path(generator, extractor, *ends, path, 51) for ends in zip(starts, ends, strict=True)]
        for name in measured[0].values:
            values = [metrics.values[name] for metrics in measured]
            spread = stdev(values) if num_pairs > 1 else None
            expected = (fmean(values), spread, median(values), min(values), max(values))
            assert comparison.averages[path][name] == pytest.approx(expected)
