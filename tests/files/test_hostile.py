"""Hostile files: decompression bombs, false sizes, links and names that escape, pipes, and code. Each is one error."""

import gzip
import io
import json
import os
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from reviver.cli.app import main
from reviver.cli.settings import read_settings
from reviver.data.images import image_files
from reviver.data.images.image_set import load_images
from reviver.data.sequences import table
from reviver.data.sequences.reader import read_sequences
from reviver.errors import DataError, ReviverError, RunFolderError
from reviver.files import parquet
from reviver.files.cache import cached
from reviver.files.json import parse_json
from reviver.files.read import open_file, read_file, read_lines
from reviver.files.tensors import read_header
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.runs.checkpoint import load_networks
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training
from reviver.train.loading import load
from reviver.train.lstm.training import train
from tests.damage import edit_json, memory_limit, npy_claiming

CSV = "sequence,label\n" + "1 2,a\n2 1 3,b\n" * 10
IMAGES = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
GOLDEN = next(parent for parent in Path(__file__).parents if parent.name == "tests") / "golden"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny run of each kind: `lstm`, `custom` and `gan`."""
    home = tmp_path_factory.mktemp("trained")
    (home / "own.csv").write_text(CSV)
    np.save(home / "images.npy", np.random.default_rng(0).integers(0, 256, (4, 6, 6), dtype=np.uint8))
    train(LSTMConfig(hidden_size=3, epochs=1, data_size=20), home / "lstm", device="cpu")
    custom = LSTMConfig(task="custom", data=str(home / "own.csv"), hidden_size=2, epochs=1)
    train(custom, home / "custom", device="cpu")
    gan = GANConfig(data=str(home / "images.npy"), image_size=6, latent_size=4, epochs=1, batch_size=2, eval_every=0)
    training.train(gan, home / "gan", device="cpu")
    return home


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a run, given its kind."""
    return lambda kind: shutil.copytree(trained / kind, tmp_path / kind)


# Bombs and false sizes


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_claims(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
        file.write(struct.pack(">4I", 0x803, 2, 4, 4))
        for _ in range(200):
            file.write(bytes(1 << 20))
    with memory_limit(), pytest.raises(DataError, match="its header claims 32 bytes and it holds more"):
        load_images(str(tmp_path))


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "set.npy"])
def test_an_array_above_4_gib_is_refused_before_it_is_read(name: str, tmp_path: Path) -> None:
    path, side = tmp_path / name, 1 << 16
    with path.open("wb") as file:  # a sparse file takes no space on the disk
        file.write(
            npy_claiming(f"({side}, {side + 1}, 1)") if "npy" in name else struct.pack(">4I", 0x803, side, side + 1, 1)
        )
        file.truncate(file.tell() + side * (side + 1))
    with memory_limit(), pytest.raises(DataError, match=rf"4295\d+ bytes, the limit is {4 << 30}"):
        load_images(str(path if "npy" in name else tmp_path), 4)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for method, problem in (
        (zipfile.ZIP_DEFLATED, "x.npy: it has 30000000 bytes, the limit is 20000000"),
        (zipfile.ZIP_LZMA, "x.npy is compressed with a method that NumPy does not use"),
    ):
        with zipfile.ZipFile(tmp_path / "set.npz", "w", method) as archive, archive.open("x.npy", "w") as x:
            x.write(npy_claiming("(3, 10000000)"))
            for _ in range(3):
                x.write(bytes(10_000_000))
        monkeypatch.setattr(table, "MAX_BYTES", 20_000_000)
        with memory_limit(9), pytest.raises(DataError, match=problem):
            read_sequences(tmp_path / "set.npz", labeled=False)


def test_a_csv_row_is_limited_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set.csv"
    with path.open("wb") as file:
        file.write(b"sequence,label\n")
        file.truncate(1 << 30)
    with memory_limit(120), pytest.raises(DataError, match=r"row 2: it has more than \d+ characters; save long"):
        read_sequences(path)
    monkeypatch.setattr(table, "MAX_FIELD", 1000)
    monkeypatch.setattr(table, "MAX_ROW", 2000)
    path.write_text(CSV + '1,"\n",' * 1000)
    with pytest.raises(DataError, match=r"row 22: it has more than 2000 characters; save long sequences as \.npz"):
        read_sequences(path)


