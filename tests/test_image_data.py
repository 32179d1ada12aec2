"""Image sets from every kind of source; a damaged or hostile file raises a DataError and nothing else."""

import gzip
import hashlib
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reviver.data.images.image_set import from_pixels, load_images, load_mnist, load_test_images, to_pixels
from reviver.errors import DataError
from reviver.files.idx import read_idx
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


def random_bytes(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def image_bytes(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=kind)
    return buffer.getvalue()


# MNIST


@pytest.mark.parametrize("name", MD5)
def test_mnist_has_the_published_checksums(name: str) -> None:
    path = Path(__file__).parent.parent / "src" / "reviver" / "data" / "mnist" / name
    assert hashlib.md5(gzip.decompress(path.read_bytes())).hexdigest() == MD5[name]


@pytest.mark.parametrize(
    ("split", "num_images", "first_labels"), [("train", 60_000, [5, 0, 4]), ("test", 10_000, [7, 2, 1])]
)
def test_mnist_splits(split: str, num_images: int, first_labels: list[int]) -> None:
    data = load_mnist(split)
    assert (data.images.shape, data.images.dtype) == ((num_images, 1, 28, 28), torch.uint8)
    assert (data.labels.shape, data.labels.dtype) == ((num_images,), torch.int64)
    assert data.labels[:3].tolist() == first_labels
    assert data.labels.bincount().shape == (10,)
    assert (data.name, data.image_shape) == ("mnist", (1, 28, 28))


def test_the_source_mnist_is_the_packaged_mnist() -> None:
    data = load_images("mnist")
    assert torch.equal(data.images, load_mnist("train").images)


# Bytes and floats


def test_every_byte_survives_the_round_trip() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    images = from_pixels(pixels)
    assert (images[0], images[255], images.dtype) == (-1, 1, torch.float32)
    torch.testing.assert_close(images, torch.linspace(-1, 1, 256))
    assert torch.equal(to_pixels(images), pixels)


def test_values_beyond_the_range_are_clipped() -> None:
    assert to_pixels(torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0])).tolist() == [0, 0, 128, 255, 255]


