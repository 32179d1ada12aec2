"""Image sets from every kind of source and by name; a damaged or hostile file is one DataError and nothing else."""

import gzip
import hashlib
import io
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import reviver
from reviver.data.images import image_files, image_set
from reviver.data.images.image_set import from_pixels, load_images, load_mnist, load_test_images, to_pixels
from reviver.data.images.named import DATA_SETS, data_folder
from reviver.errors import DataError
from reviver.gan.networks import Generator
from reviver.gan.sampling import generate_samples
from reviver.train.gan.grids import save_samples

MD5 = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}
"""Published checksums of the uncompressed files."""


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def image_bytes(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=kind)
    return buffer.getvalue()


def archive(path: Path, content: bytes, name: str = "images.npy") -> None:
    """Write an .npz whose array has this content, or an .npy."""
    if path.suffix == ".npy":
        path.write_bytes(content)
        return
    with zipfile.ZipFile(path, "w") as written:
        written.writestr(name, content)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


# MNIST, bytes and floats


@pytest.mark.parametrize(("split", "count", "labels"), [("train", 60_000, [5, 0, 4]), ("test", 10_000, [7, 2, 1])])
def test_mnist_has_the_published_checksums_and_splits(split: str, count: int, labels: list[int]) -> None:
    for name, md5 in MD5.items():
        path = Path(reviver.__file__).parent / "data" / "mnist" / name
        assert hashlib.md5(gzip.decompress(path.read_bytes())).hexdigest() == md5
    data = load_mnist(split)
    assert (data.images.shape, data.images.dtype) == ((count, 1, 28, 28), torch.uint8)
    assert (data.labels.shape, data.labels.dtype) == ((count,), torch.int64)
    assert (data.labels[:3].tolist(), len(data.labels.bincount())) == (labels, 10)
    assert (data.name, data.image_shape, len(data)) == ("mnist", (1, 28, 28), count)
    assert data.sha256 == hashlib.sha256(data.images.numpy().tobytes()).hexdigest()
    assert torch.equal((load_images if split == "train" else load_test_images)("mnist").images, data.images)


def test_every_byte_survives_the_round_trip_and_values_are_clipped() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    torch.testing.assert_close(from_pixels(pixels), torch.linspace(-1, 1, 256))
    assert torch.equal(to_pixels(from_pixels(pixels)), pixels)
    assert to_pixels(torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0])).tolist() == [0, 0, 128, 255, 255]