def test_an_archive_with_too_many_or_equal_names_is_refused(tmp_path: Path) -> None:
    def archive(*names: str) -> str:
        with zipfile.ZipFile(tmp_path / "set.npz", "w") as written:
            for name in names:
                stream = io.BytesIO()
                np.save(stream, IMAGES)
                written.writestr(zipfile.ZipInfo(name), stream.getvalue())
        return str(tmp_path / "set.npz")

    with pytest.raises(DataError, match=r"its list of arrays has \d+ bytes, the limit is 1048576"):
        load_images(archive(*(f"{number}" * 20 for number in range(12_000))))
    with pytest.raises(DataError, match=r"set\.npz: two of its arrays have the same name; replace the file"):
        load_images(archive("images.npy", "images"), 4)
    load_images(archive("../../images.npy"), 4)
    assert [file.name for file in tmp_path.iterdir()] == ["set.npz"], "a name is never a path"


# JSON and tensors


def test_json_is_strict() -> None:
    for text, problem in (
        ('{"a": 1, "b": {"c": 2, "c": 3}}', "it has the key 'c' twice"),
        ('{"a": {"b": NaN}}', "it has a number that is not finite, NaN, in b"),
        (f'{{"a": {2**63}}}', "it has an integer of more than 64 bits, 9223372036854775808, in a"),
        (f'{{"a": {"9" * 5000}}}', "it has an integer of more than 64 bits, 99999999999999999999, in a"),
        ('{"a": ' + "[" * 20 + "]" * 20 + "}", "it is deeper than 20 levels"),
        ("[1]", "it is not a JSON object"),
        ("", "Expecting value"),
    ):
        with pytest.raises(ValueError, match=re.escape(problem)):
            parse_json(text.encode())
    whole = {"a": [2**63 - 1, -(2**63) + 1, None, "ü"], "b": {"c": 1.5}}
    assert parse_json(json.dumps(whole).encode()) == whole
    deep = '{"a": ' + "[" * 19 + "]" * 19 + "}"
    assert parse_json(deep.encode()) == json.loads(deep)


def tensors_file(path: Path, header: str, length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header.encode() + bytes(16))
    return path


def entry(kind: str = '"F32"', shape: str = "[4]", offsets: str = "[0, 16]") -> str:
    return f'{{"dtype": {kind}, "shape": {shape}, "data_offsets": {offsets}}}'


TENSORS = {
    "overlap": (f'{{"a": {entry(shape="[2]", offsets="[0, 8]")}, "b": {entry(shape="[2]", offsets="[4, 12]")}}}', "invalid offset"),
    "beyond the end": (f'{{"a": {entry(shape="[9]", offsets="[0, 36]")}}}', "incomplete metadata, file not fully covered"),
    "many dimensions": (f'{{"a": {entry(shape=str([1] * 8 + [4]))}}}', "a.shape must have at most 8 entries"),
    "twice the same": (f'{{"a": {entry()}, "a": {entry()}}}', "it has the key 'a' twice"),
    "a dtype that we do not write": ('{"a": ' + entry('"BOOL"', "[16]") + "}", "a.dtype must be F64, F32"),
    "a key of no meaning": (f'{{"a": {entry()[:-1]}, "order": 1}}}}', "a.order is unknown"),
    "deep": ('{"a": ' + "[" * 100_000, "recursion limit exceeded"),
}  # fmt: skip


