"""Packed data: what is read is what was packed, training on it is the same, damage is found, nothing half is left."""

import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from safetensors.torch import load_file

from reviver.cli import main
from reviver.data import packed as packed_module
from reviver.data.images import image_set
from reviver.data.images.image_files import class_folders
from reviver.data.images.image_set import load_images, pack_images
from reviver.data.packed import WINDOW_BLOCKS, epoch_order, equal_blocks, unequal_blocks
from reviver.data.sequences.custom import CustomTask
from reviver.data.sequences.examples import PackedExamples, PackedTable, pack_sequences
from reviver.errors import ConfigError, DataError
from reviver.rng import make_rng
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan
from reviver.train.lstm import training as lstm
from tests.damage import Payload

SIZE = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 9, SIZE, 3), dtype=np.uint8)
LABELS = np.arange(40) % 3


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks of five gray images, so that small data has many."""
    monkeypatch.setattr(packed_module, "BLOCK_BYTES", 5 * SIZE * SIZE)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Return a packed folder of 40 gray images with labels; its source lies beside it."""
    np.savez(tmp_path / "gray.npz", images=PIXELS[..., 0], labels=LABELS)
    pack_images(str(tmp_path / "gray.npz"), tmp_path / "packed", SIZE)
    return tmp_path / "packed"


@pytest.fixture
def packed_series(tmp_path: Path) -> Path:
    """Return a packed folder of 60 sequences of two channels; its source lies beside it."""
    rng = np.random.default_rng(1)
    x, lengths = rng.normal(3, 2, (60, 12, 2)), rng.integers(1, 10, 60)
    np.savez(tmp_path / "series.npz", x=x, y=["a", "b", "c"] * 20, lengths=lengths)
    pack_sequences(tmp_path / "series.npz", tmp_path / "packed-series")
    return tmp_path / "packed-series"


def save_folder(path: Path) -> None:
    for split in ("train", "test"):
        for index, image in enumerate(PIXELS[:7]):
            folder = path / split / ("c\udcff" if index % 2 else "dogs")  # one name is not UTF-8
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{index}.png")


SOURCES: dict[str, Callable[[Path], None]] = {
    "folder": save_folder,
    "fortran.npy": lambda path: np.save(path, np.asfortranarray(PIXELS)),
    "centered.npy": lambda path: np.save(path, PIXELS[..., 0].astype(np.float32) / 127.5 - 1),
    "set.npz": lambda path: np.savez(path, images=PIXELS, labels=LABELS, test_images=PIXELS, test_labels=LABELS),
}