# IDX


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["raw", "gzip"])
@pytest.mark.parametrize("prefix", ["train", "t10k", "my"])
def test_a_folder_of_idx_files(compress: Callable[[bytes], bytes], prefix: str, tmp_path: Path) -> None:
    images, labels = random_bytes(5, 9, 9), np.arange(5, dtype=np.uint8)
    (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(compress(idx_bytes(images)))
    (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(compress(idx_bytes(labels)))
    data = load_images(str(tmp_path), 9)
    assert torch.equal(data.images, torch.from_numpy(images)[:, None])
    assert data.labels.tolist() == [0, 1, 2, 3, 4]
    assert data.name == tmp_path.name


def test_training_images_are_preferred_and_labels_are_optional(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(random_bytes(2, 9, 9)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(random_bytes(3, 9, 9)))
    data = load_images(str(tmp_path), 9)
    assert (len(data.images), data.labels) == (3, None)


HEADER = struct.pack(">4I", 0x803, 3, 4, 4)
BAD_IDX = {
    "empty": (b"", "its header is cut off"),
    "cut header": (HEADER[:13], "its header is cut off"),
    "cut data": (HEADER + bytes(47), "its header claims 48 bytes and it holds 47"),
    "too much data": (HEADER + bytes(49), "its header claims 48 bytes and it holds more"),
    "labels instead": (idx_bytes(np.arange(20, dtype=np.uint8)), "its magic number is 0x801 instead of 0x803"),
    "text": (b"this is no image file at all", "its magic number is"),
    "10^12 images": (struct.pack(">4I", 0x803, 10**6, 1000, 1000) + bytes(99), "claims 1000000000000 bytes, more than"),
    "maximum sizes": (struct.pack(">4I", 0x803, *[2**32 - 1] * 3), "more than the file can hold"),
    "no images": (struct.pack(">4I", 0x803, 0, 4, 4), "holds 0 images"),
    "one image": (struct.pack(">4I", 0x803, 1, 4, 4) + bytes(16), "give at least 2"),
    "no pixels": (struct.pack(">4I", 0x803, 5, 0, 4), "holds 5 images of"),
    "cut gzip": (gzip.compress(HEADER + bytes(48))[:-12], "it cannot be read"),
    "gzip header alone": (b"\x1f\x8b", "it cannot be read"),
    "gzip of another method": (b"\x1f\x8b\x07" + bytes(20), "it cannot be read"),
    "wrong gzip checksum": (gzip.compress(HEADER + bytes(48))[:-8] + bytes(8), "it cannot be read"),
    "gzip of 10^12 images": (
        gzip.compress(struct.pack(">4I", 0x803, 10**6, 1000, 1000) + bytes(99)),
        "more than the file can hold",
    ),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_a_damaged_idx_file_is_refused(case: str, tmp_path: Path) -> None:
    content, problem = BAD_IDX[case]
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        load_images(str(tmp_path), 4)
    assert "\n" not in str(caught.value)


def test_another_number_of_labels_than_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(HEADER + bytes(48))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(4, dtype=np.uint8)))
    with pytest.raises(DataError, match="train-labels-idx1-ubyte: it has 4 labels for 3 images; replace the file"):
        load_images(str(tmp_path), 4)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    with pytest.raises(DataError, match="it cannot be read"):
        load_images(str(tmp_path), 4)


# Image folders


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG"])
def test_a_folder_of_images(kind: str, tmp_path: Path) -> None:
    images = random_bytes(3, 16, 16)
    for index, image in enumerate(images):
        (tmp_path / f"{index}.{kind.lower()}").write_bytes(image_bytes(image, kind))
    data = load_images(str(tmp_path), 16)
    assert data.images.shape[0] == 3
    if kind in ("PNG", "BMP", "TIFF"):
        assert torch.equal(data.images, torch.from_numpy(images)[:, None])
    assert (data.labels, data.name) == (None, tmp_path.name)


def test_nested_folders_uppercase_suffixes_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    images = random_bytes(2, 8, 8)
    (tmp_path / "a" / "b" / "1.PNG").write_bytes(image_bytes(images[0]))
    (tmp_path / "z.png").write_bytes(image_bytes(images[1]))
    assert torch.equal(load_images(str(tmp_path), 8).images, torch.from_numpy(images)[:, None])


def test_color_images(tmp_path: Path) -> None:
    images = random_bytes(2, 8, 8, 3)
    for index, image in enumerate(images):
        (tmp_path / f"{index}.png").write_bytes(image_bytes(image))
    data = load_images(str(tmp_path), 8)
    assert data.image_shape == (3, 8, 8)
    assert torch.equal(data.images, torch.from_numpy(images).permute(0, 3, 1, 2))


def test_gray_images_among_color_images_become_color(tmp_path: Path) -> None:
    gray, color = random_bytes(8, 8), random_bytes(8, 8, 3)
    (tmp_path / "0.png").write_bytes(image_bytes(gray))
    (tmp_path / "1.png").write_bytes(image_bytes(color))
    (tmp_path / "2.png").write_bytes(image_bytes(gray.astype(np.uint16) * 257))
    data = load_images(str(tmp_path), 8)
    assert data.image_shape == (3, 8, 8)
    for index in (0, 2):
        assert torch.equal(data.images[index], torch.from_numpy(gray).expand(3, 8, 8))


def test_16_bit_images_keep_their_upper_bits(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (2, 8, 8), dtype=np.uint16)
    for index, image in enumerate(deep):
        (tmp_path / f"{index}.png").write_bytes(image_bytes(image))
    data = load_images(str(tmp_path), 8)
    assert torch.equal(data.images[:, 0], torch.from_numpy((deep >> 8).astype(np.uint8)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_images_of_every_mode(mode: str, tmp_path: Path) -> None:
    for index in range(2):
        image = Image.fromarray(random_bytes(8, 8, seed=index)).convert(mode)
        image.save(tmp_path / f"{index}.{'tiff' if mode in ('F', 'CMYK', 'I') else 'png'}")
    assert load_images(str(tmp_path), 8).image_shape == (1 if mode in ("1", "L", "LA", "I", "F") else 3, 8, 8)


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = np.zeros((8, 8), dtype=np.uint8)
    image[0] = 255  # the top row, which the orientation makes the rightmost column
    for index in range(2):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(image).save(tmp_path / f"{index}.png", exif=exif)
    assert torch.equal(load_images(str(tmp_path), 8).images[0, 0], torch.from_numpy(np.rot90(image, -1).copy()))


def test_images_are_cropped_to_the_middle_square(tmp_path: Path) -> None:
    wide = random_bytes(2, 8, 12)
    for index, image in enumerate(wide):
        (tmp_path / f"{index}.png").write_bytes(image_bytes(image))
    assert torch.equal(load_images(str(tmp_path), 8).images[:, 0], torch.from_numpy(wide[:, :, 2:10].copy()))


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and has almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


PNG = image_bytes(random_bytes(16, 16))
BAD_IMAGES = {
    "empty": b"",
    "text": b"this is no image",
    "cut header": PNG[:20],
    "cut pixels": PNG[:-60],
    "signature alone": PNG[:8],
    "bomb": png_header(60_000, 60_000),
    "small bomb": png_header(12_000, 12_000),
    "more pixels than data": png_header(4000, 4000),
    "no width": png_header(0, 5),
    "damaged pixels": PNG[:60] + bytes(40) + PNG[100:],
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_a_damaged_image_is_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(PNG)
    (tmp_path / "1.png").write_bytes(BAD_IMAGES[case])
    with pytest.raises(DataError, match=r"1\.png: it cannot be read \(.+\); replace the file or remove it") as caught:
        load_images(str(tmp_path), 16)
    assert "\n" not in str(caught.value)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"^data: .* holds no IDX files and no images; put some into it \(\.png"):
        load_images(str(tmp_path))


def test_a_single_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(PNG)
    with pytest.raises(DataError, match=r"holds 1 images of .*; give at least 2"):
        load_images(str(tmp_path), 16)


# NumPy files


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((4, 8, 8), (1, 8, 8)),
        ((4, 1, 8, 8), (1, 8, 8)),
        ((4, 3, 8, 8), (3, 8, 8)),
        ((4, 8, 8, 1), (1, 8, 8)),
        ((4, 8, 8, 3), (3, 8, 8)),
    ],
)
def test_arrays_of_every_shape(
    shape: tuple[int, ...], image_shape: tuple[int, int, int], suffix: str, tmp_path: Path
) -> None:
    array = random_bytes(*shape)
    path = tmp_path / f"set.{suffix}"
    path.write_bytes(npy_bytes(array) if suffix == "npy" else npz_bytes(anything=array))
    data = load_images(str(path), 8)
    assert (data.image_shape, data.name, data.labels) == (image_shape, "set", None)
    expected = array.transpose(0, 3, 1, 2) if shape[-1] < 8 else array.reshape(4, *image_shape)
    assert torch.equal(data.images, torch.from_numpy(expected.copy()))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8"])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_the_range_of_floats_is_detected(low: float, high: float, dtype: str, tmp_path: Path) -> None:
    pixels = random_bytes(4, 8, 8)
    pixels[0, 0, :2] = 0, 255
    np.save(tmp_path / "set.npy", (pixels / 255 * (high - low) + low).astype(dtype))
    difference = load_images(str(tmp_path / "set.npy"), 8).images[:, 0].int() - torch.from_numpy(pixels).int()
    assert difference.abs().max() <= (dtype == "float16")


def test_an_array_in_fortran_order(tmp_path: Path) -> None:
    array = random_bytes(4, 8, 8)
    np.save(tmp_path / "set.npy", np.asfortranarray(array))
    assert torch.equal(load_images(str(tmp_path / "set.npy"), 8).images[:, 0], torch.from_numpy(array))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_npy(version: tuple[int, int], tmp_path: Path) -> None:
    array = random_bytes(4, 8, 8)
    with (tmp_path / "set.npy").open("wb") as file:
        np.lib.format.write_array(file, array, version=version)
    assert torch.equal(load_images(str(tmp_path / "set.npy"), 8).images[:, 0], torch.from_numpy(array))


def test_the_array_called_images_is_preferred(tmp_path: Path) -> None:
    array = random_bytes(4, 8, 8)
    (tmp_path / "set.npz").write_bytes(npz_bytes(latents=np.zeros(3), images=array))
    assert torch.equal(load_images(str(tmp_path / "set.npz"), 8).images[:, 0], torch.from_numpy(array))


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 9, 9)])
def test_saved_samples_can_be_training_images(image_shape: tuple[int, int, int], tmp_path: Path) -> None:
    images, latents = generate_samples(Generator(16, image_shape).eval(), 5, seed=3)
    save_samples(images, latents, tmp_path / "samples.npz")
    data = load_images(str(tmp_path / "samples.npz"), image_shape[1])
    low = images.min()
    assert low < 0  # otherwise they count as floats in [0, 1]
    assert torch.equal(data.images, to_pixels(images))