@pytest.mark.parametrize("case", TENSORS)
def test_every_tensor_reader_refuses_an_invalid_header(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, problem = TENSORS[case]
    path = tensors_file(tmp_path / "networks.safetensors", header)
    with pytest.raises(ValueError, match=re.escape(problem)):
        read_header(path)
    with pytest.raises(RunFolderError, match=r"networks\.safetensors: cannot be read \(.+\); the file is damaged"):
        load_networks(path, {"network": torch.nn.Linear(2, 1)})
    with pytest.raises(DataError, match=r"^extractor: .* is not the weights of an extractor"):
        FeatureExtractor.read(path)
    monkeypatch.setenv("REVIVER_CACHE", str(tmp_path))
    built = {"a": torch.ones(2)}
    assert cached("networks", lambda: built) is built
    assert torch.equal(cached("networks", dict)["a"], built["a"]), "the damaged file must be replaced"


def test_a_wrong_header_length_is_refused(tmp_path: Path) -> None:
    for length, problem in ((0, "invalid JSON in header"), ((1 << 24) + 1, "claims a length")):
        path = tensors_file(tmp_path / "a.safetensors", f'{{"a": {entry()}}}', length)
        with memory_limit(5), pytest.raises(ValueError, match=problem):
            read_header(path)


# Run folders

SIZES = {
    "hidden_size": ("lstm", {"config": {"hidden_size": 20}}, r"its weights do not fit the network of run.json \(.*W_out: "),
    "length_factor": (
        "lstm",
        {"config": {"curriculum": True, "length": 10**7, "length_factor": 1 + 1e-9}},
        "length_factor must give at most 10000 lengths"),
    "latent_size": ("gan", {"config": {"latent_size": 9}}, r"the generator of run.json \(.*layers\.0\.weight: "),
    "packing": ("gan", {"config": {"packing": 2}}, "packing is unknown; .*; the run folder was damaged or written by another version"),
    "no custom data": ("custom", {"data": None}, r"run\.json: data: must be an object, got None; the file is damaged, restore"),
    "classes": ("gan", {"config": {"conditional": True}, "data": {"num_classes": 10**12}}, "num_classes must be at most 1000, got 10+"),
    "equal classes": ("custom", {"data": {"classes": ["a", "a"]}}, "data: must have distinct classes, and as many class_fractions"),
    "fractions": ("custom", {"data": {"class_fractions": [0.5, 2.0]}}, r"data: class_fractions\.1 must be less than 1, got 2\.0"),
    "scale": ("custom", {"data": {"standardization": {"mean": [0.0], "scale": [0.0]}}}, r"scale\.0 must be greater than 0, got 0\.0"),
    "means": ("custom", {"data": {"standardization": {"mean": [1.0, 2.0], "scale": [1.0]}}}, "as many means as scales, got 2 and 1"),
    "channels": ("custom", {"data": {"standardization": {"mean": [0.5] * 9999, "scale": [1] * 9999}}}, "weight_ih_l0: "),
}  # fmt: skip


@pytest.mark.parametrize("case", SIZES)
def test_sizes_in_run_json_that_do_not_fit_are_named(case: str, run: Callable[[str], Path]) -> None:
    kind, changes, problem = SIZES[case]
    folder = run(kind)
    edit_json(folder / "run.json", **changes)
    with pytest.raises(RunFolderError, match=rf"^{re.escape(str(folder))}/.*{problem}") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["run.json", "checkpoints", "checkpoints/step*"])
@pytest.mark.parametrize("way", ["absolute", "relative", "dangling"])
def test_a_link_out_of_a_run_folder_is_refused_and_not_followed(
    name: str, way: str, run: Callable[[str], Path]
) -> None:
    folder = run("lstm")
    path, target = next(folder.glob(name)), folder.parent / "outside"
    shutil.move(path, target)
    path.symlink_to(os.path.relpath(target, path.parent) if way == "relative" else target)
    if way == "dangling":
        shutil.move(target, folder.parent / "elsewhere")
    match = rf"lstm: .*{path.name} is a link that leads out of the folder, or to nothing; remove it from the run folder"
    before = {file: file.read_bytes() for file in folder.parent.rglob("*") if file.is_file()}
    with pytest.raises(RunFolderError, match=match):
        load(folder)
    with pytest.raises(RunFolderError, match=match):
        train(LSTMConfig(hidden_size=3, epochs=2, data_size=20), folder, device="cpu", resume=True)
    assert {file: file.read_bytes() for file in folder.parent.rglob("*") if file.is_file()} == before


def test_internal_links_are_followed_and_circular_ones_refused(run: Callable[[str], Path]) -> None:
    folder = run("lstm")
    (folder / "newest").symlink_to("metrics.jsonl")
    shutil.move(folder / "checkpoints", folder / "kept")
    (folder / "checkpoints").symlink_to("kept")
    (folder.parent / "newest").symlink_to("lstm")
    load(folder.parent / "newest")
    (folder / "circle").symlink_to("circle")
    with pytest.raises(RunFolderError, match="circle is a link that leads out"):
        load(folder)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["run.json", "checkpoints/step-000001.safetensors", "pipe"])
def test_a_pipe_in_a_run_folder_is_refused_without_blocking(name: str, run: Callable[[str], Path]) -> None:
    folder = run("lstm")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(RunFolderError, match=f"lstm: {name} is neither a file nor a folder; remove it"):
        load(folder)


# Settings files