# IDX files


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["raw", "gzip"])
@pytest.mark.parametrize("prefix", ["train", "t10k", "my"])
def test_a_folder_of_idx_files(compress: Callable[[bytes], bytes], prefix: str, tmp_path: Path) -> None:
    images, labels = noise(5, 9, 9), np.arange(5, dtype=np.uint8)
    (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(compress(idx_bytes(images)))
    (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(compress(idx_bytes(labels)))
    data = load_images(str(tmp_path), 9)
    assert torch.equal(data.images, tensor(images)[:, None])
    assert (data.labels.tolist(), data.name) == ([0, 1, 2, 3, 4], tmp_path.name)
    if prefix == "t10k":
        assert torch.equal(load_test_images(str(tmp_path), 9).images, data.images)
        (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(images[:3]))
        data = load_images(str(tmp_path), 9)
        assert (len(data.images), data.labels) == (3, None), "labels are optional, training images preferred"
    else:
        with pytest.raises(DataError, match="has no test images to compare with; put t10k-images-idx3-ubyte into it"):
            load_test_images(str(tmp_path), 9)


# Image folders


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG"])
def test_a_folder_of_images_at_any_depth(kind: str, tmp_path: Path) -> None:
    images = noise(3, 16, 16)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    for name, image in zip((f"a/b/1.{kind}", f"y.{kind.lower()}", f"z.{kind.lower()}"), images, strict=True):
        (tmp_path / name).write_bytes(image_bytes(image, kind))
    data = load_images(str(tmp_path), 16)
    assert (len(data), data.labels, data.name) == (3, None, tmp_path.name)
    if kind in ("PNG", "BMP", "TIFF"):
        assert torch.equal(data.images, tensor(images)[:, None])


def write_images(folder: Path, *images: np.ndarray | Image.Image, suffix: str = "png", **options: Any) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        picture.save(folder / f"{index}.{suffix}", **options)
    return str(folder)


def test_a_gray_image_among_color_images_becomes_color_and_16_bits_keep_the_upper_ones(tmp_path: Path) -> None:
    gray, color = noise(8, 8), noise(8, 8, 3)
    deep = gray.astype(np.uint16) * 256 + noise(8, 8, seed=1)
    data = load_images(write_images(tmp_path, gray, color, deep), 8)
    assert torch.equal(data.images[1], tensor(color.transpose(2, 0, 1)))
    for index in (0, 2):
        assert torch.equal(data.images[index], tensor(gray).expand(3, 8, 8))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_images_of_every_mode(mode: str, tmp_path: Path) -> None:
    images = [Image.fromarray(noise(8, 8, seed=index)).convert(mode) for index in range(2)]
    source = write_images(tmp_path, *images, suffix="tiff" if mode in ("F", "CMYK", "I") else "png")
    assert load_images(source, 8).image_shape == (1 if mode in ("1", "L", "LA", "I", "F") else 3, 8, 8)


def test_images_are_upright_and_cropped_to_the_middle_square(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the top row becomes the rightmost column
    wide = noise(2, 8, 12)
    found = load_images(write_images(tmp_path, *wide, exif=exif), 8).images[:, 0]
    assert torch.equal(found, tensor(np.rot90(wide, -1, (1, 2))[:, 2:10]))
    np.save(tmp_path / "wide.npy", wide)
    assert torch.equal(load_images(str(tmp_path / "wide.npy"), 8).images[:, 0], tensor(wide[:, :, 2:10]))


def test_implausibly_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "UNCHECKED_PIXELS", 1000)
    source = write_images(tmp_path, noise(200, 200), noise(200, 200))
    assert len(load_images(source, 8).images) == 2, "noise has as many bytes per pixel as a photo"
    Image.new("L", (200, 200), 255).save(tmp_path / "white.png")
    with pytest.raises(DataError, match=r"white\.png: it cannot be read \(it claims 200 x 200 pixels in \d+ bytes\)"):
        load_images(source, 8)


# NumPy files


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 1, 8, 8), (4, 3, 8, 8), (4, 8, 8, 1), (4, 8, 8, 3)])
@pytest.mark.parametrize(("version", "chunk"), [((1, 0), 1 << 25), ((2, 0), 200), ((3, 0), 200)])
def test_arrays(
    shape: tuple[int, ...], suffix: str, version: Any, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_set, "CHUNK_BYTES", chunk)
    array = np.asfortranarray(noise(*shape)) if version == (2, 0) else noise(*shape)
    buffer, path = io.BytesIO(), tmp_path / f"set.{suffix}"
    np.lib.format.write_array(buffer, array, version=version)
    archive(path, buffer.getvalue(), "anything.npy")
    data = load_images(str(path), 8)
    expected = array.transpose(0, 3, 1, 2) if shape[-1] < 8 else array.reshape(4, -1, 8, 8)
    assert torch.equal(data.images, tensor(expected))
    assert (data.image_shape, data.name, data.labels) == (expected.shape[1:], "set", None)
    data.images[0] = 0  # they are writable
    assert data.images[0].sum() == 0


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_the_range_of_floats_is_detected(low: float, high: float, dtype: str, tmp_path: Path) -> None:
    pixels = noise(4, 8, 8)
    pixels[0, 0, :2] = 0, 255
    np.save(tmp_path / "set.npy", (pixels / 255 * (high - low) + low).astype(dtype))
    difference = load_images(str(tmp_path / "set.npy"), 8).images[:, 0].int() - tensor(pixels).int()
    assert difference.abs().max() <= (dtype == "float16")


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 9, 9)])
def test_saved_samples_can_be_training_images(image_shape: tuple[int, int, int], tmp_path: Path) -> None:
    images, latents = generate_samples(Generator(16, image_shape).eval(), 5, seed=3)
    save_samples(images, latents, tmp_path / "samples.npz")
    assert images.min() < 0, "otherwise they count as floats in [0, 1]"
    assert torch.equal(load_images(str(tmp_path / "samples.npz"), image_shape[1]).images, to_pixels(images))