def test_loaded_images_are_writable(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", random_bytes(4, 8, 8))
    data = load_images(str(tmp_path / "set.npy"), 8)
    data.images[0] = 0
    assert data.images[0].sum() == 0


def raw_npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


NPY = npy_bytes(random_bytes(4, 8, 8))
BAD_NPY = {
    "empty": (b"", "it cannot be read"),
    "text": (b"this is no array", "it cannot be read"),
    "cut header": (NPY[:30], "it cannot be read"),
    "cut data": (NPY[:-9], "its header claims 256 bytes and it holds"),
    "10^12 images": (
        raw_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000, 1000)}", bytes(99)),
        "its header claims 1000000000000 bytes and it holds",
    ),
    "negative size": (raw_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-4, 8, 8)}", bytes(256)), "."),
    "endless nothing": (raw_npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': (0, {10**30})}}"), "."),
    "deep header": (raw_npy("(" * 9000), "it cannot be read"),
    "code as header": (raw_npy("__import__('os').abort()"), "it cannot be read"),
    "unfinished header": (raw_npy("{'descr': '|u1', 'shape': '''"), "it cannot be read"),
    "fields": (npy_bytes(np.zeros(4, dtype=[("a", "u1"), ("b", "f4")])), "is not images"),
    "two dimensions": (npy_bytes(random_bytes(8, 8)), r"an array of shape \[8, 8\] is not images; give \[N, H, W\]"),
    "two channels": (npy_bytes(random_bytes(4, 8, 8, 2)), "is not images; give"),
    "text array": (npy_bytes(np.full((4, 8, 8), "abc")), "is not images; give bytes 0 ... 255, or floats"),
    "integers": (npy_bytes(np.zeros((4, 8, 8), dtype=np.int64)), "256 int64 is not images; give bytes"),
    "floats to 255": (npy_bytes(random_bytes(4, 8, 8).astype(np.float32)), "its numbers go from .* to .*; give bytes"),
    "not a number": (npy_bytes(np.full((4, 8, 8), np.nan)), "its numbers go from nan to nan"),
    "infinite": (npy_bytes(np.full((4, 8, 8), np.inf)), "its numbers go from inf to inf"),
    "no images": (npy_bytes(np.zeros((0, 8, 8), dtype=np.uint8)), "holds 0 images"),
    "no floats": (npy_bytes(np.zeros((0, 8, 8), dtype=np.float32)), "."),
    "one image": (npy_bytes(random_bytes(1, 8, 8)), "give at least 2"),
    "no pixels": (npy_bytes(np.zeros((5, 8, 0), dtype=np.uint8)), "holds 5 images"),
}


