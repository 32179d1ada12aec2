"""Path metrics: known values, determinism, the figure, the command line."""

import json
import math
import shlex
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reviver.cli import main
from reviver.data.images.image_set import load_mnist
from reviver.errors import ConfigError
from reviver.gan.interpolation import PATHS, interpolate_at
from reviver.gan.inversion import Projection, project
from reviver.gan.networks import Generator
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.gan.scores.path_metrics import (
    METRICS,
    NUM_PAIR_POINTS,
    NUM_POINTS,
    ClassSwitch,
    PathMetrics,
    compare_paths,
    describe,
    find_class_switches,
    measure_pairs,
    measure_path,
    path_length,
    perceptual_path_length,
    summarize,
)
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.show.gan_figures import path_metrics_figure
from reviver.train.gan.training import train


class LinearGenerator(Generator):
    """Generates z itself as the pixels of an image with one row."""

    def __init__(self, size: int) -> None:
        super().__init__(size, (1, 1, size))

    def forward(self, z: Tensor) -> Tensor:
        return z.view(len(z), 1, 1, -1)


class ConstantGenerator(LinearGenerator):
    """Generates the same image from every z."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.zeros(len(z), 1, 1, z.shape[1])


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


# The parts


def test_a_switch_is_where_two_lines_of_logits_cross() -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    rising, falling, middle = t - 0.3137, 0.3137 - t, torch.full_like(t, -0.2)
    (switch,) = find_class_switches(t, torch.stack([falling, rising, middle], 1))
    assert switch == (pytest.approx(0.3137, abs=1e-12), 0, 1)


def test_all_switches_are_found_in_order() -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    logits = torch.stack([0.25 - t, torch.zeros_like(t), t - 0.655, torch.full_like(t, -9)], 1)
    switches = find_class_switches(t, logits)
    assert [(switch.before, switch.after) for switch in switches] == [(0, 1), (1, 2)]
    assert [switch.t for switch in switches] == pytest.approx([0.25, 0.655], abs=1e-12)


def test_constant_logits_have_no_switch_and_a_common_offset_does_not_matter() -> None:
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    assert find_class_switches(t, torch.tensor([[1.0, 0.0]]).repeat(5, 1)) == ()
    logits = torch.stack([t, 0.4 - t], 1)
    assert find_class_switches(t, logits)[0].t == pytest.approx(0.2)
    shifted = find_class_switches(t, logits + torch.linspace(0, 9, 5, dtype=torch.float64).unsqueeze(1))
    assert shifted[0].t == pytest.approx(0.2), "the same number added to all logits does not change the probabilities"


def test_path_length_is_the_sum_of_the_distances() -> None:
    corner = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    assert path_length(corner) == 7
    assert path_length(corner[[0, 2]]) == 5


def test_perceptual_path_length_is_the_mean_squared_speed() -> None:
    features = torch.zeros(2, 2)
    shifted = torch.tensor([[3.0, 4.0], [0.0, 1.0]]) * 0.5
    assert perceptual_path_length(features, shifted, 0.5) == pytest.approx((25 + 1) / 2)


# Paths with known metrics


@pytest.mark.parametrize("seed", range(3))
def test_linear_maps_take_a_straight_line_at_constant_speed(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, 20, generator=rng)
    features = torch.randn(6, 20, generator=rng)
    head = torch.randn(3, 6, generator=rng)
    metrics = measure_path(LinearGenerator(20), linear_extractor(features, head), start, end)
    end_distance = float((features @ (end - start)).norm())
    assert metrics.values["end_distance"] == pytest.approx(end_distance, rel=1e-5)
    assert metrics.values["path_length"] == pytest.approx(end_distance, rel=1e-5)
    assert metrics.values["path_length_ratio"] == pytest.approx(1, rel=1e-5)
    assert metrics.values["perceptual_path_length"] == pytest.approx(end_distance**2, rel=5e-3)
    logits = interpolate_at(start, end, metrics.t) @ features.T @ head.T
    torch.testing.assert_close(metrics.probabilities, logits.softmax(1), rtol=1e-4, atol=1e-5)
    assert metrics.values["min_confidence"] == pytest.approx(float(logits.softmax(1).amax(1).min()), abs=1e-5)


def test_a_quarter_of_a_circle() -> None:
    start, end = torch.eye(3)[:2]
    generator, extractor = LinearGenerator(3), identity(3)
    spherical = measure_path(generator, extractor, start, end, "spherical")
    linear = measure_path(generator, extractor, start, end, "linear")
    assert spherical.path_length == pytest.approx(math.pi / 2, rel=1e-4)
    assert spherical.end_distance == linear.end_distance == pytest.approx(math.sqrt(2))
    assert spherical.values["path_length_ratio"] == pytest.approx(math.pi / 2 / math.sqrt(2), rel=1e-4)
    assert spherical.perceptual_path_length == pytest.approx((math.pi / 2) ** 2, rel=5e-3)
    assert linear.perceptual_path_length == pytest.approx(2, rel=5e-3)
    assert spherical.class_switches == linear.class_switches == (ClassSwitch(pytest.approx(0.5, abs=1e-6), 0, 1),)
    at_half = torch.tensor([[0.5, 0.5, 0.0]]).softmax(1)
    assert linear.values["min_confidence"] == pytest.approx(float(at_half.max()))
    assert linear.min_confidence_t == 0.5


def test_both_paths_agree_between_ends_of_nearly_the_same_direction() -> None:
    start = torch.randn(10, generator=torch.Generator().manual_seed(0)).double()
    end = start + 1e-4 * torch.randn(10, generator=torch.Generator().manual_seed(1)).double()
    extractor = identity(10)
    extractor.classifier.double()
    linear, spherical = (measure_path(LinearGenerator(10), extractor, start, end, path) for path in PATHS)
    assert spherical.values == pytest.approx(linear.values, rel=1e-3)
    torch.testing.assert_close(spherical.probabilities, linear.probabilities)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("seed", range(3))
def test_lengths_satisfy_the_cauchy_schwarz_inequality(path: str, seed: int) -> None:
    generator = Generator(10)
    generator(torch.randn(64, 10, generator=torch.Generator().manual_seed(seed)))
    generator.eval()
    start, end = 2 * torch.randn(2, 10, generator=torch.Generator().manual_seed(seed))
    metrics = measure_path(generator, FeatureExtractor.pinned(), start, end, path)
    assert metrics.path_length >= metrics.end_distance
    assert metrics.perceptual_path_length >= 0.98 * metrics.path_length**2


def test_the_path_length_ratio_of_a_constant_generator_is_undefined() -> None:
    comparison = compare_paths(ConstantGenerator(4), identity(4), *torch.eye(4)[:2], num_pairs=3)
    for metrics in comparison.paths.values():
        assert (metrics.path_length, metrics.end_distance, metrics.perceptual_path_length) == (0, 0, 0)
        assert metrics.class_switches == ()
        assert metrics.values["path_length_ratio"] is None
    assert comparison.averages["linear"]["path_length_ratio"] is None
    assert comparison.averages["linear"]["path_length"] == (0, 0)
    json.dumps(comparison.as_dict(), allow_nan=False)
    assert any(line.split() == ["path", "length", "ratio", "-", "-"] for line in describe(comparison))


# Pairs


def test_averages_are_mean_and_standard_deviation_over_the_pairs() -> None:
    generator, extractor = LinearGenerator(5), identity(5)
    averages = measure_pairs(generator, extractor, 4, seed=7)
    rng = make_rng(7, "pairs")
    starts, ends = (generator.sample_latents(4, rng) for _ in range(2))
    for path in PATHS:
        measured = [
            measure_path(generator, extractor, start, end, path, NUM_PAIR_POINTS)
            for start, end in zip(starts, ends, strict=True)
        ]
        for name in METRICS:
            values = [metrics.values[name] for metrics in measured]
            assert averages[path][name] == pytest.approx((fmean(values), stdev(values)))
    assert averages["spherical"]["path_length"].mean > averages["linear"]["path_length"].mean
    assert set(averages) == set(PATHS)


def test_a_single_pair_has_no_standard_deviation() -> None:
    metrics = measure_path(LinearGenerator(3), identity(3), *torch.eye(3)[:2], num_points=NUM_PAIR_POINTS)
    assert summarize([metrics])["path_length"] == (metrics.path_length, None)
    comparison = compare_paths(LinearGenerator(3), identity(3), *torch.eye(3)[:2], num_pairs=1)
    json.dumps(comparison.as_dict(), allow_nan=False)
    assert "±" not in "".join(describe(comparison)[:-1])


def test_the_seed_chooses_the_pairs() -> None:
    first, again, other = (
        compare_paths(LinearGenerator(6), identity(6), *torch.eye(6)[:2], num_pairs=2, seed=seed).as_dict()
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first["paths"] == other["paths"]
    assert first["averages"] != other["averages"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"num_pairs": -1}, "^num_pairs must be at least 0, got -1"), ({"seed": -1}, "^seed must be at least 0, got -1")],
)
def test_impossible_comparisons_are_refused(change: dict[str, int], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        compare_paths(LinearGenerator(3), identity(3), *torch.eye(3)[:2], **change)


# The figure


def metrics_with_switches(*switch_ts: float, num_classes: int = 10) -> PathMetrics:
    """Return path metrics whose class rises by one at each t of `switch_ts`."""
    t = torch.linspace(0, 1, NUM_POINTS, dtype=torch.float64)
    classes = sum((t > switch_t).long() for switch_t in switch_ts) + torch.zeros(NUM_POINTS, dtype=torch.int64)
    switches = tuple(ClassSwitch(switch_t, index, index + 1) for index, switch_t in enumerate(switch_ts))
    probabilities = nn.functional.one_hot(classes, num_classes).double()
    return PathMetrics(t, probabilities, switches, path_length=5.0, end_distance=4.0, perceptual_path_length=30.0)


@pytest.mark.parametrize("count", [2, 9, 50])
@pytest.mark.parametrize("shown", PATHS)
def test_an_image_is_above_its_t(count: int, shown: str) -> None:
    paths = {path: metrics_with_switches(0.25, 0.7) for path in PATHS}
    figure = path_metrics_figure(torch.zeros(count, 1, 8, 8), paths, shown)
    *strip, lower, upper = figure.axes
    assert len(strip) == count
    for axes in (upper, lower):
        for index, image in enumerate(strip):
            box = image.get_position()
            (x, _) = figure.transFigure.inverted().transform(axes.transData.transform((index / (count - 1), 0)))
            assert x == pytest.approx((box.x0 + box.x1) / 2, abs=2e-3)
    assert upper.get_title(loc="left") == f"{shown.capitalize()} path, shown above"


def test_the_figure_shows_the_probable_classes_and_where_they_switch() -> None:
    paths = {"linear": metrics_with_switches(0.25, 0.7), "spherical": metrics_with_switches(0.5)}
    figure = path_metrics_figure(torch.zeros(9, 3, 8, 8), paths, "linear", ["0\n99%"] * 9)
    for axes, path in zip(figure.axes[-2:], reversed(PATHS), strict=True):
        curves = [line for line in axes.lines if line.get_label().startswith("class")]
        assert [line.get_label() for line in curves] == ["class 0", "class 1", "class 2"]
        for number, line in enumerate(curves):
            np.testing.assert_array_equal(line.get_ydata(), paths[path].probabilities[:, number])
        marks = [line.get_xdata()[0] for line in axes.lines if line not in curves]
        assert marks == [switch.t for switch in paths[path].class_switches]
    (upper,) = figure.axes[-1].child_axes
    assert [label.get_text() for label in upper.get_xticklabels()] == ["0.25", "0.70"]
    assert figure.axes[-1].get_xlabel() == "t"
    assert figure.axes[-2].get_title(loc="right") == "path length ratio 1.25, perceptual path length 30"


def test_of_many_classes_the_most_probable_are_shown() -> None:
    many = metrics_with_switches(*np.linspace(0.02, 0.98, 25), num_classes=47)
    figure = path_metrics_figure(torch.zeros(9, 1, 8, 8), {"linear": many, "spherical": many}, "linear")
    assert len([line for line in figure.axes[-1].lines if line.get_label().startswith("class")]) == 8
    assert not figure.axes[-1].child_axes, "labels of so many would overlap"
    uniform = metrics_with_switches(num_classes=47)
    uniform.probabilities.fill_(1 / 47)
    figure = path_metrics_figure(torch.zeros(9, 1, 8, 8), {"linear": uniform, "spherical": uniform}, "linear")
    assert len(figure.axes[-1].lines) == 8, "no class is probable, and the most probable are still shown"


# The command line


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on a few images of MNIST, and two images of digits."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("workspace")
    mnist = load_mnist("train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "reviver.data.images.image_set.load_mnist",
            lambda split: type(mnist)(mnist.images[:200], mnist.labels[:200], "mnist"),
        )
        train(GANConfig(epochs=1), folder / "run", device="cpu")
    for index, image in enumerate(mnist.images[:2, 0]):
        Image.fromarray(image.numpy()).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def call(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr("reviver.gan.inversion.project", _project_quickly)

    def run(arguments: str) -> str:
        capsys.readouterr()
        assert main(shlex.split(arguments)) == 0
        return capsys.readouterr().out

    return run


def _project_quickly(generator: Generator, targets: Tensor, *, seed: int) -> Projection:
    return project(generator, targets, seed=seed, steps=3, starts=2)


COMMAND = "gan interpolate run --from-image 0.png --to-image 1.png --metrics"


def test_metrics_are_printed_and_plotted_for_both_paths(call: Any, tmp_path: Path) -> None:
    text = call(f"{COMMAND} --num-pairs 2 --out {tmp_path / 'interpolation.png'}")
    lines = text.splitlines()
    assert lines[0].startswith("features of reviver digit classifier, sha256 ")
    for title in ("between the ends", "2 random pairs"):
        (line,) = [line for line in lines if line.startswith(title)]
        assert line.split()[-2:] == list(PATHS)
    for name in METRICS:
        assert len([line for line in lines if line.startswith(f"  {name.replace('_', ' ')}  ")]) == 2
    assert lines[-1] == str(tmp_path / "interpolation.png")
    assert (tmp_path / "interpolation.png").read_bytes().startswith(b"\x89PNG")


def test_metrics_as_json_equal_those_of_the_functions(call: Any, tmp_path: Path) -> None:
    from reviver.train.loading import load

    out = tmp_path / "interpolation.pdf"
    result = json.loads(call(f"{COMMAND} --num-pairs 2 --seed 5 --path spherical --out {out} --json"))
    generator = load("run").generator
    plain = json.loads(call(f"{COMMAND.removesuffix(' --metrics')} --seed 5 --path spherical --out {out} --json"))
    assert {key: value for key, value in result.items() if key != "metrics"} == plain
    comparison = result["metrics"]
    averages = measure_pairs(generator, FeatureExtractor.pinned(), 2, seed=5)
    for path in PATHS:
        for name in METRICS:
            assert comparison["averages"][path][name]["mean"] == pytest.approx(averages[path][name].mean)
        assert len(comparison["paths"][path]["t"]) == len(comparison["paths"][path]["probabilities"]) == NUM_POINTS
    assert comparison["paths"]["linear"]["end_distance"] == comparison["paths"]["spherical"]["end_distance"]
    assert call(f"{COMMAND} --num-pairs 0 --out {out}").count("random pairs") == 0
    page = (Path(__file__).parents[1] / "docs" / "reference" / "path-metrics.md").read_text(encoding="utf-8")
    keys = (*result, *comparison, *comparison["paths"]["linear"], *comparison["averages"]["linear"]["path_length"])
    assert not [key for key in keys if f"`{key}`" not in page]
