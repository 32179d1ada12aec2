"""Scores of `best` on other images than MNIST, with and without centered inputs, over seeds.

    python -m benchmarks.gan_data [GOAL ...] [--seeds N] [--jobs N]

The images come with packages or with Reviver, so nothing is downloaded. Each set has a feature extractor of its own, which
`reviver gan train-extractor` trains on its classes; scores of different sets cannot be compared. The runs are a sweep in
runs/gan-data, which resumes after Ctrl-C. At the end docs/measurements/gan_data.json is updated, also after Ctrl-C.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks.measure import measure_goals, trained
from reviver.gan.data.image_set import load_mnist
from reviver.gan.evaluation.monitor import find_collapse
from reviver.sweep.cell import Cell

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "gan-data"
RESULTS = ROOT / "docs" / "measurements" / "gan_data.json"
SEEDS = 3
SCORES = ("fid", "fid_ratio", "precision", "recall", "coverage", "class_kl")

Arrays = dict[str, NDArray[Any]]


def digits() -> Arrays:
    """Return the 1797 digits of scikit-learn, 8 x 8, 360 of them as test images."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = (loaded.images * (255 / 16)).round().astype(np.uint8)
    return _split(images, loaded.target.astype(np.int64), num_test=360)


def colored_digits() -> Arrays:
    """Return 10 000 and 2000 digits of MNIST, 14 x 14, each in a random color on a dark background of another."""
    rng = np.random.default_rng(0)
    arrays: Arrays = {}
    for split, prefix, count in (("train", "", 10_000), ("test", "test_", 2000)):
        data = load_mnist(split)
        assert data.labels is not None
        ink = functional.avg_pool2d(data.images[:count].float(), 2).numpy() / 255  # [N, 1, 14, 14]
        color, background = rng.uniform(0.4, 1, (count, 3, 1, 1)), rng.uniform(0, 0.3, (count, 3, 1, 1))
        arrays[f"{prefix}images"] = (255 * (ink * color + (1 - ink) * background)).round().astype(np.uint8)
        arrays[f"{prefix}labels"] = data.labels[:count].numpy()
    return arrays


def photo_patches() -> Arrays:
    """Return patches of the two photographs of scikit-learn, 16 x 16: 5000 of their left part, 1000 of the rest."""
    from sklearn.datasets import load_sample_images

    photos = [torch.tensor(photo).permute(2, 0, 1).float() for photo in load_sample_images().images]  # [3, 427, 640]
    rng = np.random.default_rng(0)
    arrays: Arrays = {}
    for prefix, count, begin, end in (("", 5000, 0, 480), ("test_", 1000, 480, 640)):
        labels = np.arange(count) % 2
        patches = []
        for label in labels:
            photo = photos[label]
            top, left = rng.integers(0, photo.shape[1] - 32), rng.integers(begin, end - 32)
            patches.append(functional.avg_pool2d(photo[:, top : top + 32, left : left + 32], 2))
        arrays[f"{prefix}images"] = torch.stack(patches).round().to(torch.uint8).numpy()
        arrays[f"{prefix}labels"] = labels.astype(np.int64)
    return arrays


def _split(images: NDArray[np.uint8], labels: NDArray[np.int64], num_test: int) -> Arrays:
    """Return images and labels, shuffled, of which the last `num_test` are test images."""
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return {
        "images": images[:-num_test],
        "labels": labels[:-num_test],
        "test_images": images[-num_test:],
        "test_labels": labels[-num_test:],
    }


class DataSet(NamedTuple):
    """A set of images.

    Attributes:
        what: The set in words.
        build: Function that returns its images.
        image_size: Height and width.
        epochs: Epochs of a GAN, for 720 to 960 updates.
        extractor_epochs: Epochs of the feature extractor.
        num_samples: Samples per evaluation, at most as many as test images.
        is_packed: Whether the GAN trains on a packed folder, block by block.
    """

    what: str
    build: Callable[[], Arrays]
    image_size: int
    epochs: int
    extractor_epochs: int
    num_samples: int
    is_packed: bool = False


