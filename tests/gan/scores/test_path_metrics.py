"""Path metrics: known values, determinism, the figure, the command line."""

import json
import math
import shlex
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from reviver.cli import main
from reviver.errors import ConfigError
from reviver.gan.interpolation import PATHS, interpolate_at
from reviver.gan.inversion import project
from reviver.gan.networks import Generator
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.path_metrics import (
    METRICS,
    NUM_POINTS,
    ClassSwitch,
    PathMetrics,
    compare_paths,
    describe,
    find_class_switches,
    measure_path,
)
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.show.gan_figures import path_metrics_figure
from reviver.train.gan.training import train
from reviver.train.loading import load
from tests.gan.scores.conftest import few_digits, shrink_mnist


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
    start, end = torch.eye(3)[:2]
    linear, spherical = (measure_path(LinearGenerator(3), identity(3), start, end, path) for path in PATHS)
    assert spherical.path_length == pytest.approx(math.pi / 2, rel=1e-4)
    assert spherical.end_distance == linear.end_distance == pytest.approx(math.sqrt(2))
    assert spherical.values["path_length_ratio"] == pytest.approx(math.pi / 2 / math.sqrt(2), rel=1e-4)
    assert spherical.perceptual_path_length == pytest.approx((math.pi / 2) ** 2, rel=5e-3)
    assert linear.perceptual_path_length == pytest.approx(2, rel=5e-3)
    assert spherical.class_switches == linear.class_switches == (ClassSwitch(pytest.approx(0.5, abs=1e-6), 0, 1),)
    assert spherical.values["class_switches"] == 1
    at_half = torch.tensor([[0.5, 0.5, 0.0]]).softmax(1)
    assert linear.values["min_confidence"] == pytest.approx(float(at_half.max()))
    assert linear.min_confidence_t == 0.5


def test_the_path_length_ratio_of_a_constant_generator_is_undefined() -> None:
    comparison = compare_paths(LinearGenerator(4, 0.0), identity(4), *torch.eye(4)[:2], num_pairs=3)
    for metrics in comparison.paths.values():
        assert (metrics.path_length, metrics.end_distance, metrics.perceptual_path_length) == (0, 0, 0)
        assert metrics.class_switches == ()
        assert metrics.values["path_length_ratio"] is None
    assert comparison.averages["linear"]["path_length_ratio"] is None
    assert comparison.averages["linear"]["path_length"] == (0, 0)
    json.dumps(comparison.as_dict(), allow_nan=False)
    assert any(line.split() == ["path", "length", "ratio", "-", "-"] for line in describe(comparison))
    extractor = linear_extractor(torch.eye(2)[:1], torch.eye(1))
    extractor.classifier.features.append(nn.ReLU())  # constant between some pairs
    averages = compare_paths(LinearGenerator(2), extractor, *torch.eye(2), num_pairs=8).averages["linear"]
    assert averages["path_length"].mean > 0
    assert averages["path_length_ratio"] is None


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
    for path in PATHS if num_pairs else ():
        measured = [measure_path(generator, extractor, *ends, path, 51) for ends in zip(starts, ends, strict=True)]
        for name in METRICS:
            values = [metrics.values[name] for metrics in measured]
            spread = stdev(values) if num_pairs > 1 else None
            assert comparison.averages[path][name] == pytest.approx((fmean(values), spread))
    text = "".join(describe(comparison)[:-1])
    assert (text.count("random pairs"), "±" in text) == (num_pairs > 0, num_pairs > 1)
    json.dumps(comparison.as_dict(), allow_nan=False)
    for name in ("num_pairs", "seed"):
        with pytest.raises(ConfigError, match=f"^{name} must be at least 0, got -1"):
            compare(**{name: -1})


# The figure


def metrics_with_switches(*switch_ts: float, num_classes: int = 10) -> PathMetrics:
    """Return path metrics whose class rises by one at each t of `switch_ts`."""
    t = torch.linspace(0, 1, NUM_POINTS, dtype=torch.float64)
    classes = sum((t > switch_t).long() for switch_t in switch_ts) + torch.zeros(NUM_POINTS, dtype=torch.int64)
    switches = tuple(ClassSwitch(switch_t, index, index + 1) for index, switch_t in enumerate(switch_ts))
    probabilities = nn.functional.one_hot(classes, num_classes).double()
    return PathMetrics(t, probabilities, switches, path_length=5.0, end_distance=4.0, perceptual_path_length=30.0)


