"""Hostile files: decompression bombs, false sizes, links and names that escape, pipes, and code. Each is one error."""

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from reviver.cli.app import main
from reviver.errors import DataError, RunFolderError
from reviver.files.cache import cached
from reviver.files.json import parse_json
from reviver.files.read import open_file, read_file, read_lines
from reviver.files.tensors import read_header
from reviver.gan.scores.feature_extractor import FeatureExtractor
from reviver.run import load
from reviver.runs.checkpoint import load_networks
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training
from reviver.train.lstm.training import train
from tests.damage import edit_json, memory_limit

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
