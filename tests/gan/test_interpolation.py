"""Interpolation: lerp and slerp, the choice of end points, projected images, view codes, and the commands."""

import base64
import copy
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import geometric_slerp
from torch import Tensor, nn

from reviver.cli import main
from reviver.errors import ConfigError, DataError
from reviver.gan.interpolation import (
    CONFIDENCE,
    MAX_STEPS,
    PATHS,
    View,
    choose_class_endpoints,
    choose_distant_endpoints,
    generate_interpolation,
    interpolate,
    most_gradual,
    parse_view,
)
from reviver.gan.inversion import project
from reviver.gan.networks import Generator
from reviver.gan.scores.feature_extractor import DigitClassifier
from reviver.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train


@pytest.fixture(autouse=True)
def _few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.gan.interpolation.NUM_CANDIDATES", 400)


# Paths


@pytest.mark.parametrize(("size", "seed"), [(2, 0), (3, 1), (100, 2)])
def test_points_equal_those_of_numpy_and_scipy(size: int, seed: int) -> None:
    ends = torch.randn(2, size, generator=torch.Generator().manual_seed(seed))
    for path in PATHS:
        points = interpolate(*ends, 4 * seed, path)
        assert (points.shape, points.dtype) == ((4 * seed + 2, size), torch.float32)
        assert torch.equal(points[[0, -1]], ends), "exactly its ends"
    start, end = nn.functional.normalize(ends.double(), dim=1)
    expected = geometric_slerp(start.numpy(), end.numpy(), np.linspace(0, 1, 9))
    np.testing.assert_allclose(interpolate(3 * start, 3 * end, 7, "spherical"), 3 * expected, atol=1e-12)
    np.testing.assert_allclose(interpolate(start, end, 7), np.linspace(start.numpy(), end.numpy(), 9), atol=1e-12)
    # At a third of a quarter circle the angle is 30°, and ends of different lengths keep their weights.
    spherical = torch.tensor([[2.0, 0.0], [3**0.5, 2.0], [1.0, 2 * 3**0.5], [0.0, 4.0]])
    torch.testing.assert_close(interpolate(spherical[0], spherical[-1], 2, "spherical"), spherical)


def test_slerp_between_near_ends_from_the_origin_or_between_opposite_ends_equals_lerp() -> None:
    start = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    for distance in (0.0, 1e-9, 1e-7, 1e-5):
        for ends in ((start, start + torch.tensor([0.0, 0.0, distance])), (0 * start, start), (start, -3 * start)):
            torch.testing.assert_close(interpolate(*ends, 7, "spherical"), interpolate(*ends, 7), rtol=1e-9, atol=1e-9)


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
        self.features = nn.Sequential(nn.Flatten())

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
    assert not torch.equal(*ends), "the same class twice means two samples of it"
    z = torch.randn(400, 2, generator=make_rng(seed, "endpoints"))
    assert (ends[:, None] == z).all(2).any(1).all(), "a seed keeps its latents"
    return tuple(StubClassifier.digit(ends[:, 0]).tolist())


def test_ends_are_of_the_given_classes_or_confident_samples_of_two_different_ones() -> None:
    for classes in ((8, 3), (0, 9), (4, 4)):
        assert {choose_digits(seed, *classes) for seed in range(3)} == {classes}
    for first, last in ((None, None), (3, None), (None, 8)):
        found = {choose_digits(seed, first, last) for seed in range(12)}
        assert all(a != b and first in (None, a) and last in (None, b) for a, b in found)
        assert len(found) > 3, "the seed chooses them"
    assert {frozenset(choose_digits(seed, confident={2, 7})) for seed in range(6)} == {frozenset({2, 7})}


def test_classes_without_confident_samples_are_refused() -> None:
    with pytest.raises(DataError, match=r"^class 8 is not among 400 samples .* of at least 95%; choose from 2, 7, or"):
        choose_digits(0, 2, 8, confident={2, 7})
    with pytest.raises(DataError, match=r"with a confidence of at least 95%; train the generator longer$"):
        choose_digits(0, 2, 8, confident=set())
    with pytest.raises(DataError, match=r"^end points must be .* got 4 among 400 samples; train the generator longer"):
        choose_digits(0, confident={4})