SETTINGS = {
    "not a number": ("max_norm = nan\n", "^a.toml: max_norm must be (greater than 0|a finite number), got nan$"),
    "a name twice": ("length = 5\nlength = 6\n", "^config a.toml is not valid TOML .*overwrite"),
    "deep tables": ("length = " + "{a = " * 10_000, "^config a.toml is not valid TOML .it is too deep"),
    "large": ("# " + "x" * (1 << 16), "^config a.toml cannot be read .it has 65538 bytes, the limit is 65536"),
    "another file": ('config = "more.toml"\n', "^a.toml: config is unknown"),
    "a name with a line break": ('"a\\nb" = 5\n', r"^a.toml: a\\nb is unknown"),
    "5000 digits": (f"length = {'9' * 5000}\n", "^config a.toml is not valid TOML"),
    "JSON NaN": ('{"length": NaN}', r"^config a\.json is not valid JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_a_hostile_settings_file_is_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content, problem = SETTINGS[case]
    name = "a.json" if case.startswith("JSON") else "a.toml"
    Path(name).write_text(content)
    Path("more.toml").write_text("length = 7\n")
    assert main(["lstm", "train", "--config", name]) == 2
    line = capsys.readouterr().err
    assert re.search(problem, line.removeprefix("error: ").removeprefix("--"))
    assert (line.count("\n"), len(line) < 2000) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "more.toml"]


# Parquet


def test_a_parquet_file_that_aborts_pyarrow_is_one_line() -> None:
    """The maximum definition level in this file is changed: pyarrow 26 aborts the process when it describes a column."""
    with pytest.raises(DataError, match=r"parquet: it cannot be read \(pyarrow ended by signal 6\); check or replace"):
        read_sequences(GOLDEN / "size_statistics.parquet")


def test_a_parquet_bomb_ends_at_the_memory_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set.parquet"
    table = pa.table({"sequence": ["0 " * 30_000_000], "label": ["a"]})
    pq.write_table(table, path, use_dictionary=False, compression="zstd")
    assert path.stat().st_size < 30_000
    monkeypatch.setattr(parquet, "MEMORY_BYTES", 50 << 20)
    with memory_limit(), pytest.raises(DataError, match=r"it cannot be read \(it needs more than 50 MiB of memory\)"):
        read_sequences(path)


CHILDREN = {
    "sys.exit(3)": r"pyarrow ended with status 3",
    "time.sleep(60)": r"reading takes more than 1 s",
    "print('d' + 8 * chr(127))": r"a part of it has more than 4294967296 bytes",
    r"print('d\2' + 7 * chr(0) + 'no')": r"(Not|not) .*|Expecting value.*",
}
"""Programs in place of the child, and the problem that the parent reports."""


@pytest.mark.parametrize("program", CHILDREN)
def test_whatever_the_parquet_child_does_is_one_line(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"sequence": [[1.0]], "label": ["a"]}), path)
    (tmp_path / "child.py").write_text("import sys, time\n" + program)
    monkeypatch.setattr(parquet, "CHILD", tmp_path / "child.py")
    monkeypatch.setattr(parquet, "MAX_SECONDS", 1.0 if "sleep" in program else 60.0)
    with memory_limit(), pytest.raises(DataError) as caught:
        read_sequences(path)
    problem = rf".*set\.parquet: it cannot be read \((.*{CHILDREN[program]}.*)\); check or replace the file"
    assert re.fullmatch(problem, str(caught.value))


# Pipes, devices and circular links in the data


@pytest.mark.timeout(60)
def test_an_image_folder_with_circular_links_pipes_and_devices_is_read(tmp_path: Path) -> None:
    for number in range(2):
        Image.fromarray(IMAGES[number]).save(tmp_path / f"{number}.png")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "itself.png").symlink_to("itself.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    assert torch.equal(load_images(str(tmp_path), 4).images[:, 0], torch.from_numpy(IMAGES))


READ: dict[str, Callable[[Path], object]] = {
    "train-images-idx3-ubyte": lambda path: load_images(str(path.parent)),
    "set.npz": lambda path: load_images(str(path)),
    "one.png": lambda path: image_files.read_images([path], (1, 8, 8)),
    **dict.fromkeys(("set.csv", "set.parquet", "more.npz"), read_sequences),
    "extractor.safetensors": FeatureExtractor.read,
    "a.toml": read_settings,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", READ)
def test_what_is_no_file_is_refused_without_blocking(name: str, tmp_path: Path) -> None:
    for number, make in enumerate((os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir)):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        make(path)
        problem = r"(?i)is no file|not a regular file|s a directory|holds no"
        with memory_limit(), pytest.raises(ReviverError, match=problem):
            READ[name](path)


def test_a_file_above_the_size_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 99 + b"\n")
    assert read_file(path, 100) == path.read_bytes()
    assert list(read_lines(path, 100, 100)) == [path.read_bytes()]
    for read in (lambda: read_file(path, 99), lambda: open_file(path, 99), lambda: list(read_lines(path, 100, 99))):
        with pytest.raises(OSError, match="it has 100 bytes, the limit is 99"):
            read()
    with pytest.raises(ValueError, match="a line has more than 99 bytes"):
        list(read_lines(path, 99, 100))
