"""What is measured on paths through latent space: known answers, the same twice, the figure, the command line."""

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
from reviver.errors import ConfigError
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import load_mnist
from reviver.gan.evaluation.digit_classifier import DigitClassifier
from reviver.gan.evaluation.feature_extractor import FeatureExtractor
from reviver.gan.evaluation.path_metrics import (
    NUMBERS,
    PAIR_POINTS,
    POINTS,
    PathMetrics,
    Switch,
    compare_paths,
    describe,
    find_switches,
    measure_pairs,
    measure_path,
    path_length,
    perceptual_path_length,
    summarise,
)
from reviver.gan.figures import measured_strip
from reviver.gan.interpolation import PATHS, interpolate_at
from reviver.gan.networks import Generator
from reviver.gan.training import train
from reviver.runs.rng import make_rng


class LinearGenerator(Generator):
    """Draws z itself as the pixels of an image with one row."""

    def __init__(self, size: int) -> None:
        super().__init__(size, (1, 1, size))

    def forward(self, z: Tensor) -> Tensor:
        return z.view(len(z), 1, 1, -1)


class ConstantGenerator(LinearGenerator):
    """Draws the same image from everything."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.zeros(len(z), 1, 1, z.shape[1])


def linear_extractor(features: Tensor, head: Tensor) -> FeatureExtractor:
    """An extractor whose features [D] of pixels [Z] are `features` [D, Z] times them, and whose logits `head` [K, D] times those."""
    classifier = DigitClassifier(len(head))
    classifier.features = nn.Sequential(nn.Flatten(), nn.Linear(features.shape[1], len(features), bias=False))
    classifier.head = nn.Linear(head.shape[1], len(head), bias=False)
    with torch.no_grad():
        classifier.features[1].weight.copy_(features)
        classifier.head.weight.copy_(head)
    return FeatureExtractor("linear", "0" * 64, classifier.eval())


def identity(size: int) -> FeatureExtractor:
    """An extractor whose features and logits are the pixels."""
    return linear_extractor(torch.eye(size), torch.eye(size))


# Pieces


def test_a_switch_lies_where_two_lines_of_logits_cross() -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    rising, falling, middle = t - 0.3137, 0.3137 - t, torch.full_like(t, -0.2)
    (switch,) = find_switches(t, torch.stack([falling, rising, middle], 1))
    assert switch == (pytest.approx(0.3137, abs=1e-12), 0, 1)


def test_every_switch_is_found_in_its_order() -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    logits = torch.stack([0.25 - t, torch.zeros_like(t), t - 0.655, torch.full_like(t, -9)], 1)
    switches = find_switches(t, logits)
    assert [(one.before, one.after) for one in switches] == [(0, 1), (1, 2)]
    assert [one.t for one in switches] == pytest.approx([0.25, 0.655], abs=1e-12)


def test_no_switch_is_found_where_there_is_none_and_probabilities_do_not_matter() -> None:
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    assert find_switches(t, torch.tensor([[1.0, 0.0]]).repeat(5, 1)) == ()
    logits = torch.stack([t, 0.4 - t], 1)
    assert find_switches(t, logits)[0].t == pytest.approx(0.2)
    shifted = find_switches(t, logits + torch.linspace(0, 9, 5, dtype=torch.float64).unsqueeze(1))
    assert shifted[0].t == pytest.approx(0.2), "what is added to all logits leaves the probabilities as they are"


def test_the_length_of_a_path_is_the_sum_of_its_pieces() -> None:
    corner = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    assert path_length(corner) == 7
    assert path_length(corner[[0, 2]]) == 5


def test_the_perceptual_length_is_the_mean_squared_speed() -> None:
    features = torch.zeros(2, 2)
    moved = torch.tensor([[3.0, 4.0], [0.0, 1.0]]) * 0.5
    assert perceptual_path_length(features, moved, 0.5) == pytest.approx((25 + 1) / 2)


# Paths on which everything is known


@pytest.mark.parametrize("seed", range(3))
def test_a_line_through_linear_maps_has_no_detour_and_an_even_speed(seed: int) -> None:
    randomness = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, 20, generator=randomness)
    features = torch.randn(6, 20, generator=randomness)
    head = torch.randn(3, 6, generator=randomness)
    found = measure_path(LinearGenerator(20), linear_extractor(features, head), start, end)
    straight = float((features @ (end - start)).norm())
    assert found.numbers["straight"] == pytest.approx(straight, rel=1e-5)
    assert found.numbers["length"] == pytest.approx(straight, rel=1e-5)
    assert found.numbers["path_length_ratio"] == pytest.approx(1, rel=1e-5)
    assert found.numbers["perceptual_length"] == pytest.approx(straight**2, rel=5e-3)
    logits = interpolate_at(start, end, found.t) @ features.T @ head.T
    torch.testing.assert_close(found.probabilities, logits.softmax(1), rtol=1e-4, atol=1e-5)
    assert found.numbers["min_confidence"] == pytest.approx(float(logits.softmax(1).amax(1).min()), abs=1e-5)


def test_a_quarter_of_a_circle() -> None:
    start, end = torch.eye(3)[:2]
    generator, extractor = LinearGenerator(3), identity(3)
    round_way = measure_path(generator, extractor, start, end, "spherical")
    direct = measure_path(generator, extractor, start, end, "linear")
    assert round_way.length == pytest.approx(math.pi / 2, rel=1e-4)
    assert round_way.straight == direct.straight == pytest.approx(math.sqrt(2))
    assert round_way.numbers["path_length_ratio"] == pytest.approx(math.pi / 2 / math.sqrt(2), rel=1e-4)
    assert round_way.perceptual_length == pytest.approx((math.pi / 2) ** 2, rel=5e-3)
    assert direct.perceptual_length == pytest.approx(2, rel=5e-3)
    assert round_way.switches == direct.switches == (Switch(pytest.approx(0.5, abs=1e-6), 0, 1),)
    at_half = torch.tensor([[0.5, 0.5, 0.0]]).softmax(1)
    assert direct.numbers["min_confidence"] == pytest.approx(float(at_half.max()))
    assert direct.min_confidence_t == 0.5


def test_both_paths_are_the_same_between_ends_of_nearly_one_direction() -> None:
    start = torch.randn(10, generator=torch.Generator().manual_seed(0)).double()
    end = start + 1e-4 * torch.randn(10, generator=torch.Generator().manual_seed(1)).double()
    extractor = identity(10)
    extractor.classifier.double()
    linear, spherical = (measure_path(LinearGenerator(10), extractor, start, end, path) for path in PATHS)
    assert spherical.numbers == pytest.approx(linear.numbers, rel=1e-3)
    torch.testing.assert_close(spherical.probabilities, linear.probabilities)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("seed", range(3))
def test_lengths_are_ordered_as_cauchy_and_schwarz_say(path: str, seed: int) -> None:
    generator = Generator(10)
    generator(torch.randn(64, 10, generator=torch.Generator().manual_seed(seed)))
    generator.eval()
    start, end = 2 * torch.randn(2, 10, generator=torch.Generator().manual_seed(seed))
    found = measure_path(generator, FeatureExtractor.pinned(), start, end, path)
    assert found.length >= found.straight
    assert found.perceptual_length >= 0.98 * found.length**2


def test_a_generator_that_draws_one_image_has_no_detour_to_speak_of() -> None:
    report = compare_paths(ConstantGenerator(4), identity(4), *torch.eye(4)[:2], pairs=3)
    for measure in report.between.values():
        assert (measure.length, measure.straight, measure.perceptual_length, measure.switches) == (0, 0, 0, ())
        assert measure.numbers["path_length_ratio"] is None
    assert report.averages["linear"]["path_length_ratio"] is None
    assert report.averages["linear"]["length"] == (0, 0)
    json.dumps(report.as_dict(), allow_nan=False)
    assert any(line.split() == ["path", "length", "ratio", "-", "-"] for line in describe(report))


# Pairs


def test_averages_are_mean_and_spread_over_the_pairs() -> None:
    generator, extractor = LinearGenerator(5), identity(5)
    averages = measure_pairs(generator, extractor, 4, seed=7)
    randomness = make_rng(7, "pairs")
    starts, ends = (generator.sample_latents(4, randomness) for _ in range(2))
    for path in PATHS:
        measures = [
            measure_path(generator, extractor, start, end, path, PAIR_POINTS)
            for start, end in zip(starts, ends, strict=True)
        ]
        for name in NUMBERS:
            values = [one.numbers[name] for one in measures]
            assert averages[path][name] == pytest.approx((fmean(values), stdev(values)))
    assert averages["spherical"]["length"].mean > averages["linear"]["length"].mean
    assert set(averages) == set(PATHS)


def test_one_pair_has_no_spread() -> None:
    measure = measure_path(LinearGenerator(3), identity(3), *torch.eye(3)[:2], points=PAIR_POINTS)
    assert summarise([measure])["length"] == (measure.length, None)
    report = compare_paths(LinearGenerator(3), identity(3), *torch.eye(3)[:2], pairs=1)
    json.dumps(report.as_dict(), allow_nan=False)
    assert "±" not in "".join(describe(report)[:-1])


def test_the_same_twice_and_another_seed_draws_other_pairs() -> None:
    first, again, other = (
        compare_paths(LinearGenerator(6), identity(6), *torch.eye(6)[:2], pairs=2, seed=seed).as_dict()
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first["paths"] == other["paths"]
    assert first["averages"] != other["averages"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"pairs": -1}, "^pairs must be at least 0, got -1"), ({"seed": -1}, "^seed must be at least 0, got -1")],
)
def test_impossible_comparisons_are_refused(change: dict[str, int], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        compare_paths(LinearGenerator(3), identity(3), *torch.eye(3)[:2], **change)


# The figure


def made_measure(*places: float, classes: int = 10) -> PathMetrics:
    """A measure whose class goes up by one at each of `places`."""
    t = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    current = sum((t > place).long() for place in places) + torch.zeros(POINTS, dtype=torch.int64)
    switches = tuple(Switch(place, index, index + 1) for index, place in enumerate(places))
    return PathMetrics(t, nn.functional.one_hot(current, classes).double(), switches, 5.0, 4.0, 30.0)


@pytest.mark.parametrize("count", [2, 9, 50])
@pytest.mark.parametrize("drawn", PATHS)
def test_an_image_stands_above_its_t(count: int, drawn: str) -> None:
    measures = {path: made_measure(0.25, 0.7) for path in PATHS}
    figure = measured_strip(torch.zeros(count, 1, 8, 8), measures, drawn)
    *strip, lower, upper = figure.axes
    assert len(strip) == count
    for axes in (upper, lower):
        for index, image in enumerate(strip):
            box = image.get_position()
            (x, _) = figure.transFigure.inverted().transform(axes.transData.transform((index / (count - 1), 0)))
            assert x == pytest.approx((box.x0 + box.x1) / 2, abs=2e-3)
    assert upper.get_title(loc="left") == f"{drawn.capitalize()} path, drawn above"


def test_the_figure_shows_the_classes_that_matter_and_where_they_switch() -> None:
    measures = {"linear": made_measure(0.25, 0.7), "spherical": made_measure(0.5)}
    figure = measured_strip(torch.zeros(9, 3, 8, 8), measures, "linear", ["0\n99%"] * 9)
    for axes, path in zip(figure.axes[-2:], reversed(PATHS), strict=True):
        curves = [line for line in axes.lines if line.get_label().startswith("class")]
        assert [line.get_label() for line in curves] == ["class 0", "class 1", "class 2"]
        for number, line in enumerate(curves):
            np.testing.assert_array_equal(line.get_ydata(), measures[path].probabilities[:, number])
        marks = [line.get_xdata()[0] for line in axes.lines if line not in curves]
        assert marks == [switch.t for switch in measures[path].switches]
    assert figure.axes[-1].get_xlabel() == "t; the class switches at 0.25, 0.70"
    assert figure.axes[-2].get_title(loc="right") == "path_length_ratio 1.25, perceptual path length 30"


def test_of_many_classes_the_likeliest_are_drawn() -> None:
    many = made_measure(*np.linspace(0.02, 0.98, 25), classes=47)
    figure = measured_strip(torch.zeros(9, 1, 8, 8), {"linear": many, "spherical": many}, "linear")
    assert len([line for line in figure.axes[-1].lines if line.get_label().startswith("class")]) == 8
    assert figure.axes[-1].get_xlabel().endswith(" …")
    even = made_measure(classes=47)
    even.probabilities.fill_(1 / 47)
    figure = measured_strip(torch.zeros(9, 1, 8, 8), {"linear": even, "spherical": even}, "linear")
    assert len(figure.axes[-1].lines) == 8, "none is likely, and the likeliest are drawn all the same"


# The command line


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of MNIST that has hardly begun, and two images of digits."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("workspace")
    mnist = load_mnist("train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "reviver.gan.data.image_set.load_mnist",
            lambda part: type(mnist)(mnist.images[:200], mnist.labels[:200], "mnist"),
        )
        train(GANConfig(epochs=1), folder / "run", device="cpu")
    for index, image in enumerate(mnist.images[:2, 0]):
        Image.fromarray(image.numpy()).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def call(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr("reviver.gan.output.project", lambda *given, seed: _quickly(*given, seed))

    def run(arguments: str) -> str:
        capsys.readouterr()
        assert main(shlex.split(arguments)) == 0
        return capsys.readouterr().out

    return run


def _quickly(generator: Generator, targets: Tensor, seed: int) -> Any:
    from reviver.gan.inversion import project

    return project(generator, targets, seed=seed, steps=3, starts=2)


MEASURED = "gan interpolate run --from-image 0.png --to-image 1.png --metrics"


def test_measuring_prints_both_paths_and_draws_them(call: Any, tmp_path: Path) -> None:
    text = call(f"{MEASURED} --num-pairs 2 --out {tmp_path / 'walk.png'}")
    lines = text.splitlines()
    assert lines[0].startswith("features of reviver digit classifier, sha256 ")
    for title in ("between the ends", "2 random pairs"):
        (line,) = [line for line in lines if line.startswith(title)]
        assert line.split()[-2:] == list(PATHS)
    for name in NUMBERS:
        assert len([line for line in lines if line.startswith(f"  {name.replace('_', ' ')} ")]) == 2
    assert lines[-1] == str(tmp_path / "walk.png")
    assert (tmp_path / "walk.png").read_bytes().startswith(b"\x89PNG")


def test_measurements_as_json_are_what_the_function_returns(call: Any, tmp_path: Path) -> None:
    from reviver.loading import load

    out = tmp_path / "walk.pdf"
    result = json.loads(call(f"{MEASURED} --num-pairs 2 --seed 5 --path spherical --out {out} --json"))
    generator = load("run").generator
    plain = json.loads(call(f"{MEASURED.removesuffix(' --metrics')} --seed 5 --path spherical --out {out} --json"))
    assert {key: value for key, value in result.items() if key != "measured"} == plain
    measured = result["measured"]
    averages = measure_pairs(generator, FeatureExtractor.pinned(), 2, seed=5)
    for path in PATHS:
        for name in NUMBERS:
            assert measured["averages"][path][name]["mean"] == pytest.approx(averages[path][name].mean)
        assert len(measured["paths"][path]["t"]) == len(measured["paths"][path]["probabilities"]) == POINTS
    assert measured["paths"]["linear"]["straight"] == measured["paths"]["spherical"]["straight"]
    assert call(f"{MEASURED} --num-pairs 0 --out {out}").count("random pairs") == 0
