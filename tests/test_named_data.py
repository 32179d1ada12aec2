"""Data sets by name: read from files in the original format, downloaded by a fake torchvision."""

import gzip
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from reviver.data.images.image_set import load_images, load_test_images
from reviver.data.images.named import DATA_SETS, data_folder, read_data_set
from reviver.errors import DataError
from reviver.settings.fields import ConfigError
from reviver.settings.gan import GANConfig
from reviver.train.gan.training import train

SIZES = {"train": 40, "test": 20}


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the user's data sets, and hide torchvision."""
    monkeypatch.setenv("REVIVER_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)


def images_of(name: str, split: str) -> np.ndarray:
    seed = sorted(DATA_SETS).index(name) + 100 * (split == "test")
    return np.random.default_rng(seed).integers(0, 256, (SIZES[split], 28, 28), dtype=np.uint8)


def write_files(name: str, compress: Callable[[bytes], bytes] = gzip.compress, suffix: str = ".gz") -> Path:
    """Write the four files of a data set in the original format, with the labels 0 to 4 in turn."""
    data_set = DATA_SETS[name]
    folder = data_folder() / data_set.torchvision / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for split, prefix in (("train", data_set.train), ("test", data_set.test)):
        images = images_of(name, split)
        labels = (np.arange(len(images)) % 5 + data_set.first_label).astype(np.uint8)
        stored = images.transpose(0, 2, 1) if data_set.is_transposed else images
        for kind, array in (("images", stored), ("labels", labels)):
            content = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
            (folder / f"{prefix}-{kind}-idx{array.ndim}-ubyte{suffix}").write_bytes(compress(content))
    return folder


@pytest.mark.parametrize("name", DATA_SETS)
@pytest.mark.parametrize(("compress", "suffix"), [(gzip.compress, ".gz"), (bytes, "")], ids=["gz", "raw"])
def test_every_data_set_is_read_upright_with_classes_from_0(
    name: str, compress: Callable[[bytes], bytes], suffix: str
) -> None:
    write_files(name, compress, suffix)
    for split, load in (("train", load_images), ("test", load_test_images)):
        data = load(name)
        assert torch.equal(data.images[:, 0], torch.from_numpy(images_of(name, split)))
        assert data.labels.tolist() == [index % 5 for index in range(SIZES[split])]
        assert (data.name, data.images.is_contiguous()) == (name, True)
    assert load_images(name, 14).image_shape == (1, 14, 14)


def test_names_and_files_are_those_of_torchvision() -> None:
    prefixes = {name: (data_set.torchvision, data_set.train, data_set.test) for name, data_set in DATA_SETS.items()}
    assert prefixes == {
        "fashion-mnist": ("FashionMNIST", "train", "t10k"),
        "kmnist": ("KMNIST", "train", "t10k"),
        "emnist-balanced": ("EMNIST", "emnist-balanced-train", "emnist-balanced-test"),
        "emnist-digits": ("EMNIST", "emnist-digits-train", "emnist-digits-test"),
        "emnist-letters": ("EMNIST", "emnist-letters-train", "emnist-letters-test"),
    }


def test_torchvision_has_these_data_sets() -> None:
    sys.modules.pop("torchvision.datasets", None)
    datasets = pytest.importorskip("torchvision.datasets")
    for data_set in DATA_SETS.values():
        torchvision_class = getattr(datasets, data_set.torchvision)
        assert not data_set.arguments or data_set.arguments["split"] in torchvision_class.splits


@pytest.mark.parametrize("name", DATA_SETS)
def test_missing_files_are_downloaded_once(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def download_data_set(root: Path, download: bool, **arguments: str) -> None:
        print("Downloading ...")
        calls.append((root, download, arguments))
        write_files(name)

    module = ModuleType("torchvision.datasets")
    setattr(module, DATA_SETS[name].torchvision, download_data_set)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    for _ in range(2):
        assert len(load_images(name).images) == SIZES["train"]
        assert len(load_test_images(name).images) == SIZES["test"]
    assert calls == [(data_folder(), True, dict(DATA_SETS[name].arguments))]
    assert capsys.readouterr().out == "", "stdout is for results"


@pytest.mark.parametrize("problem", ["absent", "offline", "incompatible", "other files"])
def test_a_failed_download_is_reported_with_a_remedy(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        if problem != "other files":
            raise OSError("no route\nto host") if problem == "offline" else RuntimeError("operator does not exist")

    if problem != "absent":
        module = ModuleType("torchvision.datasets")
        module.KMNIST = fail
        monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    with pytest.raises(DataError) as caught:
        load_images("kmnist")
    message = str(caught.value)
    assert message.startswith(f"data: kmnist is not in {data_folder() / 'KMNIST' / 'raw'} and cannot be downloaded (")
    assert (
        "put train-images-idx3-ubyte.gz, t10k-images-idx3-ubyte.gz and their labels from https://github.com/" in message
    )
    assert message.endswith("or pip install torchvision and be online")
    assert "\n" not in message


def test_images_without_labels_count_as_missing() -> None:
    folder = write_files("kmnist")
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"^data: kmnist is not in"):
        load_images("kmnist")


def test_damaged_files_are_refused() -> None:
    folder = write_files("kmnist")
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: it cannot be read"):
        load_images("kmnist")


def test_a_label_below_the_first_is_refused() -> None:
    folder = write_files("emnist-letters")
    labels = struct.pack(">2I", 0x801, SIZES["train"]) + bytes(SIZES["train"])
    (folder / "emnist-letters-train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    with pytest.raises(DataError, match=r"emnist-letters-train-labels.*: it has the label 0, below 1"):
        read_data_set("emnist-letters")


@pytest.mark.parametrize(
    ("settings", "folder"),
    [({"REVIVER_DATA": "/a"}, "/a"), ({"REVIVER_DATA": "", "REVIVER_CACHE": "/b"}, "/b/data")],
)
def test_the_data_folder_follows_the_environment(
    settings: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert str(data_folder()) == folder


def test_a_run_records_the_name_of_its_data_set(tmp_path: Path) -> None:
    write_files("fashion-mnist")
    folder = train(
        GANConfig(data="fashion-mnist", image_size=8, epochs=1, conditional=True), tmp_path / "run", device="cpu"
    )
    assert folder.record["data"]["name"] == "fashion-mnist"
    assert folder.record["data"]["num_classes"] == 5
    with pytest.raises(ConfigError, match="data"):
        GANConfig(data="")