def test_the_ends_are_those_between_which_images_change_most_evenly_and_pass_a_boundary() -> None:
    """Pixels are tanh(z₀ z₁), so a larger z₁ makes a sharper change; the classifier is sure of the digits 4 to 6 only."""

    class Curved(StubGenerator):
        def forward(self, z: Tensor) -> Tensor:
            return torch.tanh(z[:, :1] * z[:, 1:])[:, :, None, None].expand(-1, 1, 28, 28)

    even, sharp, sharper = (torch.tensor([[-1.0, steepness], [1.0, steepness]]) for steepness in (0.3, 3.0, 9.0))
    generator, classifier, always_sure = Curved(), StubClassifier({4, 5, 6}), StubClassifier(set(range(10)))
    confidences = [
        classifier.probabilities(generator(interpolate(*pair, 7))).amax(1).min() for pair in (even, sharp, sharper)
    ]
    assert confidences[0] >= CONFIDENCE > max(confidences[1:]), "the most even path passes no boundary"
    assert torch.equal(most_gradual(generator, classifier, torch.stack([sharper, even, sharp])), sharp)
    assert torch.equal(most_gradual(generator, always_sure, torch.stack([sharper, sharp, even])), even)
    still = torch.zeros(2, 2)
    assert torch.equal(most_gradual(generator, always_sure, torch.stack([still, sharper])), sharper)


def test_an_interpolation_between_classes_distant_samples_or_given_ends() -> None:
    generator, classifier = StubGenerator(), StubClassifier({0, 9})
    ends = choose_class_endpoints(generator, classifier, 0, 0, 9)
    found = generate_interpolation(generator, classifier, ends, 7, "spherical")
    torch.testing.assert_close(found.latents, interpolate(found.latents[0], found.latents[-1], 7, "spherical"))
    assert torch.equal(generator(found.latents), found.images)
    digits = StubClassifier.digit(found.latents[:, 0]).tolist()
    assert (digits[0], digits[-1], found.classes, found.path) == (0, 9, digits, "spherical")
    assert found.confidences == pytest.approx([0.95 if digit in (0, 9) else 0.94 for digit in digits])
    found = generate_interpolation(generator, None, choose_distant_endpoints(generator, 0), MAX_STEPS, "linear")
    assert (len(found.latents), found.classes, found.confidences) == (50, None, None)
    z = torch.randn(64, 2, generator=make_rng(0, "endpoints"))
    assert set(found.latents[[0, -1], 0].tolist()) == {z[:, 0].min().item(), z[:, 0].max().item()}
    assert torch.equal(found.latents[[0, -1]], choose_distant_endpoints(generator, 0))
    found = generate_interpolation(generator, None, (z[0], z[1]), 0, "spherical")
    assert found.path == "spherical"
    assert torch.equal(found.latents, interpolate(z[0], z[1], 0, "spherical"))


# Projected images


def test_a_search_and_the_ends_of_a_seed_stay_from_release_to_release(golden: Callable[..., None]) -> None:
    generator = Generator(4, (1, 4, 4))
    found = project(generator, generator.eval()(torch.ones(2, 4)).detach(), seed=3, steps=3, starts=2)
    numbers = {"errors": found.errors.tolist(), "latents": found.latents.flatten().tolist()}
    numbers["ends"] = choose_distant_endpoints(generator, 3, 3).flatten().tolist()
    golden("projection", numbers, relative=1e-3)


def test_the_latents_of_generated_images_are_found_without_side_effects() -> None:
    generator = Generator(8, (1, 8, 8))
    for _ in range(20):
        generator(torch.randn(64, 8))  # BatchNorm's statistics
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(1.5)
        targets, others = generator.eval()(torch.randn(3, 8)), generator(torch.randn(300, 8))
    before, rng_state = copy.deepcopy(generator.train().state_dict()), torch.random.get_rng_state()
    first, again = (project(generator, targets, steps=5, starts=2) for _ in range(2))
    assert all(map(torch.equal, first, again))
    projection = project(generator, targets, steps=300, starts=8)
    assert generator.training
    assert torch.equal(torch.random.get_rng_state(), rng_state)
    torch.testing.assert_close(dict(generator.state_dict()), dict(before), rtol=0, atol=0)
    best_random = (others[:, None] - targets).square().flatten(2).mean(2).sqrt().min(0).values
    assert (projection.errors < best_random / 4).all(), "the best start of each image is kept"
    with torch.no_grad():
        torch.testing.assert_close(generator.eval()(projection.latents), projection.images)
    expected = (projection.images - targets).square().flatten(1).mean(1).sqrt()
    torch.testing.assert_close(projection.errors, expected)