# Damage

HEADER = struct.pack(">4I", 0x803, 3, 4, 4)
HUGE = struct.pack(">4I", 0x803, 10**6, 1000, 1000) + bytes(99)
BAD_IDX = {
    "empty": (b"", "its header is cut off"),
    "cut data": (HEADER + bytes(47), "its header claims 48 bytes and it holds 47"),
    "too much data": (HEADER + bytes(49), "its header claims 48 bytes and it holds more"),
    "labels instead": (idx_bytes(np.arange(20, dtype=np.uint8)), "its magic number is 0x801 instead of 0x803"),
    "10^12 images": (HUGE, "claims 1000000000000 bytes, more than"),
    "no images": (struct.pack(">4I", 0x803, 0, 4, 4), "holds 0 images"),
    "one image": (struct.pack(">4I", 0x803, 1, 4, 4) + bytes(16), "give at least 2"),
    "cut gzip": (gzip.compress(HEADER + bytes(48))[:-12], "it cannot be read"),
    "wrong gzip checksum": (gzip.compress(HEADER + bytes(48))[:-8] + bytes(8), "it cannot be read"),
    "gzip of 10^12 images": (gzip.compress(HUGE), "more than the file can hold"),
}  # fmt: skip


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and has almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


PNG = image_bytes(noise(16, 16))
UNKNOWN = "it is none of PNG, JPEG, BMP, GIF, WEBP, TIFF, or its header is damaged"
BAD_IMAGES = {
    "empty": (b"", UNKNOWN),
    "text": (b"this is no image", UNKNOWN),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", UNKNOWN),
    "cut pixels": (PNG[:-60], "."),
    "bomb": (png_header(60_000, 60_000), "pixels"),
    "more pixels than data": (png_header(4000, 4000), "."),
}  # fmt: skip


def raw_npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


NPY = npy_bytes(noise(4, 8, 8))
BAD_NPY = {
    "empty": (b"", "it cannot be read"),
    "cut data": (NPY[:-9], r"its header claims \d+ bytes and it holds"),
    "10^12 images": (
        raw_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000, 1000)}", bytes(99)),
        "its header claims 1000000000000 bytes and it holds",
    ),
    "negative size": (raw_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-4, 8, 8)}", bytes(256)), "claims -256"),
    "endless nothing": (raw_npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': (0, {10**30})}}"), "."),
    "deep header": (raw_npy("(" * 9000), "it cannot be read"),
    "code as header": (raw_npy("__import__('os').abort()"), "it cannot be read"),
    "fields": (npy_bytes(np.zeros(4, dtype=[("a", "u1"), ("b", "f4")])), "is not images"),
    "two dimensions": (npy_bytes(noise(8, 8)), r"an array of shape \[8, 8\] is not images; give \[N, H, W\]"),
    "text array": (npy_bytes(np.full((4, 8, 8), "abc")), "is not images; give bytes 0 ... 255, or floats"),
    "integers": (npy_bytes(np.zeros((4, 8, 8), dtype=np.int64)), "256 int64 is not images; give bytes"),
    "floats to 255": (npy_bytes(noise(4, 8, 8).astype(np.float32)), "its numbers go from .* to .*; give bytes"),
    "not a number": (npy_bytes(np.full((4, 8, 8), np.nan)), "its numbers go from nan to nan"),
    "no images": (npy_bytes(np.zeros((0, 8, 8), dtype=np.uint8)), r"holds 0 images|without numbers"),
    "one image": (npy_bytes(noise(1, 8, 8)), "give at least 2"),
    "10^9 pixels, small": (raw_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9, 8, 0)}"), "without|holds 9"),
}  # fmt: skip


