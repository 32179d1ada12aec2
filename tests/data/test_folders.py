"""Data in a folder of .npy files: training on it is as on the same data in memory, and what is wrong is one clear line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reviver import load
from reviver.cli import main
from reviver.data.images.image_set import load_images
from reviver.runs.checkpoint import find_checkpoint
from reviver.runs.folder import RunFolder
from tests.damage import Payload

SIZE, COUNT, STEPS = 6, 40, 12
RNG = np.random.default_rng(0)
IMAGES = {
    "x": RNG.integers(0, 256, (COUNT, 3, SIZE, SIZE), dtype=np.uint8),
    "y": np.arange(COUNT) % 3,
    "x_test": RNG.integers(0, 256, (COUNT, 3, SIZE, SIZE), dtype=np.uint8),
    "y_test": np.arange(COUNT) % 3,
}
LENGTHS = RNG.integers(1, STEPS, COUNT)
SERIES = {
    "x": np.where(np.arange(STEPS)[:, None] < LENGTHS[:, None, None], RNG.normal(3, 2, (COUNT, STEPS, 2)), np.nan),
    "y": np.array(["a", "b"] * (COUNT // 2)),
    "lengths": LENGTHS,
}
GAN = "--epochs 2 --batch-size 8 --latent-size 4 --image-size 6 --conditional --eval-every 0 --batch-norm-samples 9 --quiet --data"
LSTM = "--task custom --epochs 2 --batch-size 8 --hidden-size 4 --quiet --data"


def save(folder: Path, arrays: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def train(kind: str, data: Path, out: Path) -> RunFolder:
    assert main([kind, "train", *(GAN if kind == "gan" else LSTM).split(), str(data), "--out", str(out)]) == 0
    return RunFolder.open(out)


@pytest.mark.parametrize("kind", ["gan", "lstm"])
def test_a_run_on_a_folder_equals_a_run_in_memory(kind: str, tmp_path: Path) -> None:
    arrays = IMAGES if kind == "gan" else SERIES
    renamed = {"x": "images", "y": "labels", "x_test": "test_images", "y_test": "test_labels"} if kind == "gan" else {}
    np.savez(tmp_path / "data.npz", **{renamed.get(name, name): array for name, array in arrays.items()})
    folder = save(tmp_path / "data", arrays)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    runs = [train(kind, data, tmp_path / data.name.replace("data", "run")) for data in (tmp_path / "data.npz", folder)]
    one, other = (load_file(find_checkpoint(run.checkpoints, "last")) for run in runs)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    losses = [[{**record, "seconds": 0} for record in run.read_metrics()] for run in runs]
    assert losses[0] == losses[1]
    found = [run.record["data"] for run in runs]
    if kind == "gan":
        assert found[0] == found[1], "the name and the digest of the images"
        test = load_images(str(folder), SIZE, "test")
        assert torch.equal(test.images, torch.from_numpy(IMAGES["x_test"]))
        assert test.labels is not None
        assert test.labels.tolist() == IMAGES["y_test"].tolist()
    else:
        assert {**found[0], "name": "", "sha256": ""} == {**found[1], "name": "", "sha256": ""}
        scores = [load(run.path).evaluate() for run in runs]
        assert scores[0] == scores[1]
        predicted = [tmp_path / f"{run.path.name}.csv" for run in runs]
        for data, out in zip((tmp_path / "data.npz", folder), predicted, strict=True):
            assert main(["lstm", "predict", str(runs[0].path), str(data), "--out", str(out)]) == 0
        assert predicted[0].read_text() == predicted[1].read_text()
        np.save(folder / "lengths.npy", np.full(COUNT, 1))
        assert main(["lstm", "evaluate", str(runs[1].path)]) == 2, "other data"
        np.save(folder / "lengths.npy", LENGTHS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "nothing is written to the data"


def put(name: str, value: Any) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / f"{name}.npy", value)


WRONG_IMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda folder: os.truncate(folder / "x.npy", 500), "x.npy: cannot be read (mmap length"),
    "dtype": (put("x", IMAGES["x"].astype(np.int8)), "x.npy: it holds int8 of shape [40, 3, 6, 6]; save bytes"),
    "size": (put("x", IMAGES["x"][..., :5]), "x.npy: it holds uint8 of shape [40, 3, 6, 5]; save bytes [N, 6, 6]"),
    "labels": (put("y", IMAGES["y"][:3]), "y.npy: its labels must be 40 integers from 0 to"),
    "pickle": (put("y", np.array([Payload()])), "y.npy: cannot be read (Array can't be memory-mapped: Python objects"),
}
WRONG_SERIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no labels": (lambda folder: (folder / "y.npy").unlink(), "there is no array 'y' among 'x', 'lengths'"),
    "no numbers": (put("x", SERIES["x"].astype(str)), "x is '<U32' of the shape [40, 12, 2]"),
    "not finite": (put("x", SERIES["x"] * np.inf), "x.npy: x[0] has NaN, an infinite number or one too large"),
    "byte order": (put("x", SERIES["x"].astype(">f4")), "x.npy: cannot be read (given numpy array has byte order"),
    "lengths": (put("lengths", LENGTHS * 0), "lengths.npy: its numbers go from 0 to 0; x has 12 steps: give lengths"),
    "more lengths": (put("lengths", LENGTHS[:3]), "lengths is 'int64' of the shape [3]; give [40] integers"),
    "a label": (put("y", np.array(["a"] * 39 + [""])), "y.npy: y[39]: the label is missing"),
}


@pytest.mark.parametrize(
    ("kind", "name"), [*(("gan", name) for name in WRONG_IMAGES), *(("lstm", name) for name in WRONG_SERIES)]
)
def test_what_is_wrong_with_a_folder_is_one_line(
    kind: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = (WRONG_IMAGES if kind == "gan" else WRONG_SERIES)[name]
    folder = save(tmp_path / "data", IMAGES if kind == "gan" else SERIES)
    damage(folder)
    arguments = [*(GAN if kind == "gan" else LSTM).split(), str(folder), "--out", str(tmp_path / "run")]
    assert main([kind, "train", *arguments]) == 2
    text = capsys.readouterr().err
    assert (message in text, text.count("\n")) == (True, 1), text
    assert not (tmp_path / "run").exists()
