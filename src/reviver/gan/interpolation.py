"""Walking through the latent space of a trained generator.

Shapes: N images, Z latent size, C channels, H height, W width, S points on a path.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from reviver.config import CountOrZero
from reviver.errors import ConfigError, DataError
from reviver.gan.evaluation.digit_classifier import DigitClassifier
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_chunked
from reviver.runs.rng import make_rng
from reviver.validation import check

PathKind = Literal["linear", "spherical"]
PATHS = get_args(PathKind)
CANDIDATES = 4096
"""Noise vectors that end points are chosen from."""
CONFIDENCE = 0.95
"""How sure the classifier must be of an end point."""

EXAMINED, STEADIEST = 256, 8
"""Of so many confident samples of a digit, one of so many that it is steadiest on becomes the end point."""


def interpolate(start: Tensor, end: Tensor, steps: int, path: str = "linear") -> Tensor:
    """Return `start`, `steps` points between, and `end`: [steps + 2, Z].

    linear:     z(t) = (1 - t) z_0 + t z_1
    spherical:  z(t) = (sin((1 - t) ω) z_0 + sin(t ω) z_1) / sin ω,  ω the angle between z_0 and z_1
                (Shoemake 1985), which keeps to the shell where Gaussian noise lies (White 2016)

    Raises:
        ConfigError: if `steps` is negative, `path` unknown, or the ends point in opposite directions.
    """
    check("steps", steps, CountOrZero)
    check("path", path, PathKind)
    return interpolate_at(start, end, torch.linspace(0, 1, steps + 2, dtype=torch.float64), path)


def interpolate_at(start: Tensor, end: Tensor, t: Tensor, path: str = "linear") -> Tensor:
    """The points z(t) of a path, see `interpolate`, at t [S] float64 from 0 to 1: [S, Z].

    Raises:
        ConfigError: if `path` is spherical and the ends point in opposite directions.
    """
    z_0, z_1 = start.double(), end.double()
    weights = (1 - t, t)
    if path == "spherical":
        cosine = torch.dot(z_0, z_1) / (z_0.norm() * z_1.norm())
        omega = torch.acos(cosine.clamp(-1, 1))
        if omega > torch.pi - 1e-6:
            raise ConfigError("path: spherical has no way between opposite directions; use linear or other ends")
        if omega > 1e-6:  # below this both formulas agree
            weights = (torch.sin((1 - t) * omega) / torch.sin(omega), torch.sin(t * omega) / torch.sin(omega))
    points: Tensor = weights[0].unsqueeze(1) * z_0 + weights[1].unsqueeze(1) * z_1
    return points.to(start.dtype)


def choose_digits(
    generator: Generator, classifier: DigitClassifier, seed: int, first: int | None = None, last: int | None = None
) -> Tensor:
    """Choose two latent vectors [2, Z] whose images the classifier is confident to be two different digits.

    `first` and `last` say which digits; those not given are chosen at random among what the generator draws.

    Raises:
        DataError: if the generator draws no confident sample of a digit that is needed.
    """
    randomness = make_rng(seed, "endpoints")
    z = generator.sample_latents(CANDIDATES, randomness)
    images = generate_chunked(generator, z)
    confidences, digits = classifier.probabilities(images).max(1)
    is_confident = confidences >= CONFIDENCE
    found = sorted(set(digits[is_confident].tolist()))
    names = ", ".join(map(str, found)) or "no digit"

    def choose(choices: list[int]) -> int:
        return choices[int(torch.randint(len(choices), (1,), generator=randomness))]

    def choose_other(digit: int | None) -> int:
        others = [one for one in found if one != digit]
        if not others:
            raise DataError(
                f"end points: of {CANDIDATES} samples the classifier is confident of {names} only; train the generator longer"
            )
        return choose(others)

    first = choose_other(last) if first is None else first
    last = choose_other(first) if last is None else last
    picks: list[int] = []
    for digit in (first, last):
        samples = (is_confident & (digits == digit)).nonzero().flatten().tolist()
        free = [index for index in samples if index not in picks]
        if not free:
            raise DataError(
                f"digit: {digit} is not among {CANDIDATES} samples with a confidence of {CONFIDENCE:.0%}; "
                f"{f'choose from {names}, or ' if found else ''}train the generator longer"
            )
        picks.append(choose(find_steadiest(classifier, images, free, digit)))
    return z[picks]


def find_steadiest(classifier: DigitClassifier, images: Tensor, places: list[int], digit: int) -> list[int]:
    """Return the `places` in images [N, 1, H, W] at which the classifier is steadiest that it sees `digit`.

    A classifier can be sure of a blot, but hardly still when the blot is moved by a pixel or blurred. So an image
    counts by the least of its probabilities under these changes.
    """
    places = places[:EXAMINED]
    shown = images[places]
    changed = [shown.roll(step, axis) for axis in (2, 3) for step in (-1, 1)]
    changed.append(functional.avg_pool2d(shown, 3, stride=1, padding=1))
    steadiness = torch.stack([classifier.probabilities(one)[:, digit] for one in changed]).amin(0)
    return [places[k] for k in steadiness.argsort(descending=True)[:STEADIEST].tolist()]


def choose_distant(generator: Generator, seed: int) -> Tensor:
    """Choose two latent vectors [2, Z] whose images differ most from each other, for image sets that are not digits."""
    z = generator.sample_latents(64, make_rng(seed, "endpoints"))
    images = generate_chunked(generator, z).flatten(1)
    farthest = int(torch.cdist(images, images).argmax())
    return z[[*divmod(farthest, len(z))]]
