"""Image sets from every kind of source and by name; a damaged or hostile file is one DataError and nothing else."""

import gzip
import hashlib
import io
import struct
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from reviver.data.images import image_files, image_set
from reviver.data.images.image_set import from_pixels, load_images, to_pixels
from reviver.data.images.named import DATA_SETS, data_folder
from reviver.errors import DataError


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def npy_bytes(array: np.ndarray, version: Any = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version)
    return buffer.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def write_array(path: Path, content: bytes, name: str = "images.npy") -> str:
    """Write an .npz whose array has this content, or an .npy."""
    if path.suffix.lower() == ".npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as written:
            written.writestr(name, content)
    return str(path)


def write_images(folder: Path, *images: np.ndarray | Image.Image, suffix: str = "png", **options: Any) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        picture.save(folder / f"{index}.{suffix}", **options)
    return str(folder)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


# MNIST, bytes and floats


def test_mnist_has_the_published_checksums() -> None:
    for split, count, images_md5, labels_md5 in (
        ("train", 60_000, "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
        ("test", 10_000, "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
    ):
        data = load_images("mnist", split=split)
        assert hashlib.md5(idx_bytes(data.images[:, 0].numpy())).hexdigest() == images_md5
        assert hashlib.md5(idx_bytes(data.labels.numpy().astype(np.uint8))).hexdigest() == labels_md5
        assert (data.images.shape, data.labels.dtype) == ((count, 1, 28, 28), torch.int64)


def test_every_byte_survives_the_round_trip_and_values_are_clipped() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    torch.testing.assert_close(from_pixels(pixels), torch.linspace(-1, 1, 256))
    assert torch.equal(to_pixels(from_pixels(pixels)), pixels)
    assert to_pixels(torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0])).tolist() == [0, 0, 128, 255, 255]


# Sources


def test_a_folder_of_idx_files(tmp_path: Path) -> None:
    images, labels = noise(5, 9, 9), np.arange(5, dtype=np.uint8)
    (tmp_path / "my-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (tmp_path / "my-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    data = load_images(str(tmp_path), 9)
    assert torch.equal(data.images, tensor(images)[:, None])
    assert (data.labels.tolist(), data.name) == ([0, 1, 2, 3, 4], tmp_path.name)
    with pytest.raises(DataError, match="has no test images to compare with; give t10k-images-idx3-ubyte in"):
        load_images(str(tmp_path), 9, "test")
    (tmp_path / "emnist-test-images-idx3-ubyte").write_bytes(idx_bytes(images[:4]))
    (tmp_path / "emnist-train-images-idx3-ubyte").write_bytes(idx_bytes(images[:3]))
    train, test = load_images(str(tmp_path), 9), load_images(str(tmp_path), 9, "test")
    assert (len(train.images), train.labels, len(test.images)) == (3, None, 4), "labels are optional"
    (tmp_path / "emnist-train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels[:4])))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: it has 4 labels for 3 images; replace the file"):
        load_images(str(tmp_path), 9)


@pytest.mark.parametrize(
    ("kind", "mode", "channels"),
    [
        *(("PNG", "1", 1), ("PNG", "LA", 1), ("PNG", "P", 3), ("PNG", "RGBA", 3), ("BMP", "L", 1), ("GIF", "L", 3)),
        *(("TIFF", "CMYK", 3), ("TIFF", "I", 1), ("TIFF", "F", 1), ("WEBP", "RGB", 3), ("JPEG", "L", 1)),
    ],
)
def test_a_folder_of_images_of_any_kind_at_any_depth(kind: str, mode: str, channels: int, tmp_path: Path) -> None:
    images = noise(3, 16, 16)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "folder.png").mkdir()
    for name in ("notes.txt", "a/._1.png"):
        (tmp_path / name).write_text("no image")
    options = {"transparency": bytes(8)} if mode == "P" else {}  # of which Pillow warns
    for name, image in zip((f"a/b/1.{kind}", f"y.{kind.lower()}", f"z.{kind.lower()}"), images, strict=True):
        Image.fromarray(image).convert(mode).save(tmp_path / name, format=kind, **options)
    data = load_images(str(tmp_path), 16)
    assert (data.images.shape, data.labels, data.name) == ((3, channels, 16, 16), None, tmp_path.name)
    assert kind != "BMP" or torch.equal(data.images, tensor(images)[:, None])


