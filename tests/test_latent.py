"""Walks through latent space, their end points, and the classifier that judges them."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp
from torch import Tensor, nn

from reviver.errors import ConfigError, DataError
from reviver.gan.config import GANConfig
from reviver.gan.data.image_set import from_pixels, load_mnist
from reviver.gan.evaluation.digit_classifier import DigitClassifier, weights_path
from reviver.gan.figures import interpolation_strip
from reviver.gan.interpolation import CANDIDATES, CONFIDENCE, PATHS, choose_digits, choose_distant, interpolate
from reviver.gan.networks import Generator
from reviver.gan.output import MAX_STEPS, Interpolation, generate_interpolation, save_interpolation, save_samples
from reviver.gan.run import GANRun
from reviver.gan.sampling import generate_samples
from reviver.runs.folder import RunFolder


def pair(size: int = 100, seed: int = 0) -> tuple[Tensor, Tensor]:
    z = torch.randn(2, size, generator=torch.Generator().manual_seed(seed))
    return z[0], z[1]


# Paths


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("steps", [0, 1, 7, 30])
@pytest.mark.parametrize("seed", range(5))
def test_a_path_begins_and_ends_exactly_at_its_ends(path: str, steps: int, seed: int) -> None:
    start, end = pair(seed=seed)
    points = interpolate(start, end, steps, path)
    assert (points.shape, points.dtype) == ((steps + 2, 100), torch.float32)
    assert torch.equal(points[0], start)
    assert torch.equal(points[-1], end)


def test_a_linear_path_has_equal_steps() -> None:
    start, end = pair()
    points = interpolate(start, end, 7)
    for index, point in enumerate(points):
        torch.testing.assert_close(point, start + (end - start) * index / 8)


@pytest.mark.parametrize("size", [2, 3, 100])
@pytest.mark.parametrize("seed", range(5))
def test_a_spherical_path_between_unit_vectors_is_scipys(size: int, seed: int) -> None:
    start, end = (nn.functional.normalize(one.double(), dim=0) for one in pair(size, seed))
    points = interpolate(start, end, 7, "spherical")
    expected = geometric_slerp(start.numpy(), end.numpy(), np.linspace(0, 1, 9))
    np.testing.assert_allclose(points.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_spherical_path_is_the_formula(seed: int) -> None:
    start, end = pair(seed=seed)
    omega = math.acos(float(start @ end / (start.norm() * end.norm())))
    points = interpolate(start, end, 7, "spherical")
    for index, point in enumerate(points):
        t = index / 8
        expected = (math.sin((1 - t) * omega) * start + math.sin(t * omega) * end) / math.sin(omega)
        torch.testing.assert_close(point, expected, rtol=1e-4, atol=1e-5)


def test_a_spherical_path_keeps_the_length_that_a_linear_one_loses() -> None:
    start, end = pair(seed=3)
    end = end * start.norm() / end.norm()
    radius = start.norm()
    torch.testing.assert_close(interpolate(start, end, 7, "spherical").norm(dim=1), radius.expand(9))
    assert interpolate(start, end, 7, "linear").norm(dim=1)[4] < 0.9 * radius


@pytest.mark.parametrize("distance", [0.0, 1e-9, 1e-7, 1e-5])
def test_a_spherical_path_between_near_ends_is_the_linear_one(distance: float) -> None:
    start = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    end = start + torch.tensor([0.0, 0.0, distance], dtype=torch.float64)
    points = interpolate(start, end, 7, "spherical")
    torch.testing.assert_close(points, interpolate(start, end, 7), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", [1.0, 0.5, 3.0])
def test_there_is_no_spherical_path_between_opposite_ends(length: float) -> None:
    start, _ = pair()
    with pytest.raises(ConfigError, match=r"^path: spherical has no way between opposite directions; use linear or"):
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


# End points


class StubGenerator(Generator):
    """Every pixel of an image is the sign of the noise's first number plus its second number's size."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :1, None, None].expand(-1, 1, 28, 28)


