"""Real images that the explorer shows, as far as they are on this machine.

Shapes: N images, C channels, H height, W width, K classes.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from reviver.data.images.image_files import class_folders
from reviver.data.images.image_set import ImageSet, load_images
from reviver.data.images.named import DATA_SETS, is_present
from reviver.errors import DataError
from reviver.explorer.blocks import Blocks, encode_f32, encode_u8
from reviver.explorer.manifest import TensorBlock
from reviver.rng import make_rng
from reviver.runs.records import MAX_CLASSES
from reviver.train.opened import OpenedRun

DECIMALS = 4
"""Decimal places of log-odds."""

DIGITS = tuple("0123456789")
FASHION = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
KANA = ("o (お)", "ki (き)", "su (す)", "tsu (つ)", "na (な)", "ha (は)", "ma (ま)", "ya (や)", "re (れ)", "wo (を)")
CLASS_NAMES = {
    "mnist": DIGITS,
    "mnist-30k": DIGITS,
    "fashion-mnist": FASHION,
    "kmnist": KANA,
    "emnist-digits": DIGITS,
    "emnist-letters": tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "emnist-balanced": (*DIGITS, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *"abdefghnqrt"),
}
"""Names of the classes of data sets, by name; EMNIST has capital and small letters of equal shape in one class."""


@dataclass(frozen=True)
class RealImages:
    """Real images of a run, the names of their labels, and why there are no training images, each where there are any."""

    train: ImageSet | None = None
    test: ImageSet | None = None
    label_names: tuple[str, ...] | None = None
    problem: str | None = None


def load_real_images(run: OpenedRun) -> RealImages:
    """Read the real images of a run. Images that differ from those of the training count as missing."""
    source, record = run.config.data, run.folder.record["data"]
    if source in DATA_SETS and not is_present(source):  # the page must not wait for a download
        return RealImages(problem="they are not on this machine")
    try:
        train = load_images(source, run.config.image_size)
    except DataError:
        return RealImages(problem="they are not on this machine, or cannot be read")
    if train.sha256 != record["sha256"] or train.image_shape != run.generator.image_shape:
        return RealImages(problem="they have changed since the training")
    try:
        test = load_images(source, run.config.image_size, "test")
    except DataError:
        test = None
    if test and test.image_shape != train.image_shape:
        test = None
    names, labels = None, train.labels
    if labels is not None and len(labels) and int(labels.max()) < MAX_CLASSES:  # of very many, the page names none
        names = class_names(source, int(labels.max()) + 1)
    return RealImages(_with_labels(train, names), test and _with_labels(test, names), names)


def class_names(source: str, num_classes: int) -> tuple[str, ...]:
    """Return the names of K classes: those of a data set, the folders of an image folder, or else their numbers."""
    names = CLASS_NAMES.get(source) or tuple(class_folders(Path(source)))
    return names if len(names) == num_classes else tuple(map(str, range(num_classes)))


def spread(labels: Tensor | None, total: int, count: int, rng: torch.Generator) -> Tensor:
    """Return at most `count` random indices of `total` images, in turn of each class of the `labels` [N] if given."""
    order = torch.randperm(total, generator=rng)
    if labels is None:
        return order[:count]
    classes = labels[order]
    by_class = classes.argsort(stable=True)
    sizes = torch.bincount(classes)
    first = (sizes.cumsum(0) - sizes)[classes[by_class]]  # [N], where the class of each begins
    rank = torch.empty_like(order)
    rank[by_class] = torch.arange(total) - first  # how many of its class come before it
    return order[(rank * len(sizes) + classes).argsort()[:count]]


def choose_images(images: ImageSet, count: int, run: OpenedRun, purpose: str) -> ImageSet:
    """Return at most `count` images, spread over their classes."""
    rng = make_rng(run.config.seed, f"explorer/{purpose}")
    chosen = spread(images.labels, len(images.images), count, rng)
    return ImageSet(images.images[chosen], None if images.labels is None else images.labels[chosen], images.name)


def embed_images(images: ImageSet | None, name: str, blocks: Blocks) -> TensorBlock | None:
    """Add images with their labels to the data blocks; return where they are, or None if there are none."""
    if images is None:
        return None
    tensors = {"images": encode_u8(images.images)}
    if images.labels is not None:
        fits = int(images.labels.max()) < 256
        tensors["labels"] = encode_u8(images.labels) if fits else encode_f32(images.labels.float())
    return blocks.add_tensors(name, tensors)


def rounded(values: Tensor) -> list[float]:
    """Return log-odds as the page has them."""
    return [round(value, DECIMALS) for value in values.flatten().tolist()]


def _with_labels(images: ImageSet, names: tuple[str, ...] | None) -> ImageSet:
    """Return images without labels that have no name."""
    has_names = names is not None and images.labels is not None and int(images.labels.max()) < len(names)
    return images if has_names else replace(images, labels=None)