@pytest.mark.parametrize("case", BAD_NPY)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_damaged_array_is_refused(case: str, suffix: str, tmp_path: Path) -> None:
    content, problem = BAD_NPY[case]
    path = tmp_path / f"set.{suffix}"
    if suffix == "npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", content)
    with pytest.raises(DataError, match=problem) as caught:
        load_images(str(path), 8)
    assert "set" in str(caught.value)
    assert "\n" not in str(caught.value)


NPZ = npz_bytes(images=random_bytes(4, 8, 8))
BAD_NPZ = {
    "empty": (b"", "it cannot be read"),
    "text": (b"this is no archive", "it cannot be read"),
    "cut": (NPZ[:-40], "it cannot be read"),
    "damaged data": (NPZ[:60] + bytes(100) + NPZ[160:], "it cannot be read"),
    "no arrays": (npz_bytes(), "it has the arrays none; call the one to use images"),
    "two arrays": (
        npz_bytes(a=random_bytes(4, 8, 8), b=np.zeros(3)),
        "it has the arrays a, b; call the one to use images",
    ),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_a_damaged_archive_is_refused(case: str, tmp_path: Path) -> None:
    content, problem = BAD_NPZ[case]
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(DataError, match=problem):
        load_images(str(tmp_path / "set.npz"), 8)


def test_an_archive_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(NPZ)
    content = bytearray(NPZ)
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    with pytest.raises(DataError, match="claims 2147483648 bytes, more than the file can hold"):
        load_images(str(path), 8)


# Pickles


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def object_npy(marker: Path) -> bytes:
    array = np.empty((4, 8, 8), dtype=object)
    array[:] = Payload(marker)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def field_npy(marker: Path) -> bytes:
    array = np.empty(4, dtype=[("images", "u1"), ("payload", object)])
    array["payload"] = Payload(marker)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("make", [object_npy, field_npy])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_pickle_in_an_array_is_refused_and_never_run(
    make: Callable[[Path], bytes], suffix: str, tmp_path: Path
) -> None:
    marker = tmp_path / "was-run"
    content = make(marker)
    path = tmp_path / f"set.{suffix}"
    if suffix == "npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", content)
    with pytest.raises(
        DataError, match=r"it holds Python objects \(a pickle\), which could run code; save a plain array"
    ):
        load_images(str(path), 8)
    assert not marker.exists()
    np.load(io.BytesIO(content), allow_pickle=True)
    assert marker.exists(), "the payload must work where pickles are allowed"


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_bare_pickle_is_refused_and_never_run(suffix: str, tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    path = tmp_path / f"set.{suffix}"
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(DataError, match="it cannot be read"):
        load_images(str(path), 8)
    assert not marker.exists()


# Sizes


@pytest.mark.parametrize("size", [4, 14, 28, 40])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_resized(size: int, channels: int, tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 28)[None, None, None, :] * np.ones((2, channels, 28, 1))
    np.save(tmp_path / "set.npy", smooth.round().astype(np.uint8))
    images = load_images(str(tmp_path / "set.npy"), size).images
    assert (images.shape, images.dtype) == ((2, channels, size, size), torch.uint8)
    position = (torch.arange(size) + 0.5) / size * 28 - 0.5
    expected = (position / 27 * 255).clamp(0, 255).expand(2, channels, size, size)
    inner = slice(2, -2) if size > 4 else slice(1, -1)
    assert (images.float() - expected)[..., inner].abs().max() < 3


def test_resizing_keeps_black_and_white(tmp_path: Path) -> None:
    array = np.concatenate([np.zeros((1, 9, 9)), np.full((1, 9, 9), 255)]).astype(np.uint8)
    np.save(tmp_path / "set.npy", array)
    for size in (5, 9, 20):
        images = load_images(str(tmp_path / "set.npy"), size).images
        assert (images[0].max(), images[1].min()) == (0, 255)


def test_mnist_at_half_its_size_keeps_its_brightness() -> None:
    images = load_images("mnist", 14).images[:200].float()
    blocks = load_mnist("train").images[:200].float().unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    assert (images - blocks).abs().mean() < 8
    assert images.mean() == pytest.approx(blocks.mean().item(), rel=0.05)


# Unknown sources


@pytest.mark.parametrize("source", ["nothing", "nothing.npz", "Mnist"])
def test_a_missing_source_is_refused(source: str) -> None:
    with pytest.raises(
        DataError, match=f"^data: {source} does not exist; give mnist, fashion-mnist, kmnist, .*, an IDX folder, an"
    ):
        load_images(source)


@pytest.mark.parametrize("name", ["images.zip", "images.csv", "images"])
def test_a_file_of_another_kind_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(
        DataError, match=f"{name} is of an unknown kind; give mnist, fashion-mnist, kmnist, .*, an IDX folder"
    ):
        load_images(str(tmp_path / name))


# Random bytes raise a DataError; see also tests/fuzz


VALID = {
    "train-images-idx3-ubyte": idx_bytes(random_bytes(3, 6, 6)),
    "train-images-idx3-ubyte.gz": gzip.compress(idx_bytes(random_bytes(3, 6, 6))),
    "set.npy": npy_bytes(random_bytes(3, 6, 6)),
    "set.npz": npz_bytes(images=random_bytes(3, 6, 6)),
}


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "set.npy", "set.npz", "image.png"])
def test_random_bytes_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    source = path if path.suffix in (".npy", ".npz") else tmp_path

    @settings(max_examples=100)
    @given(content=st.binary(max_size=100))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(DataError):
            load_images(str(source), 6)

    check()


