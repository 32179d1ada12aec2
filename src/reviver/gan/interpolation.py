"""Interpolation between two images through latent space.

    linear      lerp(z₀, z₁; t) = (1 - t) z₀ + t z₁
    spherical   slerp(z₀, z₁; t) = (sin((1 - t) ω) z₀ + sin(t ω) z₁) / sin ω,   ω the angle between z₀ and z₁

Latents z ~ N(0, I) lie near a sphere of radius √Z. Slerp stays near it (Shoemake 1985; White 2016); lerp passes through
its inside, where training samples no latents.

Shapes: N images, Z latent size, C channels, H height, W width, S points on a path, K classes.
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from reviver.errors import DataError
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_chunked
from reviver.gan.scores.feature_extractor import CHUNK, DigitClassifier
from reviver.rng import make_rng
from reviver.settings.validation import check, refuse

PATHS = ("linear", "spherical")
MAX_STEPS = 48
"""Maximum number of images between the ends; more in one row are too small to see."""
NUM_CANDIDATES = 4096
"""Random latents that end points are chosen from."""
NUM_DISTANT_CANDIDATES = 64
CONFIDENCE = 0.95
"""Minimum probability of its class for an end point."""
NUM_ROBUST_CANDIDATES, NUM_MOST_ROBUST = 256, 8
"""An end point is one of the most robust of the first candidates of its class, see `most_robust`."""
NUM_PATH_POINTS = 9
"""Points of a path by which pairs of end points are compared, see `most_gradual`."""
SMALL_ANGLE = 1e-6
"""Radians. For ω nearer to 0 or π than this, sin ω is too small to divide by."""
VERSION, HEADER, CHECKSUM = 1, struct.Struct("<BBBBH"), struct.Struct("<I")
"""Of a view code, see `parse_view`."""


class Interpolation(NamedTuple):
    """Images [S, C, H, W] in [-1, 1] of latents [S, Z] on a `path`, with predicted classes [S] and their probabilities [S]."""

    latents: Tensor
    images: Tensor
    classes: list[int] | None
    confidences: list[float] | None
    """None, as the classes, without a classifier."""
    path: str = "linear"


def interpolate_at(start: Tensor, end: Tensor, t: Tensor, path: str = "linear") -> Tensor:
    """Return the points [S, Z] of a path from z₀ to z₁, [Z], at t [S] float64: lerp or slerp, see the top of this module.

    They have the dtype of z₀, and are computed in float64. For ω near 0 slerp is lerp, which both formulas agree on there, and
    for ω near π, where many great circles join the ends.
    """
    z_0, z_1 = start.double(), end.double()
    start_weight, end_weight = 1 - t, t
    if path == "spherical":
        omega = torch.acos((torch.dot(z_0, z_1) / (z_0.norm() * z_1.norm())).clamp(-1, 1))
        if SMALL_ANGLE < omega < torch.pi - SMALL_ANGLE:  # not if it is NaN, since one end is the origin
            start_weight, end_weight = (torch.sin(part * omega) / torch.sin(omega) for part in (1 - t, t))
    return (start_weight.unsqueeze(1) * z_0 + end_weight.unsqueeze(1) * z_1).to(start.dtype)


def interpolate(start: Tensor, end: Tensor, steps: int, path: str = "linear") -> Tensor:
    """Return both ends of a path and `steps` evenly spaced points between, [steps + 2, Z]; see `interpolate_at`."""
    return interpolate_at(start, end, torch.linspace(0, 1, steps + 2, dtype=torch.float64), path)


def generate_interpolation(
    generator: Generator, classifier: DigitClassifier | None, ends: Sequence[Tensor] | Tensor, steps: int, path: str
) -> Interpolation:
    """Generate the images of an interpolation with `steps` images between its `ends`, two latents [Z]; classify them."""
    check("steps", steps, Annotated[int, Field(ge=0, le=MAX_STEPS)])
    start, end = ends
    latents = interpolate(start, end, steps, path)
    images = generate_chunked(generator, latents)
    if classifier is None:
        return Interpolation(latents, images, None, None, path)
    confidences, classes = classifier.probabilities(images).max(1)
    return Interpolation(latents, images, classes.tolist(), confidences.tolist(), path)


def choose_class_endpoints(
    generator: Generator, classifier: DigitClassifier, seed: int, first: int | None = None, last: int | None = None
) -> Tensor:
    """Return two latents [2, Z] whose images are classified with confidence, as `first` and `last`.

    Classes that are not given are chosen at random among those that the generator generates; the two then differ. Of the
    most robust samples of both, the ends are the `most_gradual` pair. No confident sample of a class is a DataError.
    """
    for name, class_index in (("from", first), ("to", last)):
        check(name, class_index, Annotated[int, Field(ge=0, le=classifier.head.out_features - 1)] | None)
    rng = make_rng(seed, "endpoints")
    z = generator.sample_latents(NUM_CANDIDATES, rng)
    images = generate_chunked(generator, z)
    confidences, classes = classifier.probabilities(images).max(1)
    is_confident = confidences >= CONFIDENCE
    available: list[int] = sorted(set(classes[is_confident].tolist()))
    available_text = ", ".join(map(str, available))

    def choose_other(class_index: int | None) -> int:
        others = [other for other in available if other != class_index]
        if not others:
            raise DataError(
                f"end points must be confident samples of two classes, got {available_text or 'none'} among "
                f"{NUM_CANDIDATES} samples; train the generator longer"
            )
        return others[int(torch.randint(len(others), (1,), generator=rng))]

    first = choose_other(last) if first is None else first
    last = choose_other(first) if last is None else last
    robust: list[list[int]] = []
    for class_index, num_needed in ((first, 1), (last, 2 if first == last else 1)):
        indices = (is_confident & (classes == class_index)).nonzero().flatten().tolist()
        if len(indices) < num_needed:
            raise DataError(
                f"class {class_index} is not among {NUM_CANDIDATES} samples with a confidence of at least "
                f"{CONFIDENCE:.0%}; {f'choose from {available_text}, or ' if available else ''}train the generator longer"
            )
        robust.append(most_robust(classifier, images, indices, class_index))
    pairs = [(start, end) for start in robust[0] for end in robust[1] if start != end]
    return most_gradual(generator, classifier, z[torch.tensor(pairs)])


def most_gradual(generator: Generator, classifier: DigitClassifier, pairs: Tensor) -> Tensor:
    """Return the one of `pairs` [P, 2, Z] of latents between which images change most evenly, [2, Z].

    It is judged at NUM_PATH_POINTS points of the linear path: the largest distance of neighboring images in feature space
    is the smallest fraction of the path length. Pairs with an image between their ends that the classifier is less than
    CONFIDENCE sure of come first, since at such a boundary one sees the change.
    """
    points = torch.stack([interpolate(start, end, NUM_PATH_POINTS - 2) for start, end in pairs])  # [P, S, Z]
    images = generate_chunked(generator, points.flatten(0, 1))
    with torch.no_grad():
        features = torch.cat([classifier.features(chunk) for chunk in images.split(CHUNK)])
    distances = features.unflatten(0, points.shape[:2]).diff(dim=1).norm(dim=2)  # [P, S - 1]
    unevenness = (distances.amax(1) / distances.sum(1)).nan_to_num(1.0)  # of a path that does not move
    confidences = classifier.probabilities(images).amax(1).unflatten(0, points.shape[:2])
    has_boundary = confidences[:, 1:-1].amin(1) < CONFIDENCE
    return pairs[(unevenness + ~has_boundary).argmin()]


def most_robust(classifier: DigitClassifier, images: Tensor, indices: Sequence[int], class_index: int) -> list[int]:
    """Return up to NUM_MOST_ROBUST of the first `indices` of `images`, the most robustly classified as `class_index` first.

    A classifier may be confident of a blot, but rarely still is when the blot is shifted by a pixel or blurred. So the
    robustness of an image is the minimum probability of the class under these perturbations.
    """
    indices = indices[:NUM_ROBUST_CANDIDATES]
    candidates = images[list(indices)]
    perturbed = [candidates.roll(shift, axis) for axis in (2, 3) for shift in (-1, 1)]
    perturbed.append(functional.avg_pool2d(candidates, 3, stride=1, padding=1))
    robustness = torch.stack([classifier.probabilities(batch)[:, class_index] for batch in perturbed]).amin(0)
    return [indices[k] for k in robustness.argsort(descending=True)[:NUM_MOST_ROBUST].tolist()]


def choose_distant_endpoints(generator: Generator, seed: int, count: int = 2) -> Tensor:
    """Return the two of NUM_DISTANT_CANDIDATES random latents whose images differ most, then the farthest ones, [count, Z]."""
    z = generator.sample_latents(NUM_DISTANT_CANDIDATES, make_rng(seed, "endpoints"))
    images = generate_chunked(generator, z).flatten(1)
    distances = torch.cdist(images, images)
    chosen = [*divmod(int(distances.argmax()), len(z))]
    while len(chosen) < count:
        chosen.append(int(distances[chosen].amin(0).argmax()))
    return z[chosen]


class View(NamedTuple):
    """An interpolation from z₀ to z₁, [Z] each, with `steps` images between."""

    start: Tensor
    end: Tensor
    path: str
    steps: int


def parse_view(code: str, latent_size: int) -> View:
    """Return the interpolation of a view code, text that the explorer shows for copying, for Z = `latent_size`.

    A code is unpadded base64url of these bytes, with integers in little-endian order:

        1 byte           version, 1
        1 byte           path, its index in PATHS: 0 linear, 1 spherical
        1 byte           steps between the ends, 0 ... MAX_STEPS
        1 byte           0
        2 bytes          latent size Z
        2 Z bytes        z₀ in half precision
        2 Z bytes        z₁ in half precision
        4 bytes          CRC-32 of all bytes before

    Raises `ConfigError` if the code is damaged, or of a generator with another latent size.
    """
    try:
        data = base64.b64decode(code + "=" * (-len(code) % 4), altchars=b"-_", validate=True)
        content, checksum = data[: -CHECKSUM.size], data[-CHECKSUM.size :]
        version, path, steps, zero, size = HEADER.unpack_from(content)
        is_whole = CHECKSUM.pack(zlib.crc32(content)) == checksum and len(content) == HEADER.size + 4 * size
        is_known = version == VERSION and zero == 0 and path < len(PATHS) and steps <= MAX_STEPS
    except (ValueError, struct.error):
        is_whole = is_known = False
    if not is_whole or not is_known:
        refuse("view", "is damaged; copy it again from the explorer")
    if size != latent_size:
        problem = f"is of a generator with Z = {size}, this run has {latent_size}"
        refuse("view", f"{problem}; give the run that it was copied for")
    latents = torch.from_numpy(np.frombuffer(content, "<f2", offset=HEADER.size).astype(np.float32)).view(2, size)
    return View(latents[0], latents[1], PATHS[path], steps)