NPZ = npz_bytes(images=noise(4, 8, 8))
CLAIM = NPZ.rindex(b"PK\x01\x02") + 24
BAD_NPZ = {
    "empty": (b"", "it cannot be read"),
    "cut": (NPZ[:-40], "it cannot be read"),
    "damaged data": (NPZ[:60] + bytes(100) + NPZ[160:], "it cannot be read"),
    "no arrays": (npz_bytes(), "it has the arrays none; call the one to use images"),
    "two arrays": (npz_bytes(a=noise(4, 8, 8), b=np.zeros(3)), "it has the arrays a, b; call the one to use images"),
    "claims too much": (
        NPZ[:CLAIM] + struct.pack("<I", 2**31) + NPZ[CLAIM + 4 :],
        "claims 2147483648 bytes, more than the file can hold",
    ),
    **{
        f"labels {labels.dtype} {labels.shape}": (
            npz_bytes(images=noise(4, 8, 8), labels=labels),
            r"set.npz: its labels must be 4 integers from 0 to 65535, one per image, got ",
        )
        for labels in (
            np.zeros(3, int),
            np.zeros((4, 1), int),
            np.zeros(4),
            np.array([0, 1, -1, 0], "i2"),
            np.full(4, "a"),
        )
    },
    "labels too large": (npz_bytes(images=noise(4, 8, 8), labels=np.full(4, 2**16)), "integers from 0 to 65535"),
}
CASES = {
    **{f"train-images-idx3-ubyte {case}": damage for case, damage in BAD_IDX.items()},
    **{
        f"1.png {case}": (content, rf"cannot be read \(.*{problem}.*\); replace")
        for case, (content, problem) in BAD_IMAGES.items()
    },
    **{f"set.npy {case}": damage for case, damage in BAD_NPY.items()},
    **{f"images.npy {case}": damage for case, damage in BAD_NPY.items()},
    **{f"set.npz {case}": damage for case, damage in BAD_NPZ.items()},
}
"""Name of a file and what is wrong with it; `images.npy` is inside set.npz."""


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_refused_in_one_line_with_its_name(case: str, tmp_path: Path) -> None:
    (content, problem), name = CASES[case], case.partition(" ")[0]
    path = tmp_path / name.replace("images.npy", "set.npz")
    path.write_bytes(content)
    if name == "images.npy":
        archive(path, content)
    elif name == "1.png":
        (tmp_path / "0.png").write_bytes(PNG)
    readers = [lambda: load_images(str(path if path.stem == "set" else tmp_path), 8)]
    for read in [*readers, lambda: image_files.read_pixels(path)][: 1 + (name == "1.png")]:
        with pytest.raises(DataError, match=problem) as caught:
            read()
        assert path.stem in str(caught.value) or tmp_path.name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert name != "1.png" or "<" not in str(caught.value), "not the stream instead of the file"


def test_another_number_of_labels_than_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(HEADER + bytes(48))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(4, dtype=np.uint8)))
    with pytest.raises(DataError, match="train-labels-idx1-ubyte: it has 4 labels for 3 images; replace the file"):
        load_images(str(tmp_path), 4)


@pytest.mark.parametrize("fields", [False, True])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_pickle_is_refused_and_never_run(fields: bool, suffix: str, tmp_path: Path, payload: Any) -> None:
    path = tmp_path / f"set.{suffix}"
    path.write_bytes(pickle.dumps(payload))
    with pytest.raises(DataError, match="it cannot be read"):
        load_images(str(path), 8)
    array = np.empty(4, dtype=[("images", "u1"), ("payload", object)] if fields else object)
    array["payload" if fields else slice(None)] = payload
    archive(path, npy_bytes(array))
    with pytest.raises(
        DataError, match=r"it holds Python objects \(a pickle\), which could run code; save a plain arr"
    ):
        load_images(str(path), 8)
    assert not (tmp_path / "was-run").exists()
    np.load(io.BytesIO(npy_bytes(array)), allow_pickle=True)
    assert (tmp_path / "was-run").exists(), "the payload works where pickles are allowed"


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "set.npy", "set.npz"])
def test_every_truncation_is_refused(name: str, tmp_path: Path) -> None:
    path, images = tmp_path / name, noise(3, 6, 6)
    whole = {"npy": npy_bytes(images), "npz": npz_bytes(images=images), "gz": gzip.compress(idx_bytes(images))}
    content = whole.get(name.rpartition(".")[2], idx_bytes(images))
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError):
            load_images(str(path if name.startswith("set") else tmp_path), 6)


