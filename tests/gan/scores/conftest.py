"""Few digits of MNIST, and a cache of its own, for the tests of scores."""

from collections.abc import Iterator
from functools import cache

import pytest

from reviver.data.images.image_set import ImageSet
from reviver.data.images.named import Digits, read_mnist

NUM_IMAGES = {"train": 600, "test": 300}


@cache
def mnist(split: str = "train") -> ImageSet:
    """Return all of MNIST, also after `shrink_mnist`."""
    digits = read_mnist(split)
    return ImageSet(digits.images.unsqueeze(1), digits.labels, "mnist")


def few_digits(split: str = "train", count: int | None = None) -> ImageSet:
    """Return the first images of MNIST, by default 600 training or 300 test images."""
    data, count = mnist(split), count or NUM_IMAGES[split]
    assert data.labels is not None
    return ImageSet(data.images[:count], data.labels[:count], "mnist")


def shrink_mnist(patch: pytest.MonkeyPatch) -> None:
    """Reduce MNIST to `few_digits` for everything that reads it."""
    few = {split: Digits(few_digits(split).images[:, 0], few_digits(split).labels) for split in NUM_IMAGES}
    for name in ("read_mnist", "read_small_mnist"):
        patch.setattr(f"reviver.data.images.image_set.{name}", lambda split="train": few[split])


@pytest.fixture(autouse=True, scope="session")
def temporary_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVIVER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