def test_a_gray_image_among_color_images_becomes_color_and_16_bits_keep_the_upper_ones(tmp_path: Path) -> None:
    gray, color = noise(8, 8), noise(8, 8, 3)
    deep = gray.astype(np.uint16) * 256 + noise(8, 8, seed=1)
    data = load_images(write_images(tmp_path, gray, color, deep), 8)
    assert torch.equal(data.images[1], tensor(color.transpose(2, 0, 1)))
    for index in (0, 2):
        assert torch.equal(data.images[index], tensor(gray).expand(3, 8, 8))


def test_a_float_tiff_goes_from_0_to_1_or_to_255(tmp_path: Path) -> None:
    gray = noise(8, 8)
    for number in range(2):
        Image.fromarray(gray.astype(np.float32) / 255).save(tmp_path / f"{number}.tiff")
    assert torch.equal(load_images(str(tmp_path), 8).images, tensor(gray).expand(2, 1, 8, 8))
    Image.fromarray(gray.astype(np.float32)).save(tmp_path / "1.tiff")
    assert torch.equal(load_images(str(tmp_path), 8).images, tensor(gray).expand(2, 1, 8, 8))
    Image.fromarray(gray.astype(np.float32) * 4 - 300).save(tmp_path / "1.tiff")
    with pytest.raises(DataError, match=r"1.tiff: .*its numbers go from -284 to 692; give floats from 0 to 1 or"):
        load_images(str(tmp_path), 8)


def test_images_are_upright_and_cropped_to_the_middle_square(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the top row becomes the rightmost column
    wide = noise(2, 8, 12)
    found = load_images(write_images(tmp_path, *wide, exif=exif), 8).images[:, 0]
    assert torch.equal(found, tensor(np.rot90(wide, -1, (1, 2))[:, 2:10]))
    np.save(tmp_path / "wide.npy", wide)
    assert torch.equal(load_images(str(tmp_path / "wide.npy"), 8).images[:, 0], tensor(wide[:, :, 2:10]))


@pytest.mark.parametrize("suffix", ["npy", "NPY", "NPZ"])
@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 1, 8, 8), (4, 3, 8, 8), (4, 8, 8, 1), (4, 8, 8, 3)])
def test_arrays(shape: tuple[int, ...], suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, chunk, order in (((1, 0), 1 << 25, "C"), ((2, 0), 200, "F"), ((3, 0), 200, "C")):
        monkeypatch.setattr(image_set, "CHUNK_BYTES", chunk)
        array = noise(*shape).copy(order)
        source = write_array(tmp_path / f"set.{suffix}", npy_bytes(array, version), "anything.npy")
        data = load_images(source, 8)
        expected = array.transpose(0, 3, 1, 2) if shape[-1] < 8 else array.reshape(4, -1, 8, 8)
        assert torch.equal(data.images, tensor(expected))
        assert (data.image_shape, data.name, data.labels) == (expected.shape[1:], "set", None)


@pytest.mark.parametrize(("dtype", "low"), [("float16", 0.0), ("float64", -1.0), (">f4", 0.0), (">f4", -1.0)])
def test_the_range_of_floats_is_detected(dtype: str, low: float, tmp_path: Path) -> None:
    pixels = noise(4, 8, 8)
    pixels[0, 0, :2] = 0, 255
    np.save(tmp_path / "set.npy", (pixels / 255 * (1 - low) + low).astype(dtype))
    difference = load_images(str(tmp_path / "set.npy"), 8).images[:, 0].int() - tensor(pixels).int()
    assert difference.abs().max() <= (dtype == "float16")


@pytest.mark.parametrize(("size", "channels"), [(4, 1), (14, 3), (28, 1), (40, 3)])
def test_a_ramp_stays_a_ramp_at_every_size(size: int, channels: int, tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 28)[None, None, None, :] * np.ones((2, channels, 28, 1))
    np.save(tmp_path / "set.npy", smooth.round().astype(np.uint8))
    images = load_images(str(tmp_path / "set.npy"), size).images
    assert (images.shape, images.dtype) == ((2, channels, size, size), torch.uint8)
    position = (torch.arange(size) + 0.5) / size * 28 - 0.5
    expected = (position / 27 * 255).clamp(0, 255).expand(2, channels, size, size)
    inner = slice(2, -2) if size > 4 else slice(1, -1)
    assert (images.float() - expected)[..., inner].abs().max() < 3


# Classes and test images


def test_subfolders_are_classes(tmp_path: Path) -> None:
    write_images(tmp_path / "dog", noise(8, 8), noise(8, 8))
    assert load_images(str(tmp_path), 8).labels is None, "a single subfolder is not a class"
    write_images(tmp_path / "cat", noise(8, 8), noise(8, 8))
    write_images(tmp_path / "cat" / "young", noise(8, 8))
    assert load_images(str(tmp_path), 8).labels.tolist() == [0, 0, 0, 1, 1], "at any depth"
    assert image_files.class_folders(tmp_path) == ["cat", "dog"]
    with pytest.raises(DataError, match=r"has no test images to compare with; give .* folders train and test"):
        load_images(str(tmp_path), 8, "test")
    write_images(tmp_path, noise(8, 8))
    assert load_images(str(tmp_path), 8).labels is None, "an image without a class"


def test_the_folders_train_and_test_are_splits(tmp_path: Path) -> None:
    for name in "abc":
        write_images(tmp_path / "train" / name, noise(8, 8, 3), noise(8, 8, 3))
    write_images(tmp_path / "test" / "c", noise(8, 8), noise(8, 8))
    train, test = load_images(str(tmp_path), 8), load_images(str(tmp_path), 8, "test")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 1, 1, 2, 2], [2, 2])
    assert train.image_shape == test.image_shape == (3, 8, 8), "because the training images are in color"
    assert image_files.class_folders(tmp_path) == ["a", "b", "c"]
    write_images(tmp_path / "test" / "d", noise(8, 8))
    with pytest.raises(DataError, match=r"test has the class 'd', which the training images lack; take it out"):
        load_images(str(tmp_path), 8, "test")


