"""Commands that use a run: evaluation, predictions, traces, samples, interpolations."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reviver
from reviver.runs.folder import RunFolder
from tests.cli.tiny import TINY_LSTM, Run


def test_results_as_json_are_one_line_on_stdout(run: Run, tmp_path: Path) -> None:
    for arguments in (
        "lstm evaluate l --length 3 --length 5",
        "lstm predict l '1 2'",
        f"lstm trace l '1 2' --out {tmp_path / 'trace.pdf'}",
        f"gan sample g --out {tmp_path / 'grid.png'}",
        f"gan interpolate g --out {tmp_path / 'strip.pdf'}",
    ):
        result = run(f"{arguments} --json")
        assert result.code == 0, result.err
        assert result.out.count("\n") == 1
        assert isinstance(json.loads(result.out), dict)


def test_evaluate(run: Run) -> None:
    metrics = RunFolder.open("l").read_metrics()
    result = json.loads(run("lstm evaluate l --length 3 --length 4 --length 2 --size 50 --json").out)
    assert [row["length"] for row in result["results"]] == [3, 4, 2]
    assert [row["size"] for row in result["results"]] == [20, 50, 10]
    assert [row["origin"] for row in result["results"]] == [
        "validation set of the run",
        "fresh palindromes",
        "fresh palindromes",
    ]
    assert all(row["chance"] == 0.1 for row in result["results"])
    at_trained_length = result["results"][0]
    assert at_trained_length["accuracy"] == metrics[-1]["validation_accuracy"]
    assert at_trained_length["loss"] == pytest.approx(metrics[-1]["validation_loss"])
    text = run("lstm evaluate l").out
    assert text.count("\n") == 4
    assert "chance is 10%" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "validation set of the run" in text


@pytest.mark.parametrize(
    ("task", "options", "trained", "header", "row"),
    [
        ("parity", "--length 6", "", "accuracy of the class, chance is 50%; loss: cross-entropy", 0.6931),
        (
            "copy",
            "--length 30",
            "  accuracy of all steps of a sequence, loss: cross-entropy per step\n",
            "accuracy of all steps of a sequence, chance is 9.31e-08%; loss: cross-entropy per step",
            0.4159,
        ),
        (
            "adding",
            "--length 6",
            "  accuracy of numbers within 0.04, loss: squared error\n",
            "accuracy of numbers within 0.04, chance is 7.84%; loss: squared error",
            0.1667,
        ),
    ],
)
def test_evaluate_uses_chance_and_baseline_of_the_task(
    task: str, options: str, trained: str, header: str, row: float, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = run(f"lstm train --task {task} {options} --epochs 1 --hidden-size 8 --data-size 100 --out {out} --quiet")
    assert result.code == 0, result.err
    assert trained in result.out
    assert run(f"lstm evaluate {out} --size 20").out.splitlines()[:2] == header.split("; ")
    rows = json.loads(run(f"lstm evaluate {out} --size 20 --length 9 --length 30 --json").out)["results"]
    assert [(row["length"], row["size"], row["origin"]) for row in rows] == [
        (9, 20, "fresh sequences"),
        (30, 20, "fresh sequences"),
    ]
    assert rows[1]["baseline"] == pytest.approx(row, abs=1e-4)
    assert (rows[0]["baseline"] > rows[1]["baseline"]) == (task == "copy"), "its blanks are free"
    result = run(f"lstm predict {out} '1 2'")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: task must be palindrome to read digits, got {task}; measure this run by")


@pytest.mark.parametrize("digits", ["1 2", "1,2", "12", " 1, 2 "])
@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_predict(digits: str, checkpoint: str, run: Run) -> None:
    result = json.loads(run(f"lstm predict l '{digits}' --checkpoint {checkpoint} --json").out)
    assert result["digits"] == [1, 2]
    assert len(result["probabilities"]) == 10
    assert sum(result["probabilities"]) == pytest.approx(1)
    assert result["probabilities"][result["digit"]] == max(result["probabilities"])
    with torch.no_grad():
        logits = reviver.load("l", checkpoint=checkpoint).network(torch.tensor([[[1.0], [2.0]]]))
    assert result["probabilities"] == pytest.approx(logits.softmax(1)[0].tolist())


def test_predict_warns_about_an_untrained_length(run: Run) -> None:
    assert "trained on" not in run("lstm predict l '1 2'").out
    text = run("lstm predict l '1 2 3'").out
    assert text.startswith("next digit after 1 2 3: ")
    assert text.endswith("the network was trained on 2 digits, got 3\n")


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_trace(checkpoint: str, run: Run, tmp_path: Path) -> None:
    arguments = f"'1 2 2' --checkpoint {checkpoint}"
    result = json.loads(run(f"lstm trace l {arguments} --out {tmp_path / 'trace.png'} --json").out)
    prediction = json.loads(run(f"lstm predict l {arguments} --json").out)
    assert result["out"] == str(tmp_path / "trace.png")
    assert (result["digits"], result["target"], result["digit"]) == ([1, 2, 2], 1, prediction["digit"])
    assert result["probabilities"][-1] == pytest.approx(prediction["probabilities"], abs=1e-6)
    assert [len(row) for row in result["probabilities"]] == [10, 10, 10]
    assert result["loss"] == pytest.approx(-np.log(prediction["probabilities"][1]), abs=1e-5)
    (layer,) = result["layers"]
    assert (layer["layer"], layer["direction"]) == (1, "forward")
    assert len(layer["gradient_h"]) == len(layer["gradient_c"]) == 3
    with Image.open(tmp_path / "trace.png") as image:
        assert image.width > 1000


def test_trace_writes_trace_pdf_by_default(run: Run, workspace: Path, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        result = run(f"lstm trace {workspace / 'l'} '1 2'")
        assert (result.code, result.out) == (0, "trace.pdf\n")
        assert [path.name for path in tmp_path.iterdir()] == ["trace.pdf"]
        assert (tmp_path / "trace.pdf").read_bytes().startswith(b"%PDF")


def test_trace_of_a_layer_and_direction(run: Run, tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    assert run(f"lstm train {TINY_LSTM} --num-layers 2 --bidirectional true --out {deep} --quiet").code == 0
    figures = []
    for choice in ("", "--layer 2 --direction forward", "--layer 2 --direction backward", "--layer 1"):
        result = run(f"lstm trace {deep} '1 2' --out {tmp_path / 'new' / 'trace.svg'} {choice} --json")
        assert result.code == 0, result.err
        layers = [(layer["layer"], layer["direction"]) for layer in json.loads(result.out)["layers"]]
        assert layers == [(1, "forward"), (1, "backward"), (2, "forward"), (2, "backward")]
        figures.append((tmp_path / "new" / "trace.svg").read_bytes())
    assert figures[0] == figures[1]
    assert len(set(figures)) == 3


def test_samples_can_be_regenerated_from_their_latents(run: Run, tmp_path: Path) -> None:
    result = run(f"gan sample g --num-samples 30 --seed 4 --out {tmp_path / 'samples.npz'} --json")
    assert json.loads(result.out) == {"out": str(tmp_path / "samples.npz"), "shape": [30, 1, 8, 8], "seed": 4}
    with np.load(tmp_path / "samples.npz") as arrays:
        assert sorted(arrays) == ["images", "latents"]
        images, latents = arrays["images"], arrays["latents"]
    assert (images.dtype, images.shape) == (np.float32, (30, 1, 8, 8))
    assert (latents.dtype, latents.shape) == (np.float32, (30, 8))
    assert -1 <= images.min() < images.max() <= 1
    with torch.no_grad():
        regenerated = reviver.load("g").generator(torch.from_numpy(latents))
    np.testing.assert_allclose(images, regenerated.numpy(), rtol=1e-5, atol=1e-6)


def test_the_same_seed_gives_the_same_samples(run: Run, tmp_path: Path) -> None:
    for name, seed in (("a", "--seed 0"), ("b", ""), ("c", "--seed 1")):
        assert run(f"gan sample g {seed} --out {tmp_path / name}.png").code == 0
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b, "the run's seed is 0"
    assert a != c


def test_a_grid_of_samples(run: Run, tmp_path: Path) -> None:
    result = run(f"gan sample g --num-samples 25 --out {tmp_path / 'new' / 'grid.png'}")
    assert result.out == f"{tmp_path / 'new' / 'grid.png'}\n"
    with Image.open(tmp_path / "new" / "grid.png") as image:
        assert image.mode == "L"
        assert image.width == image.height
    for suffix, start in ((".pdf", b"%PDF"), (".svg", b"<?xml")):
        assert run(f"gan sample g --out {tmp_path / 'grid'}{suffix}").code == 0
        assert (tmp_path / f"grid{suffix}").read_bytes().startswith(start)


def test_an_interpolation(run: Run, tmp_path: Path) -> None:
    result = json.loads(run(f"gan interpolate g --path spherical --steps 3 --out {tmp_path / 'strip.pdf'} --json").out)
    assert result == {
        "out": str(tmp_path / "strip.pdf"),
        "path": "spherical",
        "seed": 0,
        "classes": None,
        "confidences": None,
    }
    assert (tmp_path / "strip.pdf").read_bytes().startswith(b"%PDF")
