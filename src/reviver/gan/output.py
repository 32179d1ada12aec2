"""What a trained generator is asked to draw, and the files it is saved in.

Shapes: N images, C channels, H height, W width, Z latent size, S images on a path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from reviver.config import Seed
from reviver.errors import ConfigError
from reviver.figures import save_figure
from reviver.gan.data.image_files import read_images
from reviver.gan.data.image_set import from_pixels
from reviver.gan.evaluation.digit_classifier import DigitClassifier
from reviver.gan.evaluation.path_metrics import PathComparison
from reviver.gan.figures import interpolation_strip, measured_strip, sheet_figure
from reviver.gan.grids import save_grid, tile
from reviver.gan.interpolation import PathKind, choose_digits, choose_distant, interpolate
from reviver.gan.inversion import Projection, project
from reviver.gan.run import GANRun
from reviver.gan.sampling import generate_chunked
from reviver.io.files import atomic_write
from reviver.validation import check

MAX_GRID_IMAGES = 2500
MAX_PROJECTED = 64
"""Images that are projected at once."""
MAX_STEPS = 48
"""More images in one row cannot be told apart."""


@dataclass(frozen=True)
class Interpolation:
    """The images on a path through latent space, and what the classifier takes them for (None if not asked)."""

    latents: Tensor
    """[S, Z]"""
    images: Tensor
    """[S, C, H, W] in [-1, 1]"""
    digits: list[int] | None
    confidences: list[float] | None
    path: str = "linear"


def save_samples(images: Tensor, latents: Tensor, path: Path) -> None:
    """Save images [N, C, H, W] as a grid (.png, .pdf, .svg) or with their latents [N, Z] as numbers (.npz).

    Raises:
        ConfigError: if the ending is of no known format, or a grid would hold too many images.
        RunFolderError: if the file cannot be written.
    """
    kind = path.suffix.lower()
    check("out", kind, Literal[".png", ".pdf", ".svg", ".npz"])
    if kind != ".npz" and len(images) > MAX_GRID_IMAGES:
        raise ConfigError(
            f"n: {len(images)} images are too many for a grid; give at most {MAX_GRID_IMAGES}, or an .npz as --out"
        )
    if kind == ".npz":
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, images=images.numpy(), latents=latents.numpy())
    else:
        save_image_grid(images, path)


def save_image_grid(images: Tensor, path: Path, columns: int | None = None) -> None:
    """Save images [N, C, H, W] as a grid, see `tile`: pixel by pixel as .png, else as a figure (.pdf, .svg)."""
    if path.suffix.lower() == ".png":
        save_grid(images, path, columns)
    else:
        save_figure(sheet_figure(tile(images, columns)), path)


def project_files(run: GANRun, paths: Sequence[Path], seed: int) -> tuple[Tensor, Projection]:
    """Read images and project them into latent space; returns them [N, C, H, W] in [-1, 1], and what was found.

    Raises:
        ConfigError: if there are none, too many, or `seed` is out of range.
        DataError: if a file is missing or damaged.
    """
    check("seed", seed, Seed)
    if not 1 <= len(paths) <= MAX_PROJECTED:
        raise ConfigError(f"the number of images must be from 1 to {MAX_PROJECTED}, got {len(paths)}")
    originals = from_pixels(read_images(paths, run.generator.image_shape))
    return originals, project(run.generator, originals, seed=seed)


def generate_interpolation(
    run: GANRun,
    first: int | None,
    last: int | None,
    steps: int,
    path: str,
    seed: int,
    images: tuple[Path, Path] | None = None,
    classifier: DigitClassifier | None = None,
) -> Interpolation:
    """Draw the way between two images: `steps` images and the two ends.

    If there is a `classifier`, for a run on digits the pinned one by default, the ends are of the classes `first` and
    `last`, or of two different ones; else they are two images that differ much. With `images` they are what the generator
    draws nearest to these two files.

    Raises:
        ConfigError: if an argument is out of range, or classes are asked for that nothing can tell apart.
        DataError: if the generator draws no confident sample of a class that is needed.
    """
    if classifier is None and run.is_digits:
        classifier = DigitClassifier.pinned()
    for name, digit in (("from", first), ("to", last)):
        if digit is not None and classifier is None:
            raise ConfigError(
                f"{name} must be left out, since this run did not learn MNIST at 28 x 28; or give an --extractor",
                field=name,
            )
        if digit is not None and classifier is not None:
            check(name, digit, Annotated[int, Field(ge=0, le=classifier.head.out_features - 1)])
    check("seed", seed, Seed)
    check("steps", steps, Annotated[int, Field(ge=0, le=MAX_STEPS)])
    check("path", path, PathKind)
    if images is not None:
        if (first, last) != (None, None):
            raise ConfigError("from: the ends are images already; leave out from and to, or the images")
        start, end = project_files(run, images, seed)[1].latents
    elif classifier is not None:
        start, end = choose_digits(run.generator, classifier, seed, first, last)
    else:
        start, end = choose_distant(run.generator, seed)
    latents = interpolate(start, end, steps, path)
    drawn = generate_chunked(run.generator, latents)
    if classifier is None:
        return Interpolation(latents, drawn, None, None, path)
    confidences, digits = classifier.probabilities(drawn).max(1)
    return Interpolation(latents, drawn, digits.tolist(), confidences.tolist(), path)


def save_interpolation(walk: Interpolation, path: Path, *, labels: bool, report: PathComparison | None = None) -> None:
    """Save a walk as one strip (.pdf, .svg, .png); with `labels` each image's digit and confidence stand under it.

    With a `report` of its ends, see `paths.py`, what was measured is drawn under the strip.

    Raises:
        ConfigError: if the ending is of no known format, or labels are asked for that there are not.
        RunFolderError: if the file cannot be written.
    """
    texts = None
    if labels:
        if walk.digits is None or walk.confidences is None:
            raise ConfigError(
                "labels: the classifier knows only digits, which this run did not learn; omit them, or give --extractor"
            )
        texts = [f"{digit}\n{sure:.0%}" for digit, sure in zip(walk.digits, walk.confidences, strict=True)]
    measured = report and measured_strip(walk.images, report.between, walk.path, texts)
    save_figure(measured or interpolation_strip(walk.images, texts), path)