def test_a_folder_of_test_images_with_another_name_is_no_class(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "val/a"):
        write_images(tmp_path / name, noise(8, 8), noise(8, 8))
    problem = rf"^data: {tmp_path} has the folders train and val; call .* mv {tmp_path}/val {tmp_path}/test, or give "
    with pytest.raises(DataError, match=problem):
        load_images(str(tmp_path), 8)
    assert load_images(str(tmp_path / "train"), 8).labels.tolist() == [0, 0, 1, 1]


def test_labels_and_test_images_of_an_archive(tmp_path: Path) -> None:
    path, images, labels = tmp_path / "set.npz", noise(4, 8, 8, 3), np.array([1, 0, 1, 65535])
    images[:3] |= 128  # the test images have no negative number, but the range of the training images
    arrays = {"labels": labels, "test_images": images[:3] / 127.5 - 1, "test_labels": labels[:3], "more": labels}
    path.write_bytes(npz_bytes(images=images / 127.5 - 1, **arrays))
    train, test = load_images(str(path), 8), load_images(str(path), 8, "test")
    assert (train.labels.tolist(), test.labels.tolist()) == ([1, 0, 1, 65535], [1, 0, 1])
    assert torch.equal(test.images, train.images[:3])
    source = write_array(path, npy_bytes(images))
    with pytest.raises(
        DataError, match=r"set\.npz has no test images to compare with; give .* test_images in an \.npz"
    ):
        load_images(source, 8, "test")


# Wrong files