# View codes


def encode(data: bytes) -> str:
    """Return the code of some content, with a correct checksum."""
    return base64.urlsafe_b64encode(data + struct.pack("<I", zlib.crc32(data))).decode().rstrip("=")


def content(start: Tensor, end: Tensor, **changes: int) -> bytes:
    header = {"version": 1, "path": 0, "steps": 7, "zero": 0, "size": len(start)} | changes
    return struct.pack("<BBBBH", *header.values()) + torch.cat([start, end]).half().numpy().tobytes()


def code_of(view: View) -> str:
    return encode(content(view.start, view.end, path=PATHS.index(view.path), steps=view.steps))


def test_the_codes_that_the_explorer_writes_are_read() -> None:
    """For the bytes see gan/interpolation.py."""
    view = parse_view(encode(bytes([1, 1, 9, 0, 2, 0]) + bytes.fromhex("0038 00bc 0040 0000")), 2)
    assert (view.start.tolist(), view.end.tolist(), *view[2:]) == ([0.5, -1.0], [2.0, 0.0], "spherical", 9)
    z = torch.randn(100)
    for path, steps in (("linear", 0), ("spherical", MAX_STEPS)):
        found = parse_view(code_of(View(z, -z, path, steps)), 100)
        assert torch.equal(torch.stack([found.start, found.end]), torch.stack([z, -z]).half().float())
        assert (found.path, found.steps) == (path, steps)


Z = torch.linspace(-1, 1, 4)
WRONG_VIEWS = {
    "AQAHAA==": "is damaged; copy it again from the explorer",
    "AQ+HAQ": "is damaged",  # a character that no code has
    "AQAHA": "is damaged",  # no bytes have this length
    encode(b"\1\0\7\0"): "is damaged",  # only a header
    encode(content(Z, torch.cat([Z, Z]))): "is damaged",
    encode(content(Z, Z, path=2)): "is damaged",
    encode(content(Z, Z, steps=49)): "is damaged",
    encode(content(Z, Z, zero=1)): "is damaged",
    encode(content(Z, Z, version=2)): "is damaged",
    encode(content(Z[:3], Z[:3])): "is of a generator with Z = 3, this run has 4; give the run",
}


@given(st.text(min_size=1), st.integers(0, 32), st.sampled_from("Aa0_-"), st.sampled_from(sorted(WRONG_VIEWS)))
def test_any_text_any_changed_character_and_wrong_content_give_an_error(
    text: str, index: int, letter: str, view: str
) -> None:
    code = encode(content(torch.arange(4.0), torch.ones(4)))
    changed = code[:index] + letter + code[index + 1 :]
    for wrong, problem in {view: WRONG_VIEWS[view], text: "", changed: "is damaged; copy it again"}.items():
        if wrong != code:
            with pytest.raises(ConfigError, match=f"^view .*{problem}"):
                parse_view(wrong, 4)


def test_the_command_draws_views(here: Path) -> None:
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    train(
        GANConfig(data="images.npy", image_size=8, latent_size=8, epochs=1, batch_size=16), here / "run", device="cpu"
    )

    def call(arguments: str) -> bytes:
        assert main([*arguments.split(), "--out", "figure.svg"]) == 0
        return Path("figure.svg").read_bytes()

    view = View(*torch.linspace(-1, 2, 16).view(2, 8), "spherical", 5)
    changes = {"path": "linear"}, {"steps": 4}, {"start": view.end}, {"end": view.start}
    views = [view, *(view._replace(**change) for change in changes)]
    assert len({call(f"gan interpolate run --view {code_of(one)}") for one in views}) == 5
