"""Interpolation: lerp and slerp, the choice of end points, the images and their figure."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp
from torch import Tensor, nn

from reviver.errors import ConfigError, DataError
from reviver.figures import save_figure
from reviver.gan.interpolation import (
    CONFIDENCE,
    MAX_STEPS,
    PATHS,
    Interpolation,
    choose_class_endpoints,
    choose_distant_endpoints,
    generate_interpolation,
    interpolate,
    most_robust,
)
from reviver.gan.networks import Generator
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.runs.rng import make_rng
from reviver.show.gan_figures import interpolation_figure, strip_figure


def pair(size: int = 100, seed: int = 0) -> Tensor:
    return torch.randn(2, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.gan.interpolation.NUM_CANDIDATES", 400)


# Paths


@pytest.mark.parametrize(("size", "seed"), [(2, 0), (3, 1), (100, 2)])
def test_points_equal_those_of_numpy_and_scipy(size: int, seed: int) -> None:
    for path in PATHS:
        points = interpolate(*pair(size, seed), 4 * seed, path)
        assert (points.shape, points.dtype) == ((4 * seed + 2, size), torch.float32)
        assert torch.equal(points[[0, -1]], pair(size, seed)), "exactly its ends"
    start, end = nn.functional.normalize(pair(size, seed).double(), dim=1)
    expected = geometric_slerp(start.numpy(), end.numpy(), np.linspace(0, 1, 9))
    np.testing.assert_allclose(interpolate(start, end, 7, "spherical"), expected, atol=1e-12)
    np.testing.assert_allclose(interpolate(3 * start, 3 * end, 7, "spherical"), 3 * expected, atol=1e-12)
    np.testing.assert_allclose(interpolate(start, end, 7), np.linspace(start.numpy(), end.numpy(), 9), atol=1e-12)


def test_a_quarter_circle_by_hand() -> None:
    """At a third of it the angle is 30°, and ends of different lengths keep their weights."""
    start, end = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    linear = torch.tensor([[2.0, 0.0], [4 / 3, 4 / 3], [2 / 3, 8 / 3], [0.0, 4.0]])
    spherical = torch.tensor([[2.0, 0.0], [3**0.5, 2.0], [1.0, 2 * 3**0.5], [0.0, 4.0]])
    torch.testing.assert_close(interpolate(start, end, 2), linear)
    torch.testing.assert_close(interpolate(start, end, 2, "spherical"), spherical)


def test_slerp_between_near_ends_and_from_the_origin_equals_lerp_and_between_opposite_ends_is_refused() -> None:
    start = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    for distance in (0.0, 1e-9, 1e-7, 1e-5):
        for ends in ((start, start + torch.tensor([0.0, 0.0, distance])), (0 * start, start)):
            torch.testing.assert_close(interpolate(*ends, 7, "spherical"), interpolate(*ends, 7), rtol=1e-9, atol=1e-9)
    for length in (1.0, 0.5, 3.0):
        problem = r"^path must be linear between ends in opposite directions, got spherical; or use other ends"
        with pytest.raises(ConfigError, match=problem):
            interpolate(start, -length * start, 7, "spherical")
        assert interpolate(start, -length * start, 7).isfinite().all()


# End points


class StubGenerator(Generator):
    """Generates images whose pixels all equal the first number of the latent."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :1, None, None].expand(-1, 1, 28, 28)


class StubClassifier(DigitClassifier):
    """Classifies an image by the interval of its first pixel, with confidence only for the digits in `confident`."""

    def __init__(self, confident: set[int]) -> None:
        super().__init__()
        self.confident = confident

    @staticmethod
    def digit(pixels: Tensor) -> Tensor:
        return ((pixels + 2) * 2.5).floor().clamp(0, 9).long()

    def probabilities(self, images: Tensor) -> Tensor:
        digits = self.digit(images[:, 0, 0, 0])
        confidence = torch.tensor([CONFIDENCE if digit in self.confident else CONFIDENCE - 0.01 for digit in range(10)])
        rest = (1 - confidence[digits]) / 9
        return rest[:, None].expand(-1, 10).scatter(1, digits[:, None], confidence[digits][:, None])


def choose_digits(seed: int, *classes: int | None, confident: set[int] | None = None) -> tuple[int, ...]:
    """Return the digits of the chosen ends."""
    classifier = StubClassifier(set(range(10)) if confident is None else confident)
    ends = choose_class_endpoints(StubGenerator(), classifier, seed, *classes)
    assert ends.shape == (2, 2)
    assert not torch.equal(*ends), "the same class twice means two samples of it"
    assert torch.equal(ends, choose_class_endpoints(StubGenerator(), classifier, seed, *classes))
    return tuple(StubClassifier.digit(ends[:, 0]).tolist())


def test_ends_are_of_the_given_classes_or_confident_samples_of_two_different_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for classes in ((3, 8), (8, 3), (0, 9), (4, 4)):
        assert {choose_digits(seed, *classes) for seed in range(3)} == {classes}
    for first, last in ((None, None), (3, None), (None, 8)):
        found = {choose_digits(seed, first, last) for seed in range(12)}
        for digits in found:
            assert digits[0] != digits[1]
            assert first in (None, digits[0])
            assert last in (None, digits[1])
        assert len(found) > 3, "the seed chooses them"
    assert {frozenset(choose_digits(seed, confident={2, 7})) for seed in range(6)} == {frozenset({2, 7})}
    monkeypatch.setattr("reviver.gan.interpolation.NUM_MOST_ROBUST", 1)
    assert choose_digits(0, 4, 4) == (4, 4), "two samples, even if one is the most robust"


