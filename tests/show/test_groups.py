"""`reviver plot` and `reviver compare` of several runs: groups over seeds, against values by hand."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reviver.cli import main
from reviver.settings.lstm import LSTMConfig
from reviver.show.groups import comparison_curves, group_runs, read_runs
from reviver.train.lstm.training import train

CONFIG = LSTMConfig(hidden_size=4, epochs=2, data_size=60, length=3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two cells, of two seeds each."""
    path = tmp_path_factory.mktemp("compared")
    for cell in ("lstm", "rnn"):
        for seed in (0, 1):
            train(dataclasses.replace(CONFIG, cell=cell, seed=seed), path / f"{cell}-{seed}", device="cpu")
    return path


def last(run: Path, name: str) -> float:
    return float(json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])[name])


def test_runs_that_differ_only_in_the_seed_are_a_group(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(runs / f"{cell}-{seed}") for seed in (0, 1) for cell in ("lstm", "rnn")]
    assert main(["compare", *given, "--out", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    losses = {summary["measure"]: summary for summary in result["summaries"]}["last.validation_loss"]
    for setting in losses["settings"]:
        values = [last(runs / f"{setting['cell']}-{seed}", "validation_loss") for seed in (0, 1)]
        assert (setting["values"], setting["n"]) == (values, 2)
        assert (setting["mean"], setting["std"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert [setting["cell"] for setting in losses["settings"]] == ["lstm", "rnn"]
    assert main(["compare", *given, "--out", str(tmp_path), "--format", "png"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert re.split(" {2,}", header.strip())[:2] == ["cell", "best.validation_accuracy"]
    assert sorted(line.split()[0] for line in lines[:2]) == ["lstm", "rnn"]
    assert lines[-1] == str(tmp_path / "comparison.png")
    with Image.open(tmp_path / "comparison.png") as image:
        assert image.width > 1000


def test_bands_are_of_the_seeds(runs: Path) -> None:
    figure = comparison_curves(read_runs(sorted(runs.iterdir())))
    loss, accuracy = figure.axes
    for cell, line, band in zip(("lstm", "rnn"), loss.lines, loss.collections, strict=True):
        values = [last(runs / f"{cell}-{seed}", "validation_loss") for seed in (0, 1)]
        assert line.get_ydata()[-1] == pytest.approx(np.mean(values))
        low, high = np.sort(band.get_paths()[0].vertices[:, 1])[[0, -1]]
        assert low <= np.mean(values) - np.std(values, ddof=1) + 1e-6
        assert high >= np.mean(values) + np.std(values, ddof=1) - 1e-6
    assert loss.get_ylabel() == "mean ± std"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["cell = lstm (n = 2)", "cell = rnn (n = 2)", "chance"]
    assert accuracy.get_ylim() == (-0.02, 1.02)


def test_the_legend_has_other_names_and_losses_a_logarithmic_scale_on_demand(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = read_runs(sorted(runs.iterdir()))
    figure = comparison_curves(compared, ["ours", "Elman's"], log_loss=True)
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["ours (n = 2)", "Elman's (n = 2)"]
    assert [panel.get_yscale() for panel in figure.axes] == ["log", "linear"]
    assert [panel.get_yscale() for panel in comparison_curves(compared).axes] == ["linear", "linear"]
    given = [str(path) for path in sorted(runs.iterdir())]
    assert main(["compare", *given, "--labels", "ours", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: --labels must be 2, one for each of cell = lstm; cell = rnn, got 1\n"


def test_runs_of_a_changed_file_are_another_group(runs: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        path = Path(shutil.copytree(runs / f"lstm-{seed}", tmp_path / f"lstm-{seed}")) / "run.json"
        parts = {"cell": {"file": "my_cell.py", "sha256": str(seed) * 64}}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"parts": parts}))
    groups = group_runs(read_runs(sorted(tmp_path.iterdir())))
    assert [len(group) for group in groups.values()] == [1, 1]
    assert all("code_sha256" in name for name in groups)


def test_a_sweep_and_two_commands_compare_cells(
    here: Path, inline_sweeps: None, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = "epochs = 1\nhidden_size = 4\nlength = 3\ndata_size = 60\n"
    Path("cells.toml").write_text(
        f'command = "lstm train"\nseeds = 2\n[settings]\n{settings}[grid]\ncell = ["rnn", "lstm", "gru"]\n'
    )
    assert main(["sweep", "cells.toml", "--jobs", "1", "--quiet"]) == 0
    assert [*group_runs(read_runs(["runs/sweep-cells"]))] == ["cell = rnn", "cell = lstm", "cell = gru"], (
        "as in the file"
    )
    assert main(["compare", "runs/sweep-cells"]) == 0
    assert Path("runs/sweep-cells/comparison.png").exists()
    capsys.readouterr()
    assert main(["plot", "runs/sweep-cells", "--json"]) == 0
    files = ["runs/sweep-cells/curves.png"]
    assert json.loads(capsys.readouterr().out) == {"runs": ["runs/sweep-cells"], "files": files}
    assert Path(files[0]).exists()


def test_what_cannot_be_compared_is_refused_in_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = str(shutil.copytree(runs / "lstm-0", tmp_path / "copy"))
    empty: Any = shutil.copytree(runs / "lstm-0", tmp_path / "empty")
    (empty / "metrics.jsonl").write_text("")
    for given, problem in (
        ([str(runs / "lstm-0"), copy], "have the same settings and the seed 0; give one of them"),
        ([str(runs / "lstm-0"), str(empty)], "metrics.jsonl is empty"),
        ([str(tmp_path / "none")], "none"),
    ):
        assert main(["compare", *given, "--out", str(tmp_path)]) in (1, 2)
        error = capsys.readouterr().err.strip()
        assert problem in error
        assert error.count("\n") == 0
    assert not list(tmp_path.glob("comparison.*"))