IMAGES = noise(4, 8, 8)
LABELS = r"set.npz: its labels must be 4 integers from 0 to 65535, one per image, got "
IDX = "train-images-idx3-ubyte"
WRONG = [
    (IDX, idx_bytes(np.arange(20, dtype=np.uint8)), "its magic number is 0x801 instead of 0x803"),
    ("set.npy", npy_bytes(noise(8, 8)), r"an array of shape \[8, 8\] is not images; give \[N, H, W\]"),
    ("set.npy", npy_bytes(np.zeros((4, 8, 8), dtype=np.int64)), "256 int64 is not images; give bytes"),
    ("set.npy", npy_bytes(IMAGES.astype(np.float32)), "its numbers go from .* to .*; give bytes"),
    ("set.npy", npy_bytes(noise(1, 8, 8)), r"^data: set holds 1 images of \[1, 8, 8\]; give at least 2$"),
    ("set.npz", npz_bytes(a=IMAGES, b=np.zeros(3)), "it has the arrays a, b; call the one to use images"),
    ("set.npz", npz_bytes(images=IMAGES, labels=np.zeros(3, int)), LABELS + r"int64 of shape \[3\]"),
    ("set.npz", npz_bytes(images=IMAGES, labels=np.array([0, 1, -1, 0])), LABELS),
    ("set.npz", npz_bytes(images=IMAGES, labels=np.full(4, 2**16)), LABELS),
    ("empty", None, "empty holds no IDX files and no images; put some into it"),
    ("set.txt", b"images", "set.txt is of an unknown kind; give mnist, "),
    ("nowhere", b"", "nowhere does not exist; give mnist, "),
]  # fmt: skip
"""Name of a file, its content and the problem. An array is tried in an .npz, too."""


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_a_wrong_file_is_refused_in_one_line_with_its_name(case: int, tmp_path: Path) -> None:
    name, content, problem = WRONG[case]
    path = tmp_path / name
    if content:
        path.write_bytes(content)
    elif content is None:
        path.mkdir()
    sources = [str(tmp_path if name == IDX else path)]
    if name == "set.npy":
        sources.append(write_array(tmp_path / "set.npz", npy_bytes(np.load(path))))
    for source in sources:
        with pytest.raises(DataError, match=problem) as caught:
            load_images(source, 8)
        assert path.stem in str(caught.value)
        assert "\n" not in str(caught.value)


# Data sets by name

PREFIXES = {
    "fashion-mnist": ("FashionMNIST", "train", "t10k"),
    "kmnist": ("KMNIST", "train", "t10k"),
    **{
        f"emnist-{name}": ("EMNIST", f"emnist-{name}-train", f"emnist-{name}-test")
        for name in ("balanced", "digits", "letters")
    },
}
"""Folders and names of files as torchvision has them."""


def write_named(name: str) -> Path:
    """Write 40 and 20 images of a data set in the original format, with the labels 0 to 4 in turn."""
    torchvision, *prefixes = PREFIXES[name]
    folder = data_folder() / torchvision / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for count, prefix in zip((40, 20), prefixes, strict=True):
        images = noise(count, 28, 28).swapaxes(1, 2) if "emnist" in name else noise(count, 28, 28)
        labels = (np.arange(count) % 5 + (name == "emnist-letters")).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(array)))
    return folder


@pytest.mark.parametrize("name", PREFIXES)
def test_every_data_set_is_downloaded_once_and_read_upright_with_classes_from_0(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PREFIXES.keys() == DATA_SETS.keys()
    monkeypatch.setenv("REVIVER_DATA", str(tmp_path / "data"))
    calls = []

    def download_data_set(root: Path, download: bool, **arguments: str) -> None:
        print("Downloading ...")
        calls.append((root, download, arguments))
        write_named(name)

    module = ModuleType("torchvision.datasets")
    setattr(module, PREFIXES[name][0], download_data_set)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    for count, split in ((40, "train"), (20, "test")):
        data = load_images(name, split=split)
        assert torch.equal(data.images[:, 0], tensor(noise(count, 28, 28)))
        assert (data.labels.tolist(), data.name) == ([index % 5 for index in range(count)], name)
    assert load_images(name, 14).image_shape == (1, 14, 14)
    assert calls == [(tmp_path / "data", True, {"split": name.partition("-")[2]} if "emnist" in name else {})]
    assert capsys.readouterr().out == "", "stdout is for results"


def test_a_failed_download_is_one_line_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVIVER_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    (write_named("kmnist") / "train-labels-idx1-ubyte.gz").unlink()  # images without labels count as missing
    with pytest.raises(DataError, match=r"^data: kmnist is not in .*KMNIST/raw and cannot be downloaded") as caught:
        load_images("kmnist")
    assert "put train-images-idx3-ubyte.gz, t10k-images-idx3-ubyte.gz and their labels from http" in str(caught.value)
    assert "\n" not in str(caught.value)