DATA_SETS = {
    "digits": DataSet("digits of scikit-learn, 8 × 8", digits, 8, 60, 60, 360),
    "colored": DataSet("MNIST in colors, 14 × 14, packed", colored_digits, 14, 12, 10, 2000, is_packed=True),
    "patches": DataSet("patches of photographs, 16 × 16, in colors", photo_patches, 16, 24, 10, 1000),
}


class Setting(NamedTuple):
    """Training on a data set with a value of the setting `input_centering`."""

    name: str
    what: str
    data: str
    centering: str
    seeds: int = SEEDS
    target: str = "no mode collapse"


GOALS = tuple(
    Setting(f"{name}-{centering}", data.what, name, centering)
    for name, data in DATA_SETS.items()
    for centering in ("none", "auto")
)


def files_of(name: str) -> dict[str, str]:
    """Return the paths of the images that a GAN learns, of the arrays, and of the extractor, from the working folder."""
    folder = RUNS / "data"
    paths = {"arrays": folder / f"{name}.npz", "extractor": folder / f"{name}.safetensors"}
    paths["images"] = folder / f"{name}-packed" if DATA_SETS[name].is_packed else paths["arrays"]
    return {key: os.path.relpath(path) for key, path in paths.items()}


def prepare(name: str) -> None:
    """Write the images of a set, and train its feature extractor, unless they exist."""
    data, files = DATA_SETS[name], files_of(name)
    size = ["--image-size", str(data.image_size), "--quiet"]
    Path(files["arrays"]).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{files['arrays']}.lock"):
        if not Path(files["arrays"]).exists():
            np.savez(files["arrays"], **data.build())  # type: ignore[arg-type]
        if not Path(files["images"]).exists():
            _reviver("data", "pack", files["arrays"], "--out", files["images"], *size)
        if not Path(files["extractor"]).exists():
            epochs = ["--epochs", str(data.extractor_epochs)]
            _reviver("gan", "train-extractor", "--data", files["arrays"], "--out", files["extractor"], *epochs, *size)


def _reviver(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "reviver", *words], check=True, stdout=subprocess.DEVNULL)


def make_cell(setting: Setting, seed: int) -> Cell:
    """Return the cell that trains one seed."""
    data, files = DATA_SETS[setting.data], files_of(setting.data)
    command = ["reviver", "gan", "train", "--preset", "best", "--data", files["images"]]
    command += ["--image-size", str(data.image_size), "--epochs", str(data.epochs)]
    command += ["--input-centering", setting.centering, *(("--order", "blocks") if data.is_packed else ())]
    command += ["--extractor", files["extractor"], "--eval-every", str(data.epochs // 6)]
    command += ["--eval-samples", str(data.num_samples), "--checkpoint-every", str(data.epochs), "--seed", str(seed)]
    arguments = {"data": setting.data, "seed": seed, "command": command}
    return Cell("benchmarks.gan_data:measure", arguments, {"setting": setting.name, "seed": seed})


def measure(folder: Path, *, data: str, seed: int, command: list[str]) -> dict[str, Any]:
    """Train a run in `folder`, resume it, or read it if it is finished; return its results."""
    prepare(data)
    run, _ = trained(command, folder / "run")
    scores = run.read_scores()
    last = scores[-1]
    return {
        "seed": seed,
        "command": " ".join(command),
        "epochs": last["epoch"],
        "seconds": run.record["seconds"],
        "threads": run.record["hardware"]["threads"],
        "collapsed": find_collapse(scores) is not None,
        "scale": run.record["centering"]["scale"] if "centering" in run.record else None,
        **{name: last[name] for name in SCORES},
        "real_baseline": last["real_baseline"],
        "num_samples": last["num_samples"],
        "fid_curve": [[score["epoch"], score["fid"]] for score in scores],
    }


def main() -> None:
    """Measure the settings that the command line names."""
    title = "`best` on other images, with and without centered inputs"
    measure_goals("benchmarks.gan_data", __doc__, title, RUNS, RESULTS, GOALS, make_cell)


if __name__ == "__main__":
    main()