# Sizes


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


def test_resizing_keeps_black_and_white(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", np.concatenate([np.zeros((1, 9, 9)), np.full((1, 9, 9), 255)]).astype(np.uint8))
    for size in (5, 9, 20):
        images = load_images(str(tmp_path / "set.npy"), size).images
        assert (images[0].max(), images[1].min()) == (0, 255)


# Sources


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"something")
    (tmp_path / "empty").mkdir()
    for source, problem in (
        ("Mnist", "^data: Mnist does not exist; give mnist, fashion-mnist, kmnist, .*, an IDX fold"),
        (
            str(tmp_path / "images.zip"),
            "images.zip is of an unknown kind; give mnist, .*, an IDX folder, an image fold",
        ),
        (str(tmp_path / "empty"), r"^data: .* holds no IDX files and no images; put some into it \(\.png"),
        (write_images(tmp_path / "one", noise(9, 9)), r"holds 1 images of .*; give at least 2"),
    ):
        with pytest.raises(DataError, match=problem):
            load_images(source, 16)


def test_subfolders_are_classes(tmp_path: Path) -> None:
    write_images(tmp_path / "dog", noise(8, 8), noise(8, 8))
    assert load_images(str(tmp_path), 8).labels is None, "a single subfolder is not a class"
    write_images(tmp_path / "cat", noise(8, 8), noise(8, 8))
    write_images(tmp_path / "cat" / "young", noise(8, 8))
    assert load_images(str(tmp_path), 8).labels.tolist() == [0, 0, 0, 1, 1], "at any depth"
    assert image_files.class_folders(tmp_path) == ["cat", "dog"]
    with pytest.raises(DataError, match="has no test images to compare with; put images into folders train and test"):
        load_test_images(str(tmp_path), 8)
    write_images(tmp_path, noise(8, 8))
    assert load_images(str(tmp_path), 8).labels is None, "an image without a class"


def test_the_folders_train_and_test_are_splits(tmp_path: Path) -> None:
    for name in "abc":
        write_images(tmp_path / "train" / name, noise(8, 8, 3), noise(8, 8, 3))
    write_images(tmp_path / "test" / "c", noise(8, 8), noise(8, 8))
    train, test = load_images(str(tmp_path), 8), load_test_images(str(tmp_path), 8)
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 1, 1, 2, 2], [2, 2])
    assert train.image_shape == test.image_shape == (3, 8, 8), "because the training images are in color"
    assert image_files.class_folders(tmp_path) == ["a", "b", "c"]
    write_images(tmp_path / "test" / "d", noise(8, 8))
    with pytest.raises(
        DataError, match=r"^data: .*test has the class 'd', which the training images lack; take it out"
    ):
        load_test_images(str(tmp_path), 8)


def test_labels_and_test_images_of_an_archive(tmp_path: Path) -> None:
    path, images, labels = tmp_path / "set.npz", noise(4, 8, 8, 3), np.array([1, 0, 1, 65535])
    path.write_bytes(
        npz_bytes(images=images, labels=labels, test_images=images[:3], test_labels=labels[:3], more=labels)
    )
    train, test = load_images(str(path), 8), load_test_images(str(path), 8)
    assert (train.labels.tolist(), test.labels.tolist()) == ([1, 0, 1, 65535], [1, 0, 1])
    assert torch.equal(test.images, train.images[:3])
    for name in ("set.npy", "set.npz"):
        archive(tmp_path / name, npy_bytes(images))
        with pytest.raises(
            DataError, match=rf"{name} has no test images to compare with; put test_images, test_labels"
        ):
            load_test_images(str(tmp_path / name), 8)


# Data sets by name

