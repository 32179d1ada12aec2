"""Packed data: the format, the round trip against the unpacked loaders, training on it, and damaged folders."""

import hashlib
import json
import os
import shutil
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from reviver.cli import main
from reviver.data.images.image_files import class_folders
from reviver.data.images.image_set import ImageSet, load_images, load_test_images
from reviver.data.images.pack import pack_images
from reviver.data.packed import folder as packed_folder
from reviver.data.packed import order as packed_order
from reviver.data.packed.folder import checksum_of, is_packed
from reviver.data.packed.order import WINDOW_BLOCKS, epoch_order, equal_blocks, unequal_blocks
from reviver.data.sequences.packed import PackedExamples, PackedTable, pack_sequences
from reviver.data.sequences.task import CustomTask
from reviver.errors import ConfigError, DataError, Interrupted, RunFolderError
from reviver.gan.scores.reference_stats import image_content
from reviver.gan.step_options import StepResult
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from reviver.runs.rng import make_rng
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training as gan
from reviver.train.lstm import training as lstm

SIZE = 6
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 9, SIZE, 3), dtype=np.uint8)
LABELS = np.arange(40) % 3
BLOCK = 5 * SIZE * SIZE
"""Size of a small block: five gray images."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks small, so that small data has many."""
    for function in (packed_order.equal_blocks, packed_order.unequal_blocks):
        monkeypatch.setattr(function, "__defaults__", (BLOCK,))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Return a packed folder of 40 gray images with labels."""
    np.savez(tmp_path / "gray.npz", images=PIXELS[..., 0], labels=LABELS)
    pack_images(str(tmp_path / "gray.npz"), tmp_path / "packed", SIZE)
    return tmp_path / "packed"


@pytest.fixture
def packed_series(tmp_path: Path) -> Path:
    """Return a packed folder of 60 sequences of two channels; its source lies beside it."""
    save_series(tmp_path / "series.npz")
    pack_sequences(tmp_path / "series.npz", tmp_path / "packed-series")
    return tmp_path / "packed-series"


def save_series(path: Path) -> None:
    x = RNG.normal(3, 2, (60, 12, 2)).astype(np.float32)
    np.savez(path, x=x, y=np.array(["a", "b", "c"])[LABELS[:20]].tolist() * 3, lengths=RNG.integers(1, 10, 60))


# Sources


def save_folder(path: Path) -> None:
    for split in ("train", "test"):
        for index, image in enumerate(PIXELS[:7]):
            folder = path / split / ("cats" if index % 2 else "dogs")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{index}.png")


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">{1 + array.ndim}I", 0x800 | array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def save_idx(path: Path) -> None:
    path.mkdir()
    for prefix in ("train", "t10k"):
        write_idx(path / f"{prefix}-images-idx3-ubyte", PIXELS[..., 0])
        write_idx(path / f"{prefix}-labels-idx1-ubyte", LABELS.astype(np.uint8))


SOURCES: dict[str, Callable[[Path], None]] = {
    "folder": save_folder,
    "idx": save_idx,
    "bytes.npy": lambda path: np.save(path, PIXELS),
    "fortran.npy": lambda path: np.save(path, np.asfortranarray(PIXELS)),
    "floats.npy": lambda path: np.save(path, PIXELS.astype(np.float64) / 255),
    "centered.npy": lambda path: np.save(path, PIXELS[..., 0].astype(np.float32) / 127.5 - 1),
    "set.npz": lambda path: np.savez(path, images=PIXELS, labels=LABELS, test_images=PIXELS, test_labels=LABELS),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("chunk_bytes", [1 << 25, 500])
def test_packed_images_are_those_of_the_source(
    name: str, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reviver.data.images.pack.CHUNK_BYTES", chunk_bytes)
    SOURCES[name](tmp_path / name)
    out = tmp_path / "packed"
    assert main(["data", "pack", str(tmp_path / name), "--image-size", str(SIZE), "--out", str(out), "--quiet"]) == 0
    loads: list[Callable[[str, int], ImageSet]] = [load_images]
    if "npy" in name:
        with pytest.raises(DataError, match="no test images to compare with; pack a source that has them"):
            load_test_images(str(out), SIZE)
    else:
        loads.append(load_test_images)
    for load in loads:
        expected, found = load(str(tmp_path / name), SIZE), load(str(out), SIZE)
        assert torch.equal(found.images, expected.images)
        assert (found.name, found.sha256, len(found)) == (expected.name, expected.sha256, len(expected))
        assert (found.labels is None) == (expected.labels is None)
        assert found.labels is None or torch.equal(found.labels, expected.labels)
    assert class_folders(out) == class_folders(tmp_path / name)


def test_packed_arrays_are_plain_npy_files(packed: Path, packed_series: Path) -> None:
    assert np.array_equal(np.load(packed / "images.npy")[:, 0], load_images(str(packed), SIZE).images[:, 0])
    assert np.array_equal(np.load(packed / "labels.npy"), LABELS)
    offsets = np.load(packed_series / "offsets.npy")
    assert np.load(packed_series / "sequences.npy").shape == (offsets[-1], 2)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_packed_sequences_are_those_of_the_file(suffix: str, tmp_path: Path) -> None:
    path, out = tmp_path / f"series.{suffix}", tmp_path / "packed"
    texts = [" ".join(map(str, range(1, 2 + index % 7))) for index in range(30)]
    labels = [f"k{index % 3}" for index in range(30)]
    if suffix == "csv":
        path.write_text("digits,kind\n" + "".join(f"{x},{y}\n" for x, y in zip(texts, labels, strict=True)))
    elif suffix == "parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"digits": texts, "kind": labels}), path)
    else:
        save_series(path)
    columns = [] if suffix == "npz" else ["--sequence-column", "digits", "--label-column", "kind"]
    assert main(["data", "pack", str(path), "--out", str(out), "--quiet", *columns]) == 0
    config = LSTMConfig(task="custom", data=str(path), sequence_column="digits", label_column="kind")
    expected = CustomTask(config)
    found = CustomTask(LSTMConfig(task="custom", data=str(out)))
    assert found.data.model_dump(exclude={"sha256"}) == expected.data.model_dump(exclude={"sha256"})
    for name in ("train", "validation"):
        one, other = expected.fixed_split(name, 2), found.fixed_split(name, 2)
        assert isinstance(other, PackedExamples)
        assert (len(one), one.steps) == (len(other), other.steps)
        assert torch.equal(one.block_edges, other.block_edges)
        for index in (slice(1, 3), torch.tensor([4, 0, 2])):
            for key in ("x", "lengths", "targets"):
                assert torch.equal(getattr(one[index], key), getattr(other[index], key))


# Order


@pytest.mark.parametrize("count", [1, 5, 16, 17, 192, 1000])
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_an_epoch_has_every_index_once_and_mixes_neighbours_only_within_a_window(count: int, rows: int) -> None:
    edges = equal_blocks(count, 1, rows)
    orders = [epoch_order("blocks", edges, make_rng(0, f"order/{epoch}")) for epoch in (0, 0, 1)]
    for order in orders:
        assert order.sort().values.tolist() == list(range(count))
        for window in order.split(WINDOW_BLOCKS * rows) if count % rows == 0 else ():
            assert len((window // rows).unique()) <= WINDOW_BLOCKS
    assert torch.equal(orders[0], orders[1])
    assert count < 16 or not torch.equal(orders[0], orders[2]), "it depends on the epoch"


def test_the_full_order_is_the_permutation_of_torch() -> None:
    expected = torch.randperm(100, generator=make_rng(3, "order/5"))
    assert torch.equal(epoch_order("full", equal_blocks(100, 1, 7), make_rng(3, "order/5")), expected)


def test_blocks_of_unequal_rows_have_about_the_block_size() -> None:
    ends = torch.tensor([10, 20, 30, 31, 95, 96, 97])
    assert unequal_blocks(ends, 32).tolist() == [0, 5, 6, 7]
    assert unequal_blocks(ends[:1], 32).tolist() == [0, 1]
    assert equal_blocks(7, 10, 32).tolist() == [0, 3, 6, 7]
    assert equal_blocks(2, 100, 32).tolist() == [0, 1, 2]


# Training


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(find_checkpoint(run / "checkpoints", "last") / "networks.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    expected, found = weights(one), weights(other)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    without_time = [[{**record, "seconds": 0} for record in RunFolder.open(run).read_metrics()] for run in (one, other)]
    assert without_time[0] == without_time[1]


def gan_config(data: Path, **changes: Any) -> GANConfig:
    values = {"image_size": SIZE, "epochs": 2, "batch_size": 8, "latent_size": 4, "log_every": 2, **changes}
    return GANConfig(data=str(data), eval_every=0, **values)


def lstm_config(data: Path, **changes: Any) -> LSTMConfig:
    return LSTMConfig(task="custom", data=str(data), **{"epochs": 2, "hidden_size": 4, "batch_size": 8, **changes})


@pytest.mark.parametrize("order", ["full", "blocks"])
def test_a_run_on_packed_images_equals_a_run_on_their_source(order: Any, packed: Path, tmp_path: Path) -> None:
    changes = {"order": order, "conditional": True, "packing": 2}
    gan.train(gan_config(tmp_path / "gray.npz", **changes), tmp_path / "one", device="cpu")
    gan.train(gan_config(packed, **changes), tmp_path / "other", device="cpu")
    assert_same_run(tmp_path / "one", tmp_path / "other")
    assert RunFolder.open(tmp_path / "one").record["data"] == RunFolder.open(tmp_path / "other").record["data"]


@pytest.mark.parametrize("order", ["full", "blocks"])
def test_a_run_on_packed_sequences_equals_a_run_on_their_file(order: Any, packed_series: Path, tmp_path: Path) -> None:
    lstm.train(lstm_config(tmp_path / "series.npz", order=order), tmp_path / "one", device="cpu")
    lstm.train(lstm_config(packed_series, order=order), tmp_path / "other", device="cpu")
    assert_same_run(tmp_path / "one", tmp_path / "other")


def test_the_orders_differ_and_generated_sequences_have_blocks_too(tmp_path: Path) -> None:
    for order in ("full", "blocks"):
        lstm.train(
            LSTMConfig(length=10, epochs=1, hidden_size=4, batch_size=16, data_size=200, order=order), tmp_path / order
        )
    full, blockwise = weights(tmp_path / "full"), weights(tmp_path / "blocks")
    assert any(not torch.equal(full[name], blockwise[name]) for name in full)


class Stopped:
    """Step of a GAN that sends SIGINT at the third call."""

    def __init__(self, step: Callable[..., StepResult]) -> None:
        self.step, self.calls = step, 0

    def __call__(self, *arguments: Any, **keywords: Any) -> StepResult:
        self.calls += 1
        if self.calls == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return self.step(*arguments, **keywords)


@pytest.mark.parametrize("order", ["full", "blocks"])
def test_a_resumed_run_goes_on_in_the_middle_of_the_order(
    order: Any, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = gan_config(packed, order=order)
    gan.train(config, tmp_path / "one", device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(gan, "gan_step", Stopped(gan.gan_step))
        with pytest.raises(Interrupted):
            gan.train(config, tmp_path / "other", device="cpu")
    gan.train(config, tmp_path / "other", device="cpu", resume=True)
    assert_same_run(tmp_path / "one", tmp_path / "other")


def test_the_cache_of_scores_knows_packed_images_by_their_checksum(packed: Path) -> None:
    assert image_content(load_images(str(packed), SIZE)).shape == (32,)


# Damage


def flip_byte(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def save_array(folder: Path, name: str, array: np.ndarray) -> None:
    """Replace an array, with a valid checksum."""
    np.save(folder / f"{name}.npy", array)
    arrays = json.loads((folder / "packed.json").read_text())["arrays"]
    described = {"shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
    edit_record(folder, arrays={**arrays, name: described})


def edit_record(folder: Path, **changes: Any) -> None:
    """Change packed.json, with a valid checksum."""
    record = json.loads((folder / "packed.json").read_text())
    record.update(changes)
    (folder / "packed.json").write_text(json.dumps({**record, "checksum": checksum_of(record)}))


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "sequences.npy", "offsets.npy"])
def test_a_changed_byte_is_found_before_training(name: str, packed: Path, packed_series: Path, tmp_path: Path) -> None:
    folder = packed if (packed / name).exists() else packed_series
    flip_byte(folder / name, -3)
    module, config = (gan, gan_config) if folder == packed else (lstm, lstm_config)
    with pytest.raises(DataError, match=rf"{name}: it has another checksum than when packed; restore the folder, or"):
        module.train(config(folder), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda p: os.truncate(p / "images.npy", 500),
        "images.npy: its header claims 1440 bytes and it holds 500",
    ),
    "longer": (lambda p: os.truncate(p / "images.npy", 5000), "images.npy: it has 5000 bytes instead of 1568"),
    "no file": (lambda p: (p / "labels.npy").unlink(), "labels.npy: it cannot be read .*No such file"),
    "header": (lambda p: flip_byte(p / "images.npy", 0), "images.npy: it cannot be read"),
    "dtype": (
        lambda p: np.save(p / "images.npy", PIXELS[..., :1].astype(np.int8)),
        "images.npy: it holds int8 of shape",
    ),
    "json": (lambda p: (p / "packed.json").write_text("{"), "packed: it cannot be read"),
    "json checksum": (
        lambda p: replace_text(p / "packed.json", '"gray"', '"gray"'),
        "packed.json: its checksum differs; restore the folder, or pack the data again",
    ),
    "format": (lambda p: edit_record(p, format=2), "packed.json: its format is not 1, which this version reads; rest"),
    "odd format": (lambda p: edit_record(p, format="x"), "packed.json: its format is not 1"),
    "unknown key": (lambda p: edit_record(p, extra=1), "packed.json: extra is unknown"),
    "kind": (lambda p: edit_record(p, kind="sequences"), "holds sequences; give it to reviver lstm train"),
    "no array": (lambda p: edit_record(p, arrays={}), "packed.json: must have the array images"),
    "shape": (
        lambda p: np.save(p / "images.npy", PIXELS),
        "images.npy: it holds uint8 of shape .*, not what packed.js",
    ),
    "order": (
        lambda p: np.save(p / "images.npy", np.asfortranarray(load_images(str(p), SIZE).images.numpy())),
        "images.npy: it holds uint8 of shape .*, not what packed.json describes",
    ),
    "pickle": (lambda p: np.save(p / "labels.npy", np.array([print])), "labels.npy: it holds Python objects"),
    "labels": (lambda p: save_array(p, "labels", LABELS[:39]), "labels.npy: its labels must be 40 integers from 0 to"),
    "link": (lambda p: link_away(p / "labels.npy"), "packed: it cannot be read .labels.npy is a link that leads out"),
}


def link_away(path: Path) -> None:
    target = path.parents[1] / "elsewhere.npy"
    shutil.move(path, target)
    path.symlink_to(target)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_one_clear_line(name: str, packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, message = DAMAGE[name]
    damage(packed)
    with pytest.raises(DataError, match=message):
        load_images(str(packed), SIZE)
    out = packed.parent / "run"
    assert main(["gan", "train", "--data", str(packed), "--image-size", str(SIZE), "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([1, 3, 6], "offsets must increase from 0 to 6"),
        ([0, 7, 6], "offsets must increase from 0 to 6"),
        ([0, 3, 3], "offsets must increase from 0 to 6"),
        ([0, 0, 6], "offsets must increase from 0 to 6"),
        ([0, 1, 6], "a sequence is longer than 3 steps"),
    ],
)
def test_wrong_offsets_are_refused(offsets: list[int], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", x=np.zeros((2, 3)), y=[0, 1])
    pack_sequences(tmp_path / "two.npz", tmp_path / "packed")
    save_array(tmp_path / "packed", "offsets", np.array(offsets))
    with pytest.raises(DataError, match=message):
        PackedTable.open(tmp_path / "packed")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_change_of_the_record_is_found(data: st.DataObject, packed: Path) -> None:
    path = packed / "packed.json"
    backup = packed.parent / "backup.json"
    if not backup.exists():
        shutil.copy(path, backup)
    content = bytearray(backup.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    path.write_bytes(content)
    try:
        same = json.loads(content) == json.loads(backup.read_bytes())
    except ValueError:
        same = False
    if same:
        load_images(str(packed), SIZE)
    else:
        with pytest.raises(DataError):
            load_images(str(packed), SIZE)


def test_images_and_sequences_are_not_confused(packed: Path, packed_series: Path) -> None:
    with pytest.raises(DataError, match="holds sequences; give it to reviver lstm train"):
        load_images(str(packed_series), SIZE)
    with pytest.raises(DataError, match="holds images; give it to reviver gan train"):
        CustomTask(lstm_config(packed))
    with pytest.raises(ConfigError, match=r"image_size must be 6 for .*, which was packed with images of 6 x 6, got 8"):
        load_images(str(packed), 8)


# Writing


def test_an_existing_folder_is_never_overwritten(packed: Path, packed_series: Path) -> None:
    before = (packed / "packed.json").read_bytes()
    for pack in (lambda: pack_images("mnist", packed), lambda: pack_sequences(packed.parent / "series.npz", packed)):
        with pytest.raises(
            RunFolderError, match="packed: exists already and is never overwritten; choose another --out"
        ):
            pack()
    assert (packed / "packed.json").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "some.npy", PIXELS)
    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", lambda *_: os.kill(os.getpid(), number))
    out = tmp_path / "packed"
    assert main(["data", "pack", str(tmp_path / "some.npy"), "--out", str(out)]) == 128 + number
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"stopped by {number.name}; nothing was written")
    assert [path.name for path in tmp_path.iterdir()] == ["some.npy"]


def test_a_damaged_source_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviver.data.images.pack.CHUNK_BYTES", 1)
    save_folder(tmp_path / "folder")
    (tmp_path / "folder" / "test" / "dogs" / "6.png").write_bytes(b"\x89PNG no")
    with pytest.raises(DataError, match=r"6\.png: it cannot be read"):
        pack_images(str(tmp_path / "folder"), tmp_path / "packed", SIZE)
    assert not is_packed(tmp_path / "packed")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_format_is_documented() -> None:
    assert all(f"{name}.npy" in str(packed_folder.__doc__) for name in packed_folder.LAYOUTS)