def test_every_truncation_of_a_file_is_refused(tmp_path: Path) -> None:
    for name in ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "set.npy", "set.npz"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        path = folder / name
        for length in range(len(VALID[name])):
            path.write_bytes(VALID[name][:length])
            with pytest.raises(DataError):
                load_images(str(path if name.startswith("set") else folder), 6)


def test_read_idx_of_labels(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(idx_bytes(np.arange(7, dtype=np.uint8)))
    assert read_idx(tmp_path / "labels", 0x801).tolist() == list(range(7))


# Labels and test images


def write_class_folders(root: Path, num_images: dict[str, int], seed: int = 0, *, channels: int = 3) -> None:
    """Write a folder of random images for each class."""
    shape = (8, 8, 3) if channels == 3 else (8, 8)
    for name, count in num_images.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            (root / name / f"{index}.png").write_bytes(image_bytes(random_bytes(*shape, seed=seed + index)))


def test_subfolders_are_classes(tmp_path: Path) -> None:
    write_class_folders(tmp_path, {"dog": 2, "cat": 3})
    data = load_images(str(tmp_path), 8)
    assert data.labels.tolist() == [0, 0, 0, 1, 1]
    (tmp_path / "cat" / "young").mkdir()
    (tmp_path / "cat" / "young" / "9.png").write_bytes(image_bytes(random_bytes(8, 8, 3)))
    assert load_images(str(tmp_path), 8).labels.tolist() == [0, 0, 0, 0, 1, 1], "at any depth"
    (tmp_path / "9.png").write_bytes(image_bytes(random_bytes(8, 8, 3)))
    assert load_images(str(tmp_path), 8).labels is None, "an image without a class"


def test_a_single_subfolder_is_not_a_class(tmp_path: Path) -> None:
    write_class_folders(tmp_path, {"photos": 3})
    assert load_images(str(tmp_path), 8).labels is None


def test_the_folders_train_and_test_are_splits(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "train", {"a": 2, "b": 2, "c": 2})
    write_class_folders(tmp_path / "test", {"c": 2}, seed=9, channels=1)
    train, test = load_images(str(tmp_path), 8), load_test_images(str(tmp_path), 8)
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 1, 1, 2, 2], [2, 2])
    assert train.image_shape == test.image_shape == (3, 8, 8), "because the training images are in color"
    write_class_folders(tmp_path / "test", {"d": 1})
    with pytest.raises(
        DataError, match=r"^data: .*test has the class 'd', which the training images lack; take it out"
    ):
        load_test_images(str(tmp_path), 8)


