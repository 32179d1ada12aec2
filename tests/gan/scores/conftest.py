"""Small MNIST, and a cache of its own, for the tests of scores."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from reviver.data.images.image_set import ImageSet, load_mnist
from reviver.data.images.mnist import Digits, read_mnist

NUM_IMAGES = {"train": 600, "test": 300}


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array of bytes as an IDX file."""
    header = b"".join(size.to_bytes(4, "big") for size in (0x800 | array.ndim, *array.shape))
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def shrink_mnist(patch: pytest.MonkeyPatch) -> None:
    """Reduce MNIST to the images of `few_digits` for everything that reads it."""
    few = {split: Digits(*(array[:count] for array in read_mnist(split))) for split, count in NUM_IMAGES.items()}
    patch.setattr("reviver.data.images.image_set.read_mnist", lambda split="train": few[split])


@pytest.fixture(autouse=True, scope="session")
def temporary_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVIVER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def few_digits() -> Callable[..., ImageSet]:
    """Return a function that returns the first images of MNIST, by default 600 training or 300 test images."""
    mnist = {split: load_mnist(split) for split in NUM_IMAGES}

    def few(split: str = "train", count: int | None = None) -> ImageSet:
        images, labels = mnist[split].images, mnist[split].labels
        assert labels is not None
        count = count or NUM_IMAGES[split]
        return ImageSet(images[:count], labels[:count], "mnist")

    return few


@pytest.fixture(scope="session")
def idx_folder(tmp_path_factory: pytest.TempPathFactory, few_digits: Callable[..., ImageSet]) -> Path:
    """Few digits as a folder of IDX files."""
    folder = tmp_path_factory.mktemp("digits") / "idx"
    folder.mkdir()
    for split, prefix in (("train", "train"), ("test", "t10k")):
        data = few_digits(split)
        assert data.labels is not None
        for kind, array in (("images-idx3", data.images[:, 0].numpy()), ("labels-idx1", data.labels.numpy())):
            write_idx(folder / f"{prefix}-{kind}-ubyte", array)
    return folder
