"""Interpolation: lerp and slerp, the choice of end points, the images and their figure."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp
from torch import Tensor, nn

from reviver.data.images.image_set import from_pixels, load_mnist
from reviver.errors import ConfigError, DataError
from reviver.figures import save_figure
from reviver.gan.interpolation import (
    CONFIDENCE,
    MAX_STEPS,
    NUM_CANDIDATES,
    PATHS,
    Interpolation,
    choose_class_endpoints,
    choose_distant_endpoints,
    generate_interpolation,
    interpolate,
    lerp,
    slerp,
)
from reviver.gan.networks import Generator
from reviver.gan.scores.digit_classifier import DigitClassifier
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.show.gan_figures import interpolation_figure, strip_figure
from reviver.train.gan.run import GANRun


def pair(size: int = 100, seed: int = 0) -> tuple[Tensor, Tensor]:
    z = torch.randn(2, size, generator=torch.Generator().manual_seed(seed))
    return z[0], z[1]


# Paths


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("steps", [0, 1, 7, 30])
@pytest.mark.parametrize("seed", range(5))
def test_a_path_has_exactly_its_ends(path: str, steps: int, seed: int) -> None:
    start, end = pair(seed=seed)
    points = interpolate(start, end, steps, path)
    assert (points.shape, points.dtype) == ((steps + 2, 100), torch.float32)
    assert torch.equal(points[0], start)
    assert torch.equal(points[-1], end)


def test_lerp_has_equal_steps() -> None:
    start, end = pair()
    points = interpolate(start, end, 7)
    for index, point in enumerate(points):
        torch.testing.assert_close(point, start + (end - start) * index / 8)


@pytest.mark.parametrize("size", [2, 3, 100])
@pytest.mark.parametrize("seed", range(5))
def test_slerp_between_unit_vectors_equals_scipy(size: int, seed: int) -> None:
    start, end = (nn.functional.normalize(z.double(), dim=0) for z in pair(size, seed))
    points = interpolate(start, end, 7, "spherical")
    expected = geometric_slerp(start.numpy(), end.numpy(), np.linspace(0, 1, 9))
    np.testing.assert_allclose(points.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_slerp_equals_its_formula(seed: int) -> None:
    start, end = pair(seed=seed)
    omega = math.acos(float(start @ end / (start.norm() * end.norm())))
    points = interpolate(start, end, 7, "spherical")
    for index, point in enumerate(points):
        t = index / 8
        expected = (math.sin((1 - t) * omega) * start + math.sin(t * omega) * end) / math.sin(omega)
        torch.testing.assert_close(point, expected, rtol=1e-4, atol=1e-5)


def test_slerp_keeps_the_norm_and_lerp_does_not() -> None:
    start, end = pair(seed=3)
    end = end * start.norm() / end.norm()
    radius = start.norm()
    torch.testing.assert_close(interpolate(start, end, 7, "spherical").norm(dim=1), radius.expand(9))
    assert interpolate(start, end, 7, "linear").norm(dim=1)[4] < 0.9 * radius


@pytest.mark.parametrize("distance", [0.0, 1e-9, 1e-7, 1e-5])
def test_slerp_between_near_ends_equals_lerp(distance: float) -> None:
    start = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    end = start + torch.tensor([0.0, 0.0, distance], dtype=torch.float64)
    points = interpolate(start, end, 7, "spherical")
    torch.testing.assert_close(points, interpolate(start, end, 7), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", [1.0, 0.5, 3.0])
def test_slerp_between_opposite_ends_is_refused(length: float) -> None:
    start, _ = pair()
    with pytest.raises(
        ConfigError, match=r"^path must be linear between ends in opposite directions, got spherical; or use"
    ):
        interpolate(start, -length * start, 7, "spherical")
    assert interpolate(start, -length * start, 7).isfinite().all()


@pytest.mark.parametrize("path", PATHS)
def test_a_path_from_the_origin_is_finite(path: str) -> None:
    start, end = torch.zeros(5), torch.ones(5)
    torch.testing.assert_close(interpolate(start, end, 3, path), torch.linspace(0, 1, 5)[:, None].expand(5, 5))


def test_impossible_paths_are_refused() -> None:
    start, end = pair()
    with pytest.raises(ConfigError, match=r"^steps must be at least 0, got -1"):
        interpolate(start, end, -1)
    with pytest.raises(ConfigError, match=r"^path must be linear or spherical, got 'round'"):
        interpolate(start, end, 7, "round")


def test_lerp_and_slerp_by_hand() -> None:
    """A quarter circle: at a third of it the angle is 30°, at a half 45°."""
    start, end = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    t = torch.tensor([0.0, 1 / 3, 0.5, 1.0], dtype=torch.float64)
    linear = torch.tensor([[2.0, 0.0], [4 / 3, 2 / 3], [1.0, 1.0], [0.0, 2.0]])
    spherical = torch.tensor([[2.0, 0.0], [3**0.5, 1.0], [2**0.5, 2**0.5], [0.0, 2.0]])
    torch.testing.assert_close(lerp(start, end, t), linear)
    torch.testing.assert_close(slerp(start, end, t), spherical)


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


ALL = set(range(10))


def digits_of(ends: Tensor) -> tuple[int, ...]:
    return tuple(StubClassifier.digit(ends[:, 0]).tolist())


@pytest.mark.parametrize(("first", "last"), [(3, 8), (8, 3), (0, 9), (4, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_ends_are_of_the_given_classes(first: int, last: int, seed: int) -> None:
    ends = choose_class_endpoints(StubGenerator(), StubClassifier(ALL), seed, first, last)
    assert ends.shape == (2, 2)
    assert digits_of(ends) == (first, last)
    assert not torch.equal(*ends), "the same class twice means two samples of it"


@pytest.mark.parametrize(("first", "last"), [(None, None), (3, None), (None, 8)])
def test_ends_without_a_given_class_are_of_two_different_classes(first: int | None, last: int | None) -> None:
    found = set()
    for seed in range(12):
        ends = choose_class_endpoints(StubGenerator(), StubClassifier(ALL), seed, first, last)
        digits = digits_of(ends)
        assert digits[0] != digits[1]
        assert first in (None, digits[0])
        assert last in (None, digits[1])
        found.add(digits)
    assert len(found) > 3, "the seed chooses them"


def test_the_same_seed_gives_the_same_ends() -> None:
    first, second = (choose_class_endpoints(StubGenerator(), StubClassifier(ALL), 5) for _ in range(2))
    assert torch.equal(first, second)


def test_ends_are_confident_samples() -> None:
    for seed in range(6):
        assert set(digits_of(choose_class_endpoints(StubGenerator(), StubClassifier({2, 7}), seed))) == {2, 7}


def test_classes_without_confident_samples_are_refused() -> None:
    with pytest.raises(
        DataError,
        match=rf"^class 8 is not among {NUM_CANDIDATES} samples with a confidence of at least 95%; choose from 2, 7, or train",
    ):
        choose_class_endpoints(StubGenerator(), StubClassifier({2, 7}), 0, 2, 8)
    with pytest.raises(DataError, match=r"^class 3 is not among .* 95%; train the generator longer"):
        choose_class_endpoints(StubGenerator(), StubClassifier(set()), 0, 3, 3)


@pytest.mark.parametrize(("confident", "available"), [({4}, "4"), (set(), "none")])
def test_a_generator_of_a_single_class_has_no_two_ends(confident: set[int], available: str) -> None:
    with pytest.raises(
        DataError,
        match=f"^end points must be .* got {available} among {NUM_CANDIDATES} samples; train the generator longer",
    ):
        choose_class_endpoints(StubGenerator(), StubClassifier(confident), 0)


def test_distant_ends_are_the_two_most_different_images() -> None:
    ends = choose_distant_endpoints(StubGenerator(), 0)
    z = torch.randn(64, 2, generator=make_rng(0, "endpoints"))
    assert set(ends[:, 0].tolist()) == {z[:, 0].min().item(), z[:, 0].max().item()}


# Images of an interpolation


def gan_run(generator: Generator, **settings: object) -> GANRun:
    return GANRun(RunFolder(Path(), {}), GANConfig(**settings), generator.eval(), None, 0)


class DigitGenerator(Generator):
    """Generates real digits, chosen by the first number of the latent."""

    def __init__(self) -> None:
        super().__init__(2)
        self.digits = from_pixels(load_mnist("test").images[:400])

    def forward(self, z: Tensor) -> Tensor:
        return self.digits[(z[:, 0].sigmoid() * 400).long().clamp(0, 399)]


@pytest.mark.parametrize("path", PATHS)
def test_an_interpolation_of_digits(path: str) -> None:
    run = gan_run(DigitGenerator())
    assert run.is_digits
    interpolation = generate_interpolation(run.generator, DigitClassifier.pinned(), 3, 8, 7, path, seed=0)
    assert (interpolation.images.shape, interpolation.latents.shape) == ((9, 1, 28, 28), (9, 2))
    assert (interpolation.classes[0], interpolation.classes[-1]) == (3, 8)
    assert min(interpolation.confidences[0], interpolation.confidences[-1]) >= CONFIDENCE - 1e-4
    assert len(interpolation.classes) == len(interpolation.confidences) == 9
    assert torch.equal(DigitGenerator()(interpolation.latents), interpolation.images)


@pytest.mark.parametrize("settings", [{"image_size": 8}, {"data": "photos"}])
def test_an_interpolation_of_other_images(settings: dict[str, object]) -> None:
    size = int(str(settings.get("image_size", 28)))
    run = gan_run(Generator(5, (1, size, size)), **settings)
    assert not run.is_digits
    interpolation = generate_interpolation(run.generator, None, None, None, 3, "linear", seed=0)
    assert (interpolation.images.shape, interpolation.classes) == ((5, 1, size, size), None)
    assert interpolation.confidences is None
    with pytest.raises(ConfigError, match=r"^from must be left out, since this run did not learn MNIST at 28 x 28"):
        generate_interpolation(run.generator, None, 3, None, 3, "linear", seed=0)
    with pytest.raises(ConfigError, match=r"^to must be left out, since this run did not learn MNIST at 28 x 28"):
        generate_interpolation(run.generator, None, None, 3, 3, "linear", seed=0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"first": 10}, "^from must be at most 9, got 10"),
        ({"last": -1}, "^to must be at least 0, got -1"),
        ({"steps": -1}, "^steps must be at least 0, got -1"),
        ({"steps": MAX_STEPS + 1}, f"^steps must be at most {MAX_STEPS}, got {MAX_STEPS + 1}"),
        ({"path": "round"}, "^path must be linear or spherical, got 'round'"),
        ({"seed": -1}, "^seed must be at least 0, got -1"),
    ],
)
def test_impossible_interpolations_are_refused(change: dict[str, object], problem: str) -> None:
    arguments = {"first": None, "last": None, "steps": 7, "path": "linear", "seed": 0, **change}
    with pytest.raises(ConfigError, match=problem):
        generate_interpolation(Generator().eval(), DigitClassifier.pinned(), **arguments)


def random_interpolation(num_images: int, channels: int = 1, *, is_classified: bool = True) -> Interpolation:
    """Return an interpolation of noise images."""
    images = torch.rand(num_images, channels, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    classes, confidences = ([3] * num_images, [0.99] * num_images) if is_classified else (None, None)
    return Interpolation(torch.zeros(num_images, 5), images, classes, confidences)


def test_the_figure_shows_each_image_once_with_a_frame_around_the_ends() -> None:
    interpolation = random_interpolation(9)
    cells = strip_figure(interpolation.images).axes
    assert len(cells) == 9
    for index, (axes, image) in enumerate(zip(cells, interpolation.images, strict=True)):
        shown = np.asarray(axes.images[0].get_array())
        np.testing.assert_array_equal(shown, ((image[0] + 1) * 127.5).round().numpy().astype(np.uint8))
        assert all(spine.get_visible() == (index in (0, 8)) for spine in axes.spines.values())
        assert axes.get_xlabel() == ""
    labeled = strip_figure(interpolation.images, [f"{index}\n99%" for index in range(9)]).axes
    assert [axes.get_xlabel() for axes in labeled] == [f"{index}\n99%" for index in range(9)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["row.pdf", "row.png", "row.svg", "ROW.PDF"])
@pytest.mark.parametrize("annotate", [True, False])
def test_an_interpolation_is_saved(name: str, channels: int, annotate: bool, tmp_path: Path) -> None:
    save_figure(interpolation_figure(random_interpolation(4, channels), annotate=annotate), tmp_path / name)
    start = (tmp_path / name).read_bytes()[:5]
    assert start in (b"%PDF-", b"\x89PNG\r", b"<?xml")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_saved_interpolation_is_deterministic(tmp_path: Path) -> None:
    interpolation = random_interpolation(9)
    for name in ("1.pdf", "2.pdf", "1.png", "2.png"):
        save_figure(interpolation_figure(interpolation, annotate=True), tmp_path / name)
    for kind in ("pdf", "png"):
        assert (tmp_path / f"1.{kind}").read_bytes() == (tmp_path / f"2.{kind}").read_bytes()


def test_interpolations_that_cannot_be_saved_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^out must end in one of .pdf, .svg, .png for a figure, got"):
        save_figure(interpolation_figure(random_interpolation(3)), tmp_path / "row.docx")
    with pytest.raises(
        ConfigError, match=r"^annotate must be left out, since the classifier knows only digits, which this run did not"
    ):
        interpolation_figure(random_interpolation(3, is_classified=False), annotate=True)
    assert not list(tmp_path.iterdir())