SIZES = {"train": 40, "test": 20}
PREFIXES = {
    "fashion-mnist": ("FashionMNIST", "train", "t10k"),
    "kmnist": ("KMNIST", "train", "t10k"),
    "emnist-balanced": ("EMNIST", "emnist-balanced-train", "emnist-balanced-test"),
    "emnist-digits": ("EMNIST", "emnist-digits-train", "emnist-digits-test"),
    "emnist-letters": ("EMNIST", "emnist-letters-train", "emnist-letters-test"),
}
"""Folders and names of files as torchvision has them."""


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the user's data sets, and hide torchvision."""
    monkeypatch.setenv("REVIVER_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)


def named_images(name: str, split: str) -> np.ndarray:
    return noise(SIZES[split], 28, 28, seed=sorted(PREFIXES).index(name) + 100 * (split == "test"))


def write_named(name: str, suffix: str = ".gz") -> Path:
    """Write the four files of a data set in the original format, with the labels 0 to 4 in turn."""
    torchvision, *prefixes = PREFIXES[name]
    folder = data_folder() / torchvision / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for split, prefix in zip(SIZES, prefixes, strict=True):
        images = named_images(name, split)
        labels = (np.arange(len(images)) % 5 + (name == "emnist-letters")).astype(np.uint8)
        for kind, array in (("images", images.swapaxes(1, 2) if "emnist" in name else images), ("labels", labels)):
            content = idx_bytes(array)
            path = folder / f"{prefix}-{kind}-idx{array.ndim}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content) if suffix else content)
    return folder


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", PREFIXES)
def test_every_data_set_is_downloaded_once_and_read_upright_with_classes_from_0(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PREFIXES.keys() == DATA_SETS.keys()
    calls = []

    def download_data_set(root: Path, download: bool, **arguments: str) -> None:
        print("Downloading ...")
        calls.append((root, download, arguments))
        write_named(name, ".gz" if "emnist" in name else "")

    module = ModuleType("torchvision.datasets")
    setattr(module, PREFIXES[name][0], download_data_set)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    for split, load in (("train", load_images), ("test", load_test_images)):
        data = load(name)
        assert torch.equal(data.images[:, 0], tensor(named_images(name, split)))
        assert data.labels.tolist() == [index % 5 for index in range(SIZES[split])]
        assert (data.name, data.images.is_contiguous()) == (name, True)
    assert load_images(name, 14).image_shape == (1, 14, 14)
    assert calls == [(data_folder(), True, {"split": name.partition("-")[2]} if "emnist" in name else {})]
    assert capsys.readouterr().out == "", "stdout is for results"


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("problem", ["absent", "offline", "incompatible", "other files"])
def test_a_failed_download_is_one_line_with_a_remedy(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        if problem != "other files":
            raise OSError("no route\nto host") if problem == "offline" else RuntimeError("operator does not exist")

    if problem != "absent":
        module = ModuleType("torchvision.datasets")
        module.KMNIST = fail
        monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    (write_named("kmnist") / "train-labels-idx1-ubyte.gz").unlink()  # images without labels count as missing
    with pytest.raises(DataError) as caught:
        load_images("kmnist")
    message = str(caught.value)
    assert message.startswith(f"data: kmnist is not in {data_folder() / 'KMNIST' / 'raw'} and cannot be downloaded (")
    assert "put train-images-idx3-ubyte.gz, t10k-images-idx3-ubyte.gz and their labels from https://github" in message
    assert message.endswith("or pip install torchvision and be online")
    assert "\n" not in message


@pytest.mark.usefixtures("no_network")
def test_damaged_files_of_a_data_set_are_refused() -> None:
    path = write_named("emnist-letters") / "emnist-letters-train-images-idx3-ubyte.gz"
    labels = path.with_name("emnist-letters-train-labels-idx1-ubyte.gz")
    labels.write_bytes(gzip.compress(idx_bytes(np.zeros(SIZES["train"], np.uint8))))
    with pytest.raises(DataError, match=r"emnist-letters-train-labels.*: it has the label 0, below 1"):
        load_images("emnist-letters")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: it cannot be read"):
        load_images("emnist-letters")


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