def test_labels_and_test_images_of_an_archive(tmp_path: Path) -> None:
    path, images = tmp_path / "set.npz", random_bytes(4, 8, 8, 3)
    labels = np.array([1, 0, 1, 2])
    path.write_bytes(npz_bytes(images=images, labels=labels, test_images=images[:3], test_labels=labels[:3]))
    train, test = load_images(str(path), 8), load_test_images(str(path), 8)
    assert (train.labels.tolist(), test.labels.tolist()) == ([1, 0, 1, 2], [1, 0, 1])
    assert torch.equal(test.images, train.images[:3])


@pytest.mark.parametrize(
    "labels",
    [np.zeros(3, int), np.zeros((4, 1), int), np.zeros(4), np.array([0, 1, -1, 0]), np.full(4, 2**16), np.full(4, "a")],
    ids=["few", "rows", "floats", "negative", "large", "text"],
)
def test_labels_that_are_not_classes_are_refused(labels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(npz_bytes(images=random_bytes(4, 8, 8), labels=labels))
    with pytest.raises(DataError, match=r"set.npz: its labels must be 4 integers from 0 to 65535, one per image, got "):
        load_images(str(path), 8)


@pytest.mark.parametrize("name", ["set.npy", "set.npz", "folder"])
def test_sources_without_test_images_are_refused(name: str, tmp_path: Path) -> None:
    path, images = tmp_path / name, random_bytes(4, 8, 8)
    if name == "folder":
        write_class_folders(path, {"a": 2, "b": 2})
    else:
        path.write_bytes(npy_bytes(images) if name == "set.npy" else npz_bytes(images=images))
    with pytest.raises(DataError, match=rf"^data: .*{name} has no test images to compare with; put "):
        load_test_images(str(path), 8)