@pytest.mark.parametrize("name", SOURCES)
def test_packed_images_are_those_of_the_source(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    SOURCES[name](tmp_path / name)
    source, out = str(tmp_path / name), tmp_path / "packed"
    if name == "folder":
        monkeypatch.chdir(source)
        source = "."
    splits = ["train"] if "npy" in name else ["train", "test"]
    expected = [load_images(source, SIZE, split) for split in splits]
    monkeypatch.setattr(image_set, "CHUNK_BYTES", 500)
    assert main(["data", "pack", source, "--image-size", str(SIZE), "--out", str(out)]) == 0
    assert ("packing without test images (data: " in capsys.readouterr().err) == ("npy" in name)
    for split, one in zip(splits, expected, strict=True):
        found = load_images(str(out), SIZE, split)
        assert torch.equal(found.images, one.images)
        assert (found.name, found.sha256, len(found)) == (one.name, one.sha256, len(one))
        assert (found.labels is None) == (one.labels is None)
        assert found.labels is None or torch.equal(found.labels, one.labels)
    assert class_folders(out) == class_folders(tmp_path / name)
    assert np.array_equal(np.load(out / "images.npy"), expected[0].images), "plain .npy files"
    if "npy" in name:
        with pytest.raises(DataError, match="no test images to compare with; give"):
            load_images(str(out), SIZE, "test")


def test_packed_sequences_are_those_of_the_file(
    packed_series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "pack", str(tmp_path / "series.npz"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    for name in ("sequences", "offsets", "labels"):
        assert np.array_equal(np.load(tmp_path / "out" / f"{name}.npy"), np.load(packed_series / f"{name}.npy"))
    expected, found = CustomTask(lstm_config(tmp_path / "series.npz")), CustomTask(lstm_config(packed_series))
    assert found.data.model_dump(exclude={"sha256"}) == expected.data.model_dump(exclude={"sha256"})
    for split in ("train", "validation"):
        one, other = expected.fixed_split(split, 2), found.fixed_split(split, 2)
        assert isinstance(other, PackedExamples)
        assert (len(one), one.steps) == (len(other), other.steps)
        assert torch.equal(one.block_edges, other.block_edges)
        assert torch.equal(one.lengths, other.lengths)
        for index in (slice(1, 3), torch.tensor([4, 0, 2]), torch.arange(len(one)).flip(0)):
            for key in ("x", "lengths", "targets"):
                assert torch.equal(getattr(one[index], key), getattr(other[index], key))
    with pytest.raises(DataError, match=f"^{packed_series}: is not the file that this run was trained on"):
        CustomTask(found.config, {**found.data.model_dump(), "sha256": "0" * 64}).validation(2)
    path, out = tmp_path / "ta\x7fble.csv", tmp_path / "table"
    path.write_text("digits,kind\n1 2,a\n3,b\n")
    assert main(f"data pack {path} --out {out} --sequence-column digits --label-column kind".split()) == 0
    assert capsys.readouterr().err.startswith("packing ta\\x7fble.csv: 0/1 MB ")
    assert json.loads((out / "packed.json").read_text())["name"] == "ta?ble.csv"
    assert np.load(out / "sequences.npy").tolist() == [[1], [2], [3]]
    np.save(tmp_path / "images.npy", np.zeros((2, 8, 8), np.uint8))
    assert main(f"data pack {tmp_path}/images.npy --image-size 8 --out {tmp_path}/images".split()) == 0
    assert f"reviver gan train --image-size 8 --data {tmp_path}/images" in capsys.readouterr().out


# Order


@pytest.mark.parametrize("count", [1, 16, 17, 192, 1000])
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_an_epoch_has_every_index_once_and_mixes_neighbors_only_within_a_window(
    count: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_module, "BLOCK_BYTES", rows)
    edges = equal_blocks(count, 1)
    orders = [epoch_order("blocks", edges, make_rng(0, f"order/{epoch}")) for epoch in (0, 0, 1)]
    for order in orders:
        assert order.sort().values.tolist() == list(range(count))
        for window in order.split(WINDOW_BLOCKS * rows) if count % rows == 0 else ():
            assert len((window // rows).unique()) <= WINDOW_BLOCKS
    assert torch.equal(orders[0], orders[1])
    assert count < 16 or not torch.equal(orders[0], orders[2]), "it depends on the epoch"
    expected = torch.randperm(count, generator=make_rng(3, "order/5"))
    assert torch.equal(epoch_order("full", edges, make_rng(3, "order/5")), expected)


@settings(max_examples=100)
@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40), block=st.integers(1, 60))
def test_blocks_hold_all_rows_and_about_the_block_size(sizes: list[int], block: int) -> None:
    ends = torch.tensor(sizes).cumsum(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_module, "BLOCK_BYTES", block)
        edges, equal = unequal_blocks(ends).tolist(), equal_blocks(len(sizes), sizes[0]).tolist()
    assert (edges[0], edges[-1], edges) == (0, len(sizes), sorted(set(edges)))
    starts = [0, *ends.tolist()]
    for begin, end in itertools.pairwise(edges):
        assert len({start // block for start in starts[begin:end]}) == 1
        assert end == len(sizes) or starts[end] // block > starts[begin] // block
    rows = max(1, block // sizes[0])
    assert equal == [*range(0, len(sizes), rows), len(sizes)]


# Training


def assert_same_run(one: Path, other: Path) -> None:
    paths = [find_checkpoint(run / "checkpoints", "last") for run in (one, other)]
    expected, found = map(load_file, paths)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    without_time = [[{**record, "seconds": 0} for record in RunFolder.open(run).read_metrics()] for run in (one, other)]
    assert without_time[0] == without_time[1]


def gan_config(data: Path, **changes: Any) -> GANConfig:
    values = {"image_size": SIZE, "epochs": 2, "batch_size": 8, "latent_size": 4, "log_every": 2, **changes}
    return GANConfig(data=str(data), eval_every=0, **values)


def lstm_config(data: Path, **changes: Any) -> LSTMConfig:
    return LSTMConfig(task="custom", data=str(data), epochs=2, hidden_size=4, batch_size=8, **changes)


@pytest.mark.parametrize("order", ["full", "blocks"])
def test_a_run_on_packed_data_equals_a_run_on_its_source(
    order: Any, packed: Path, packed_series: Path, tmp_path: Path
) -> None:
    changes = {"order": order, "conditional": True}
    gan.train(gan_config(tmp_path / "gray.npz", **changes), tmp_path / "one", device="cpu")
    gan.train(gan_config(packed, **changes), tmp_path / "other", device="cpu")
    assert_same_run(tmp_path / "one", tmp_path / "other")
    assert RunFolder.open(tmp_path / "one").record["data"] == RunFolder.open(tmp_path / "other").record["data"]
    lstm.train(lstm_config(tmp_path / "series.npz", order=order), tmp_path / "series", device="cpu")
    lstm.train(lstm_config(packed_series, order=order), tmp_path / "packed-run", device="cpu")
    assert_same_run(tmp_path / "series", tmp_path / "packed-run")


# Damage


def edit(folder: Path, **changes: Any) -> None:
    """Change packed.json."""
    path = folder / "packed.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda p: os.truncate(p / "images.npy", 500), r"images.npy: cannot be read \(mmap length"),
    "dtype": (lambda p: np.save(p / "images.npy", PIXELS[..., :1].astype(np.int8)), "images.npy: .*it holds int8 of shape"),
    "labels": (lambda p: np.save(p / "labels.npy", LABELS[:3]), "labels.npy: its labels must be 40 integers from 0 to"),
    "pickle": (lambda p: np.save(p / "labels.npy", np.array([Payload()])), "labels.npy: cannot be read .*Python objects"),
    "record": (lambda p: os.truncate(p / "packed.json", 9), "packed.json: cannot be read"),
    "name": (lambda p: edit(p, name=""), "packed.json: name must not be empty, got ''"),
    "kind": (lambda p: edit(p, kind="sequences"), "holds sequences; give it to reviver lstm train"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_one_clear_line(
    name: str, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    damage, message = DAMAGE[name]
    damage(packed)
    remedy = "" if name == "kind" else ".*; restore the folder, or pack the data again$"
    with pytest.raises(DataError, match=message + remedy):
        load_images(str(packed), SIZE)
    capsys.readouterr()
    assert main(["gan", "train", "--data", str(packed), "--image-size", str(SIZE), "--out", "run"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not {"run", "was-run"} & {path.name for path in tmp_path.iterdir()}


def test_wrong_offsets_and_labels_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", x=np.zeros((2, 3)), y=[0, 1])
    cases = {
        "offsets must increase from 0 to 6": ("offsets", [[1, 3, 6], [0, 7, 6], [0, 0, 6], [0, 1, 6]]),
        "labels must be 2 indices of the 2 classes": ("labels", [[0, 0], [0, 2], [0, 1, 1]]),
    }
    for message, name, values in ((text, name, one) for text, (name, arrays) in cases.items() for one in arrays):
        folder = tmp_path / f"{name}{values}"
        pack_sequences(tmp_path / "two.npz", folder)
        np.save(folder / f"{name}.npy", np.array(values))
        with pytest.raises(DataError, match=f"{message}.*; restore the folder, or pack the data again$"):
            PackedTable.open(folder)


def test_images_are_not_taken_for_sequences_or_for_another_size(packed: Path) -> None:
    with pytest.raises(DataError, match="holds images; give it to reviver gan train"):
        CustomTask(lstm_config(packed))
    with pytest.raises(ConfigError, match=r"image_size must be 6 for .*, which was packed with images of 6 x 6, got 8"):
        load_images(str(packed), 8)


# Writing


def test_a_signal_or_a_damaged_source_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number, source = signal.SIGTERM, tmp_path / "folder"
    save_folder(source)
    for moment, name in ((np.lib.format, "write_array_header_1_0"), (ImageOps, "exif_transpose")):
        with monkeypatch.context() as patch:
            patch.setattr(moment, name, lambda *_: signal.raise_signal(number))
            assert main(["data", "pack", str(source), "--out", str(tmp_path / "packed")]) == 128 + number
        assert capsys.readouterr().err.splitlines()[-1].endswith(f"stopped by {number.name}; nothing was written")
    (source / "test" / "dogs" / "6.png").write_bytes(b"\x89PNG no")
    with pytest.raises(DataError, match=r"6\.png: cannot be read"):
        pack_images(str(source), tmp_path / "packed", SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