class StubClassifier(DigitClassifier):
    """Takes an image for the digit that its first pixel falls on, and is sure of it only if that is among `sure`."""

    def __init__(self, sure: set[int]) -> None:
        super().__init__()
        self.sure = sure

    @staticmethod
    def digit(first: Tensor) -> Tensor:
        return ((first + 2) * 2.5).floor().clamp(0, 9).long()

    def probabilities(self, images: Tensor) -> Tensor:
        digits = self.digit(images[:, 0, 0, 0])
        confidence = torch.tensor([CONFIDENCE if digit in self.sure else CONFIDENCE - 0.01 for digit in range(10)])
        rest = (1 - confidence[digits]) / 9
        return rest[:, None].expand(-1, 10).scatter(1, digits[:, None], confidence[digits][:, None])


ALL = set(range(10))


def digits_of(ends: Tensor) -> tuple[int, ...]:
    return tuple(StubClassifier.digit(ends[:, 0]).tolist())


@pytest.mark.parametrize(("first", "last"), [(3, 8), (8, 3), (0, 9), (4, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_ends_are_the_digits_that_are_asked_for(first: int, last: int, seed: int) -> None:
    ends = choose_digits(StubGenerator(), StubClassifier(ALL), seed, first, last)
    assert ends.shape == (2, 2)
    assert digits_of(ends) == (first, last)
    assert not torch.equal(*ends), "the same digit twice means two samples of it"


@pytest.mark.parametrize(("first", "last"), [(None, None), (3, None), (None, 8)])
def test_ends_that_are_not_asked_for_are_two_different_digits(first: int | None, last: int | None) -> None:
    found = set()
    for seed in range(12):
        ends = choose_digits(StubGenerator(), StubClassifier(ALL), seed, first, last)
        digits = digits_of(ends)
        assert digits[0] != digits[1]
        assert first in (None, digits[0])
        assert last in (None, digits[1])
        found.add(digits)
    assert len(found) > 3, "the seed decides"


def test_the_same_seed_gives_the_same_ends() -> None:
    first, second = (choose_digits(StubGenerator(), StubClassifier(ALL), 5) for _ in range(2))
    assert torch.equal(first, second)


def test_only_what_the_classifier_is_sure_of_becomes_an_end() -> None:
    for seed in range(6):
        assert set(digits_of(choose_digits(StubGenerator(), StubClassifier({2, 7}), seed))) == {2, 7}


def test_digits_that_are_not_drawn_are_told() -> None:
    with pytest.raises(
        DataError,
        match=rf"^digit: 8 is not among {CANDIDATES} samples with a confidence of 95%; choose from 2, 7, or train",
    ):
        choose_digits(StubGenerator(), StubClassifier({2, 7}), 0, 2, 8)
    with pytest.raises(DataError, match=r"^digit: 3 is not among .* 95%; train the generator longer"):
        choose_digits(StubGenerator(), StubClassifier(set()), 0, 3, 3)


@pytest.mark.parametrize(("sure", "named"), [({4}, "4"), (set(), "no digit")])
def test_a_generator_of_a_single_digit_has_no_two_ends(sure: set[int], named: str) -> None:
    with pytest.raises(DataError, match=f"the classifier is confident of {named} only; train the generator longer"):
        choose_digits(StubGenerator(), StubClassifier(sure), 0)


def test_distant_ends_are_the_two_most_different_images() -> None:
    ends = choose_distant(StubGenerator(), 0)
    z = torch.randn(64, 2, generator=_stream(0))
    assert set(ends[:, 0].tolist()) == {z[:, 0].min().item(), z[:, 0].max().item()}


def _stream(seed: int) -> torch.Generator:
    from reviver.runs.rng import make_rng

    return make_rng(seed, "endpoints")


# Walks


def gan_run(generator: Generator, **settings: object) -> GANRun:
    return GANRun(RunFolder(Path(), {}), GANConfig(**settings), generator.eval(), None)


class DigitGenerator(Generator):
    """Draws real digits: the noise's first number says which."""

    def __init__(self) -> None:
        super().__init__(2)
        self.digits = from_pixels(load_mnist("test").images[:400])

    def forward(self, z: Tensor) -> Tensor:
        return self.digits[(z[:, 0].sigmoid() * 400).long().clamp(0, 399)]


@pytest.mark.parametrize("path", PATHS)
def test_a_walk_of_digits(path: str) -> None:
    walk = generate_interpolation(gan_run(DigitGenerator()), 3, 8, 7, path, seed=0)
    assert (walk.images.shape, walk.latents.shape) == ((9, 1, 28, 28), (9, 2))
    assert (walk.digits[0], walk.digits[-1]) == (3, 8)
    assert min(walk.confidences[0], walk.confidences[-1]) >= CONFIDENCE - 1e-4
    assert len(walk.digits) == len(walk.confidences) == 9
    assert torch.equal(DigitGenerator()(walk.latents), walk.images)


@pytest.mark.parametrize("settings", [{"image_size": 8}, {"data": "photos"}])
def test_a_walk_of_other_images(settings: dict[str, object]) -> None:
    size = int(str(settings.get("image_size", 28)))
    run = gan_run(Generator(5, (1, size, size)), **settings)
    walk = generate_interpolation(run, None, None, 3, "linear", seed=0)
    assert (walk.images.shape, walk.digits, walk.confidences) == ((5, 1, size, size), None, None)
    with pytest.raises(ConfigError, match=r"^from must be left out, since this run did not learn MNIST at 28 x 28"):
        generate_interpolation(run, 3, None, 3, "linear", seed=0)
    with pytest.raises(ConfigError, match=r"^to must be left out, since this run did not learn MNIST at 28 x 28"):
        generate_interpolation(run, None, 3, 3, "linear", seed=0)


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
def test_impossible_walks_are_refused(change: dict[str, object], problem: str) -> None:
    arguments = {"first": None, "last": None, "steps": 7, "path": "linear", "seed": 0, **change}
    with pytest.raises(ConfigError, match=problem):
        generate_interpolation(gan_run(Generator()), **arguments)


def walk_of(count: int, channels: int = 1, *, judged: bool = True) -> Interpolation:
    images = torch.rand(count, channels, 28, 28) * 2 - 1
    judgements = ([3] * count, [0.99] * count) if judged else (None, None)
    return Interpolation(torch.zeros(count, 5), images, *judgements)


def test_the_strip_shows_each_image_once_with_the_ends_framed() -> None:
    walk = walk_of(9)
    axes = interpolation_strip(walk.images).axes
    assert len(axes) == 9
    for index, (one, image) in enumerate(zip(axes, walk.images, strict=True)):
        shown = np.asarray(one.images[0].get_array())
        np.testing.assert_array_equal(shown, ((image[0] + 1) * 127.5).round().numpy().astype(np.uint8))
        assert all(spine.get_visible() == (index in (0, 8)) for spine in one.spines.values())
        assert one.get_xlabel() == ""
    labelled = interpolation_strip(walk.images, [f"{index}\n99%" for index in range(9)]).axes
    assert [one.get_xlabel() for one in labelled] == [f"{index}\n99%" for index in range(9)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["walk.pdf", "walk.png", "walk.svg", "WALK.PDF"])
@pytest.mark.parametrize("labels", [True, False])
def test_a_walk_is_saved(name: str, channels: int, labels: bool, tmp_path: Path) -> None:
    save_interpolation(walk_of(4, channels), tmp_path / name, labels=labels)
    start = (tmp_path / name).read_bytes()[:5]
    assert start in (b"%PDF-", b"\x89PNG\r", b"<?xml")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_saved_walk_is_the_same_every_time(tmp_path: Path) -> None:
    walk = walk_of(9)
    for name in ("1.pdf", "2.pdf", "1.png", "2.png"):
        save_interpolation(walk, tmp_path / name, labels=True)
    for kind in ("pdf", "png"):
        assert (tmp_path / f"1.{kind}").read_bytes() == (tmp_path / f"2.{kind}").read_bytes()


def test_walks_that_cannot_be_saved_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^out must end in one of .pdf, .svg, .png for a figure, got"):
        save_interpolation(walk_of(3), tmp_path / "walk.docx", labels=False)
    with pytest.raises(ConfigError, match=r"^labels: the classifier knows only digits, which this run did not learn"):
        save_interpolation(walk_of(3, judged=False), tmp_path / "walk.pdf", labels=True)
    assert not list(tmp_path.iterdir())


# Samples


def test_samples_are_what_the_generator_draws_from_their_latents() -> None:
    generator = Generator(5, (3, 8, 8))
    generator(torch.randn(64, 5))
    generator.eval()
    images, latents = generate_samples(generator, 5000, seed=1)
    assert (images.shape, latents.shape) == ((5000, 3, 8, 8), (5000, 5))
    assert (images.dtype, latents.dtype) == (torch.float32, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(generator(latents), images, rtol=1e-4, atol=1e-6)
    assert latents.mean().abs() < 0.03
    assert (latents.std() - 1).abs() < 0.03


def test_the_seed_decides_the_samples_and_more_of_them_begin_with_the_same() -> None:
    generator = Generator(5, (1, 8, 8)).eval()
    few, many, other = (
        generate_samples(generator, 20, 1),
        generate_samples(generator, 40, 1),
        generate_samples(generator, 20, 2),
    )
    assert torch.equal(few[1], generate_samples(generator, 20, 1)[1])
    assert not torch.equal(few[1], other[1])
    assert many[1].shape == (40, 5)


@pytest.mark.parametrize(
    ("n", "seed", "problem"),
    [
        (0, 0, "^num_samples must be at least 1, got 0"),
        (-5, 0, "^num_samples must be at least 1, got -5"),
        (10**11, 0, r"^num_samples must be at most \d+, got 100000000000"),
        (1, -1, "^seed must be at least 0, got -1"),
        (1, 2**63, f"^seed must be at most {2**63 - 1}, got"),
    ],
)
def test_impossible_samples_are_refused(n: int, seed: int, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        generate_samples(Generator().eval(), n, seed)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("grid.jpg", "^out must be .png, .pdf, .svg or .npz, got '.jpg'"), ("grid", "^out must be .png, .* got ''")],
)
def test_samples_that_cannot_be_saved_are_told(name: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        save_samples(torch.zeros(4, 1, 8, 8), torch.zeros(4, 5), tmp_path / name)
    with pytest.raises(ConfigError, match=r"^n: 2501 images are too many for a grid; give at most 2500, or an .npz"):
        save_samples(torch.zeros(2501, 1, 8, 8), torch.zeros(2501, 5), tmp_path / "grid.png")
    assert not list(tmp_path.iterdir())


# The classifier


@pytest.fixture(scope="module")
def pinned() -> DigitClassifier:
    return DigitClassifier.pinned()


def test_the_pinned_weights_are_those_that_are_described() -> None:
    description = json.loads(weights_path().with_suffix(".json").read_text())
    assert hashlib.sha256(weights_path().read_bytes()).hexdigest() == description["sha256"]
    assert description["command"] == "python -m reviver.gan.train_classifier"


def test_the_pinned_classifier_recognises_digits(pinned: DigitClassifier) -> None:
    test = load_mnist("test")
    probabilities = pinned.probabilities(from_pixels(test.images))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(10_000))
    accuracy = (probabilities.argmax(1) == test.labels).double().mean().item()
    assert accuracy >= 0.993
    description = json.loads(weights_path().with_suffix(".json").read_text())
    assert accuracy == pytest.approx(description["test_accuracy"], abs=2e-4)


def test_the_pinned_classifier_is_in_eval_mode_and_judges_each_image_by_itself(pinned: DigitClassifier) -> None:
    assert not any(layer.training for layer in pinned.modules())
    images = from_pixels(load_mnist("test").images[:600])
    one_by_one = torch.cat([pinned.probabilities(image) for image in images[:20].split(1)])
    torch.testing.assert_close(pinned.probabilities(images)[:20], one_by_one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [[2, 1, 8, 8], [2, 3, 28, 28], [2, 784], [28, 28]])
def test_the_classifier_refuses_other_images(shape: list[int], pinned: DigitClassifier) -> None:
    with pytest.raises(DataError, match=r"^images: shape \[.*\] does not fit; the classifier knows \[N, 1, 28, 28\]"):
        pinned(torch.zeros(shape))