@pytest.mark.parametrize(
    ("classes", "confident", "problem"),
    [
        ((2, 8), {2, 7}, "^class 8 is not among 400 samples .* of at least 95%; choose from 2, 7, or train"),
        ((3, 3), set(), "^class 3 is not among .* 95%; train the generator longer"),
        ((), {4}, "^end points must be .* got 4 among 400 samples; train the generator longer"),
        ((), set(), "^end points must be .* got none among 400 samples; train"),
    ],
)
def test_classes_without_confident_samples_are_refused(
    classes: tuple[int, ...], confident: set[int], problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        choose_digits(0, *classes, confident=confident)


def test_the_most_robust_images_stay_of_their_class_when_shifted_or_blurred() -> None:
    """A one-pixel dot is lost in the blur, a cross keeps some of it, and a square keeps it all."""

    class Center(DigitClassifier):
        def probabilities(self, images: Tensor) -> Tensor:
            center = images[:, 0, 3, 3].clamp(0, 1)
            return torch.stack([1 - center, center], 1)

    images = torch.zeros(7, 1, 7, 7)
    images[0, 0, 3, 3] = 1
    images[1, 0, 3, 2:5] = images[1, 0, 2:5, 3] = 1
    images[2, 0, 1:6, 1:6] = 1
    images[3, 0, 2:4, 2:6] = images[4, 0, 3:5, 2:6] = 1  # shifted up or down they have left the center
    images[5, 0, 2:6, 2:4] = images[6, 0, 2:6, 3:5] = 1  # shifted to a side, too
    assert most_robust(Center(), images, range(7), 1)[:2] == [2, 1]
    many = images[[0] * 256 + [2]]  # the last is beyond those that count
    assert set(most_robust(Center(), many, range(257), 1)) < set(range(256))
    assert len(most_robust(Center(), many, range(257), 1)) == 8


def test_distant_ends_are_the_two_most_different_images() -> None:
    ends = choose_distant_endpoints(StubGenerator(), 0)
    z = torch.randn(64, 2, generator=make_rng(0, "endpoints"))
    assert set(ends[:, 0].tolist()) == {z[:, 0].min().item(), z[:, 0].max().item()}


# Images of an interpolation


def test_an_interpolation_between_classes() -> None:
    found = generate_interpolation(StubGenerator(), StubClassifier({3, 8}), 3, 8, 7, "spherical", seed=0)
    assert (found.images.shape, found.latents.shape, found.path) == ((9, 1, 28, 28), (9, 2), "spherical")
    torch.testing.assert_close(found.latents, interpolate(found.latents[0], found.latents[-1], 7, "spherical"))
    assert torch.equal(StubGenerator()(found.latents), found.images)
    digits = StubClassifier.digit(found.latents[:, 0]).tolist()
    assert (digits[0], digits[-1], found.classes) == (3, 8, digits)
    assert found.confidences == pytest.approx([0.95 if digit in (3, 8) else 0.94 for digit in digits])


def test_an_interpolation_without_a_classifier_or_between_given_ends() -> None:
    generator = Generator(5, (1, 8, 8)).eval()
    found = generate_interpolation(generator, None, None, None, 3, "linear", seed=0)
    assert (found.images.shape, found.classes, found.confidences) == ((5, 1, 8, 8), None, None)
    assert torch.equal(found.latents[[0, -1]], choose_distant_endpoints(generator, 0))
    start, end = pair(5)
    found = generate_interpolation(generator, None, None, None, 3, "spherical", 0, ends=(start, end))
    assert torch.equal(found.latents, interpolate(start, end, 3, "spherical"))


NOT_DIGITS = "must be left out, since this run did not learn MNIST at 28 x 28; or give an --extractor"
WRONG: dict[str, dict[str, Any]] = {
    "^from must be at most 9, got 10": {"first": 10},
    "^to must be at least 0, got -1": {"last": -1},
    "^steps must be at least 0, got -1": {"steps": -1},
    f"^steps must be at most {MAX_STEPS}, got {MAX_STEPS + 1}": {"steps": MAX_STEPS + 1},
    "^path must be linear or spherical, got 'round'": {"path": "round"},
    "^seed must be at least 0, got -1": {"seed": -1},
    f"^from {NOT_DIGITS}": {"classifier": None, "first": 3},
    f"^to {NOT_DIGITS}": {"classifier": None, "last": 3},
    "^from and to must be left out, since the ends are images": {"first": 3, "image_paths": (Path("a"), Path("b"))},
}


def test_impossible_interpolations_are_refused() -> None:
    usual = {"classifier": DigitClassifier(), "first": None, "last": None, "steps": 7, "path": "linear", "seed": 0}
    for problem, arguments in WRONG.items():
        with pytest.raises(ConfigError, match=problem):
            generate_interpolation(Generator().eval(), **(usual | arguments))


# The figure


def test_the_figure_shows_each_image_once_with_a_frame_around_the_ends(tmp_path: Path) -> None:
    images = torch.rand(4, 1, 28, 28) * 2 - 1
    interpolation = Interpolation(torch.zeros(4, 5), images, [3] * 4, [0.99] * 4)
    for figure, label in ((strip_figure(images), ""), (interpolation_figure(interpolation, annotate=True), "3\n99%")):
        for index, (axes, image) in enumerate(zip(figure.axes, images, strict=True)):
            shown = np.asarray(axes.images[0].get_array())
            np.testing.assert_array_equal(shown, ((image[0] + 1) * 127.5).round().numpy().astype(np.uint8))
            assert all(spine.get_visible() == (index in (0, 3)) for spine in axes.spines.values())
            assert axes.get_xlabel() == label
    save_figure(figure, tmp_path / "ROW.PDF")
    assert (tmp_path / "ROW.PDF").read_bytes().startswith(b"%PDF-")