def test_the_figure_shows_the_images_above_their_t_and_the_probable_classes_and_where_they_switch() -> None:
    paths = {"linear": metrics_with_switches(0.25, 0.7), "spherical": metrics_with_switches(0.5)}
    figure = path_metrics_figure(torch.zeros(9, 3, 8, 8), paths, "linear", ["0\n99%"] * 9)
    *strip, spherical, linear = figure.axes
    for axes, metrics in ((spherical, paths["spherical"]), (linear, paths["linear"])):
        curves = [line for line in axes.lines if line.get_label().startswith("class")]
        assert [line.get_label() for line in curves] == ["class 0", "class 1", "class 2"]
        for number, line in enumerate(curves):
            np.testing.assert_array_equal(line.get_ydata(), metrics.probabilities[:, number])
        switches = [switch.t for switch in metrics.class_switches]
        assert [line.get_xdata()[0] for line in axes.lines if line not in curves] == switches
        (upper,) = axes.child_axes
        assert list(upper.get_xticks()) == switches
        assert [label.get_text() for label in upper.get_xticklabels()] == [f"{t:.2f}" for t in switches]
        assert axes.get_xlabel() == "t"
        for index, image in enumerate(strip):
            box = image.get_position()
            (x, _) = figure.transFigure.inverted().transform(axes.transData.transform((index / 8, 0)))
            assert x == pytest.approx((box.x0 + box.x1) / 2, abs=2e-3)
    assert len(strip) == 9
    assert linear.get_title(loc="left") == "Linear path, shown above"
    assert spherical.get_title(loc="right") == "path length ratio 1.25, perceptual path length 30"


def test_of_many_classes_the_most_probable_are_shown() -> None:
    many = metrics_with_switches(*np.linspace(0.02, 0.98, 25), num_classes=47)
    uniform = metrics_with_switches(num_classes=47)
    uniform.probabilities.fill_(1 / 47)  # no class is probable, and the most probable are still shown
    for metrics in (many, uniform):
        axes = path_metrics_figure(torch.zeros(3, 1, 8, 8), dict.fromkeys(PATHS, metrics), "linear").axes[-1]
        is_curve = [line.get_label().startswith("class") for line in axes.lines]
        assert (sum(is_curve), len(is_curve)) == (8, 8 + len(metrics.class_switches))
        labels = [label.get_text() for upper in axes.child_axes for label in upper.get_xticklabels()]
        assert (labels, len(axes.child_axes)) == ([], int(metrics is uniform)), "so many would overlap"


# The command line


def test_metrics_are_printed_plotted_and_equal_those_of_the_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shrink_mnist(monkeypatch)
    monkeypatch.setattr("reviver.gan.inversion.project", partial(project, steps=3, starts=2))
    train(GANConfig(epochs=1, eval_every=0), "run", device="cpu")
    for index, image in enumerate(few_digits().images[:2, 0]):
        Image.fromarray(image.numpy()).save(f"{index}.png")

    def call(arguments: str) -> str:
        capsys.readouterr()
        assert main(shlex.split(f"gan interpolate run --from-image 0.png --to-image 1.png {arguments}")) == 0
        return capsys.readouterr().out

    lines = call("--metrics --num-pairs 2 --seed 5 --out new/interpolation.png").splitlines()
    assert lines[0].startswith("features of reviver digit classifier, sha256 ")
    for title in ("between the ends", "2 random pairs"):
        (line,) = [line for line in lines if line.startswith(title)]
        assert line.split()[-2:] == list(PATHS)
    for name in METRICS:
        assert len([line for line in lines if line.startswith(f"  {name.replace('_', ' ')}  ")]) == 2
    assert lines[-1] == "new/interpolation.png"
    assert Path(lines[-1]).read_bytes().startswith(b"\x89PNG")

    result, plain = (
        json.loads(call(f"--seed 5 --path spherical --json --out a.svg {more}"))
        for more in ("--metrics --num-pairs 2", "")
    )
    comparison = result.pop("metrics")
    assert result == plain
    generator, extractor = load("run").generator, FeatureExtractor.pinned()
    expected = compare_paths(generator, extractor, *torch.randn(2, 100), num_pairs=2, seed=5).averages
    for path in PATHS:
        for name in METRICS:
            assert comparison["averages"][path][name]["mean"] == pytest.approx(expected[path][name].mean)
        assert len(comparison["paths"][path]["t"]) == len(comparison["paths"][path]["probabilities"]) == NUM_POINTS
    page = (Path(__file__).parents[3] / "docs" / "reference" / "path-metrics.md").read_text(encoding="utf-8")
    keys = (*result, *comparison, *comparison["paths"]["linear"], *comparison["averages"]["linear"]["path_length"])
    assert not [key for key in keys if f"`{key}`" not in page]
