"""Commands that use a run: evaluation, predictions, traces, samples, interpolations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import reviver
from reviver.runs.folder import RunFolder
from reviver.show import trace_figures
from tests.cli.tiny import TINY_LSTM, Run


def result_of(run: Run, arguments: str) -> Any:
    """Return the result of a command, whose --json is one line on stdout."""
    done = run(f"{arguments} --json")
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    return json.loads(done.out)


def test_evaluate(run: Run) -> None:
    metrics = RunFolder.open("l").read_metrics()
    result = result_of(run, "lstm evaluate l --length 3 --length 4 --length 2 --size 50")
    rows = [(row["length"], row["size"], row["origin"]) for row in result["results"]]
    assert rows == [(3, 20, "validation set of the run"), (4, 50, "fresh palindromes"), (2, 10, "fresh palindromes")]
    at_trained_length = result["results"][0]
    assert at_trained_length["accuracy"] == metrics[-1]["validation_accuracy"]
    assert at_trained_length["loss"] == pytest.approx(metrics[-1]["validation_loss"])
    text = run("lstm evaluate l").out
    assert "chance is 10%" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(("digits", "checkpoint"), [("1 2", "last"), (" 1, 2\n", "best"), ("12", "last")])
def test_predict(digits: str, checkpoint: str, run: Run) -> None:
    result = result_of(run, f"lstm predict l '{digits}' --checkpoint {checkpoint}")
    assert result["digits"] == [1, 2]
    assert result["probabilities"][result["digit"]] == max(result["probabilities"])
    with torch.no_grad():
        logits = reviver.load("l", checkpoint=checkpoint).network(torch.tensor([[[1.0], [2.0]]]))
    assert result["probabilities"] == pytest.approx(logits.softmax(1)[0].tolist())
    assert result_of(run, "lstm predict l 9876543210")["digits"] == [*range(9, -1, -1)]
    text = run("lstm predict l '1 2 3'").out
    assert text.startswith("next digit after 1 2 3: ")
    assert text.endswith("the network was trained on 2 digits, got 3\n")


def test_trace(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells: list[int] = []
    plot = trace_figures.trace_figure
    monkeypatch.setattr(trace_figures, "trace_figure", lambda *given: cells.append(given[2]) or plot(*given))
    train = f"lstm train {TINY_LSTM} --num-layers 2 --bidirectional true --out {tmp_path / 'deep'} --quiet"
    assert run(train).code == 0
    monkeypatch.chdir(tmp_path)
    path = Path("new", "trace.png")
    options = f"'1 2 2' --checkpoint best --out {path} --layer 1 --direction backward"
    result = result_of(run, f"lstm trace deep {options}")
    assert cells == [1]
    prediction = result_of(run, "lstm predict deep '1 2 2' --checkpoint best")
    with Image.open(path) as image:
        assert image.width > 1000
    assert result["out"] == str(path)
    assert (result["digits"], result["target"], result["digit"]) == ([1, 2, 2], 1, prediction["digit"])
    assert result["probabilities"][-1] == pytest.approx(prediction["probabilities"], abs=1e-6)
    assert [len(row) for row in result["probabilities"]] == [10, 10, 10]
    assert result["loss"] == pytest.approx(-np.log(prediction["probabilities"][1]), abs=1e-5)
    places = [(layer["layer"], layer["direction"]) for layer in result["layers"]]
    assert places == [(1, "forward"), (1, "backward"), (2, "forward"), (2, "backward")]
    for layer in result["layers"]:
        assert len(layer["gradient_h"]) == len(layer["gradient_c"]) == 3


def test_samples_can_be_regenerated_from_their_latents(run: Run, tmp_path: Path) -> None:
    result = result_of(run, f"gan sample g --num-samples 30 --seed 4 --out {tmp_path / 'samples.npz'}")
    assert result == {"out": str(tmp_path / "samples.npz"), "shape": [30, 1, 8, 8], "seed": 4}
    with np.load(tmp_path / "samples.npz") as arrays:
        assert sorted(arrays) == ["images", "latents"]
        images, latents = arrays["images"], arrays["latents"]
    assert (images.dtype, images.shape) == (np.float32, (30, 1, 8, 8))
    assert (latents.dtype, latents.shape) == (np.float32, (30, 8))
    assert -1 <= images.min() < images.max() <= 1
    with torch.no_grad():
        regenerated = reviver.load("g").generator(torch.from_numpy(latents))
    np.testing.assert_allclose(images, regenerated.numpy(), rtol=1e-5, atol=1e-6)


def test_a_grid_of_samples_which_the_seed_chooses(run: Run, tmp_path: Path) -> None:
    for name, seed in (("new/a", "--seed 0"), ("b", ""), ("c", "--seed 1")):
        assert run(f"gan sample g {seed} --out {tmp_path / name}.png").out == f"{tmp_path / name}.png\n"
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in ("new/a", "b", "c"))
    assert a == b, "the run's seed is 0"
    assert a != c
    with Image.open(tmp_path / "c.png") as image:
        assert (image.mode, image.width) == ("L", image.height)
    for suffix, start in ((".pdf", b"%PDF"), (".svg", b"<?xml")):
        assert run(f"gan sample g --out {tmp_path / 'grid'}{suffix}").code == 0
        assert (tmp_path / f"grid{suffix}").read_bytes().startswith(start)
