"""Run folders and settings that do not fit, are damaged or have links that escape: each is one error, nothing is run."""

import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reviver.cli.app import main
from reviver.errors import RunFolderError
from reviver.run import load
from reviver.settings.gan import GANConfig
from reviver.settings.lstm import LSTMConfig
from reviver.train.gan import training
from reviver.train.lstm.training import train
from tests.damage import Payload, edit_json

CSV = "sequence,label\n" + "1 2,a\n2 1 3,b\n" * 10


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


# Run folders

RECORDS = {
    "hidden_size": ("lstm", {"config": {"hidden_size": 20}}, r"cannot be read \(.*size mismatch"),
    "latent_size": ("gan", {"config": {"latent_size": 9}}, r"cannot be read \(.*layers\.0\.weight: "),
    "no custom data": ("custom", {"data": None}, r"run\.json: data: must be an object, got None; the file is damaged, restore"),
    "classes": ("gan", {"config": {"conditional": True}, "data": {"num_classes": 10**12}}, "num_classes must be at most 1000, got 10+"),
    "fractions": ("custom", {"data": {"class_fractions": [0.5, 2.0]}}, r"data: class_fractions\.1 must be less than 1, got 2\.0"),
    "scale": ("custom", {"data": {"standardization": {"mean": [0.0], "scale": [0.0]}}}, r"scale\.0 must be greater than 0, got 0\.0"),
    "schema": ("gan", {"schema": True}, "schema must be"),
    "kind": ("gan", {"kind": "rnn"}, "kind must be lstm or gan, got 'rnn'"),
    "config": ("gan", {"config": []}, "config must be an object"),
    "rollbacks": ("gan", {"rollbacks": [{"step": "x", "quantity": "train loss", "back_to": 1}]}, r"rollbacks\.0\.step must be an integer"),
    "status": ("gan", {"status": "done"}, "status must be running, "),
    "unknown": ("gan", {"warmup": 3}, "warmup is unknown; remove it"),
    "sha256": ("gan", {"extractor_sha256": "0" * 63}, "extractor_sha256 must match"),
}  # fmt: skip


@pytest.mark.parametrize("case", RECORDS)
def test_what_does_not_fit_in_run_json_is_named(case: str, run: Callable[[str], Path]) -> None:
    kind, changes, problem = RECORDS[case]
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
    match = rf"lstm: .*{path.name} is a link that leads out of the folder; remove it from the run folder"
    before = {file: file.read_bytes() for file in folder.parent.rglob("*") if file.is_file()}
    with pytest.raises(RunFolderError, match=match):
        load(folder)
    with pytest.raises(RunFolderError, match=match):
        train(LSTMConfig(hidden_size=3, epochs=2, data_size=20), folder, device="cpu", resume=True)
    assert {file: file.read_bytes() for file in folder.parent.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("lstm/run.json", "lstm evaluate lstm"),
        ("lstm/checkpoints/step-000001.safetensors", "lstm evaluate lstm"),
        ("lstm/checkpoints/step-000001.safetensors", "lstm train --resume --out lstm"),
        ("lstm/snapshots/step-000001.safetensors", "explore lstm"),
        ("lstm/metrics.jsonl", "plot lstm --out curves"),
    ],
)
def test_a_damaged_file_of_a_run_is_one_line(
    name: str,
    command: str,
    run: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = run(name[: name.index("/")])
    monkeypatch.chdir(folder.parent)
    content = Path(name).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"%!PS-Adobe-3.0", b"[" * 100_000, pickle.dumps(Payload())):
        Path(name).write_bytes(damaged + b"\n")
        assert main(command.split()) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert re.fullmatch(f"error: {name}:.*; the file is damaged, restore it or train again", line)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


# Settings files

SETTINGS = {
    "not a number": ("max_norm = nan\n", "^a.toml: max_norm must be (greater than 0|a finite number), got nan$"),
    "a name twice": ("length = 5\nlength = 6\n", r"^a\.toml: cannot be read \(.*overwrite.*\); give a valid TOML"),
    "deep tables": ("length = " + "{a = " * 10_000, r"^a\.toml: cannot be read \(.*recursion.*\); give a valid TOML"),
    "another file": ('config = "more.toml"\n', "^a.toml: config is unknown"),
    "a name with a line break": ('"a\\nb" = 5\n', r"^a.toml: a\\nb is unknown"),
    "5000 digits": (f"length = {'9' * 5000}\n", r"^a\.toml: cannot be read"),
    "JSON NaN": ('{"max_norm": NaN}', r"^a\.json: max_norm must be (greater than 0|a finite number), got nan$"),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_a_hostile_settings_file_is_one_line(case: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, problem = SETTINGS[case]
    name = "a.json" if case.startswith("JSON") else "a.toml"
    Path(name).write_text(content)
    Path("more.toml").write_text("length = 7\n")
    assert main(["lstm", "train", "--config", name]) == 2
    line = capsys.readouterr().err
    assert re.search(problem, line.removeprefix("error: ").removeprefix("--"))
    assert (line.count("\n"), len(line) < 2000) == (1, True)
    assert sorted(path.name for path in here.iterdir()) == [name, "more.toml"]
