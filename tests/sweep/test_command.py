"""Sweep files and `reviver sweep`: axes, wrong files, results, failures, and sweeps that are interrupted or killed."""

import json
import os
import re
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver.cli import main
from reviver.cli.sweep import build_cells, sweep, to_words
from reviver.errors import ConfigError
from reviver.runs.folder import RunFolder
from reviver.settings.lstm import LSTMConfig
from reviver.sweep.spec import SweepFile, points_of
from tests.sweep.cells import wait_until

TINY = 'command = "lstm train"\n[settings]\nlength = 3\nepochs = 2\nhidden_size = 4\ndata_size = 200\n'


def axes_of(**content: Any) -> list[dict[str, Any]]:
    cells = build_cells(SweepFile.model_validate({"command": "lstm train", **content}), {})
    return [dict(cell.axes) for cell in cells]


# The file


RANDOM = {
    "samples": 30,
    "learning_rate": {"min": 1e-4, "max": 1e-2, "log": True},
    "hidden_size": {"min": 16, "max": 18},
    "optimizer": ["adam", "rmsprop"],
}


def test_random_samples_are_within_their_bounds_and_keep_their_values() -> None:
    points = axes_of(random={**RANDOM, "samples": 300})
    assert len(points) == 300
    rates = sorted(point["learning_rate"] for point in points)
    assert 1e-4 <= rates[0] < 1.2e-4
    assert 9e-3 < rates[-1] <= 1e-2
    assert 8e-4 < rates[150] < 1.2e-3, "the logarithm is uniform"
    assert {point["hidden_size"] for point in points} == {16, 17, 18}
    assert {type(point["hidden_size"]) for point in points} == {int}
    assert {point["optimizer"] for point in points} == {"adam", "rmsprop"}
    assert axes_of(random=RANDOM) == points[:30]
    points = points[:30]
    wider = axes_of(random={**RANDOM, "max_norm": {"min": 1.0, "max": 2.0}})
    assert [{name: point[name] for name in points[0]} for point in wider] == points
    assert axes_of(random={**RANDOM, "seed": 1}) != points


@given(low=st.integers(-50, 50), width=st.integers(1, 50), seed=st.integers(0, 100), log=st.booleans())
def test_random_integers_are_integers_within_their_bounds(low: int, width: int, seed: int, log: bool) -> None:
    low = abs(low) + 1 if log else low
    table = {"samples": 5, "seed": seed, "n": {"min": low, "max": low + width, "log": log}}
    points = points_of(SweepFile.model_validate({"command": "x", "random": table}))
    assert all(isinstance(point["n"], int) and low <= point["n"] <= low + width for point in points)


lists = st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=3)


@given(grid=lists, seeds=st.integers(1, 3))
def test_a_grid_has_all_combinations_once_and_seeds_change_fastest(grid: dict[str, list[int]], seeds: int) -> None:
    points = points_of(SweepFile.model_validate({"command": "x", "grid": grid, "seeds": seeds}))
    combinations = dict.fromkeys(product(*grid.values(), range(seeds)))
    assert points == [dict(zip([*grid, "seed"], values, strict=True)) for values in combinations]
    zipped = points_of(SweepFile.model_validate({"command": "x", "seeds": [3, 5], "zip": {"d": [5, 10], "e": [6, 12]}}))
    assert zipped == [{"d": d, "e": e, "seed": seed} for d, e in ((5, 6), (10, 12)) for seed in (3, 5)]


def test_options_become_words_of_the_command_line(tmp_path: Path) -> None:
    assert to_words("lstm train", {"curriculum": True, "learning_rate": 1e-3, "seed": 2}, tmp_path) == [
        *("lstm", "train", "--curriculum=true", "--learning-rate=0.001", "--seed=2"),
        *(f"--out={tmp_path / 'run'}", "--json", "--quiet"),
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    assert "--resume" in to_words("lstm train", {}, tmp_path)
    assert to_words("lstm evaluate", {"length": [5, 9], "run": "runs/a"}, tmp_path) == [
        *("lstm", "evaluate", "runs/a", "--length=5", "--length=9", "--json", "--quiet"),
    ]
    assert to_words("gan sample", {"run": "g", "class": 3}, tmp_path) == [
        *("gan", "sample", "g", "--class=3", f"--out={tmp_path / 'grid.png'}", "--json", "--quiet"),
    ]


WRONG = {
    "": "command is missing",
    "command = 5": "command must be text, got 5",
    'command = "lstm trian"': r"command 'lstm trian' is unknown; did you mean lstm train\?",
    'command = "sweep"': "command 'sweep' is unknown; choose from report, lstm train",
    'command = "lstm train"\ngrids = 1': r"grids is unknown; did you mean grid\?",
    'command = "lstm train"\npreset = "recall"': "preset is unknown; remove it",
    'command = "lstm train"\ngoal = "best"': "goal must be max or min, got 'best'",
    'command = "lstm train"\nseeds = 0': "seeds must be at least 1, got 0",
    'command = "lstm train"\nseeds = []': "seeds must have at least 1 value, got an empty list",
    'command = "lstm train"\nseeds = [1, "2"]': "seeds must be an integer, got '2'",
    'command = "report"\nseeds = 3\n[grid]\nfull = [true]\nbatch = [1]': "grid.batch is unknown; see reviver report --help",
    "[settings]\nlenght = 3\n": r"settings.lenght is unknown; did you mean length\?",
    '[settings]\nlength = "5"\n': "length must be an integer, got '5'",
    "[settings]\nout = 'x'\n": "settings.out must be left out, since the sweep sets it for each cell",
    "[settings]\nlength = 1\n": "length must be at least 2, got 1",
    "[settings]\npreset = 'foo'\n": "preset 'foo' is unknown; choose from original, onehot",
    "[grid]\nlearning_rate = []\n": "grid.learning_rate must have at least 1 value, got an empty list",
    "[grid]\nlearning_rate = 0.1\n": "grid.learning_rate must be a list, got 0.1",
    "[grid]\nlearning_rate = [0.1, -1]\n": "learning_rate must be greater than 0, got -1",
    "[grid]\nhidden-size = [1]\n": r"grid.hidden-size is unknown; did you mean hidden_size\?",
    "[grid]\nlength = [3]\n[zip]\nlength = [4]\n": "zip.length is given twice, also by grid.length; keep one of them",
    "seeds = 2\n[settings]\nseed = 3\n": "seeds is given twice, also by settings.seed; keep one of them",
    "[zip]\nepochs = [1, 2]\nlength = [3]\n": "zip must have lists of one length, but epochs has 2, length has 1 values",
    "[zip]\nepochs = []\n": "zip.epochs must have at least 1 value, got an empty list",
    "[random]\nlength = [3]\n": "random.samples is missing",
    "[random]\nsamples = 0\nlength = [3]\n": "random.samples must be at least 1, got 0",
    "[random]\nsamples = 2\n": "random must have an option besides samples and seed",
    "[random]\nsamples = 2\nlength = 3\n": "random.length must be a list of choices, or have min and max, got 3",
    "[random]\nsamples = 2\nlength = []\n": "random.length must have at least 1 value, got an empty list",
    "[random]\nsamples = 2\nlength = {min = 3}\n": "random.length.max is missing",
    "[random]\nsamples = 2\nlength = {min = 3, max = 2}\n": "random.length.max must be greater than min 3, got 2",
    "[random]\nsamples = 2\nlength = {min = 3, max = 4, mx = 5}\n": r"random.length.mx is unknown; did you mean max\?",
    "[random]\nsamples = 2\nlength = {min = 0, max = 5, log = true}\n": "random.length.min must be greater than 0 with log",
    "[random]\nsamples = 2\nlength = {min = 3.5, max = 5}\n": "length must be an integer, got ",
    f"[grid]\nseed = {list(range(400))}\nlength = {list(range(2, 402))}\n": (
        "a sweep must have at most 100000 cells, got 160000; shorten its axes"
    ),
    "[settings]\ncell = 'rnn'\n[grid]\nnum_layers = [2, 3]\n": "cell rnn supports one layer and one direction",
    "[evaluate]\ncommand = 'gan evaluate'\n": "evaluate.command must be a command for a run, such as lstm evaluate",
    "[evaluate]\ncommand = 'lstm train'\n": "evaluate.command must be a command for a run, such as lstm evaluate",
    "[evaluate]\ncommand = 'lstm evaluate'\nsettings = {lenght = 3}\n": r"evaluate.settings.lenght is unknown; did you mean length\?",
    "[evaluate]\ncommand = 'lstm evaluate'\nsettings = {run = 'a'}\n": "evaluate.settings.run is unknown",
    "[1": "is not valid TOML",
    "a = " + "[" * 60_000: "is not valid TOML",
    "/": r"cannot be read \(",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_file_is_refused_in_one_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    has_command = not text or text.startswith("command")
    if text == "/":
        Path("wrong.toml").mkdir()
    else:
        Path("wrong.toml").write_text(text if has_command else f'command = "lstm train"\n{text}')
    with pytest.raises(ConfigError, match=f"^wrong.toml: {WRONG[text]}") as caught:
        sweep("wrong.toml")
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


@pytest.mark.usefixtures("inline")
def test_a_sweep_writes_a_table_a_summary_and_a_figure(capsys: pytest.CaptureFixture[str]) -> None:
    text = TINY.replace("[settings]", "seeds = 2\n[settings]") + "[grid]\nlearning_rate = [1e-3, 1e-2]\n"
    Path("rates.toml").write_text(
        text + '[evaluate]\ncommand = "lstm evaluate"\nsettings = {length = [3, 4], size = 50}\n'
    )
    assert main(["sweep", "rates.toml", "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["cells"], result["done"], result["failed"]) == (4, 4, 0)
    assert [row["learning_rate"] for row in result["summary"]["settings"]] == [1e-3, 1e-2]
    assert result["summary"]["measure"] == "evaluate.results.0.accuracy"
    for name in ("table.parquet", "summary.json", "summary.pdf", "summary.png"):
        assert Path("runs/sweep-rates", name).stat().st_size > 0
    assert main(["sweep", "rates.toml", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    Path("rates.toml").write_text(f'measure = "best.accurac"\n{Path("rates.toml").read_text()}')
    assert main(["sweep", "rates.toml", "--quiet"]) == 2
    assert "measure 'best.accurac' is not in the results; " in capsys.readouterr().err
    run = RunFolder.open(next(Path("runs/sweep-rates/cells").glob("*/run")))
    assert run.status == "finished"
    assert run.read_config(LSTMConfig).hidden_size == 4


@pytest.mark.usefixtures("inline")
def test_a_cell_with_invalid_settings_fails_and_the_others_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mixed.toml").write_text(TINY + 'cell = "rnn"\n[grid]\nnum_layers = [1, 2]\n')
    assert main(["sweep", "mixed.toml", "--out", "s", "--quiet"]) == 1
    captured = capsys.readouterr()
    assert "cell rnn supports one layer and one direction" in captured.out
    assert re.fullmatch(
        r"error: 1 of 2 cells failed; see s/cells/\w+, and run them again with --retry-failed\n", captured.err
    )
    outcomes = [json.loads(path.read_text()) for path in Path("s/cells").glob("*/outcome.json")]
    assert sorted(outcome["status"] for outcome in outcomes) == ["done", "failed"]


def test_settings_of_the_command_line_reach_all_cells() -> None:
    file = {"command": "lstm train", "settings": {"length": 3}}
    (cell,) = build_cells(SweepFile.model_validate(file), {"device": "cpu"})
    assert cell.arguments["settings"] == {"device": "cpu", "length": 3}
    file["settings"] = {"device": "cpu"}
    with pytest.raises(ConfigError, match=r"settings\.device is given twice, also by the command line\.device"):
        build_cells(SweepFile.model_validate(file), {"device": "cpu"})


# Sweeps that are interrupted or killed


def test_ctrl_c_saves_the_cells_and_the_same_command_goes_on(tmp_path: Path) -> None:
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    long = TINY.replace("epochs = 2", "epochs = 100000\ncheckpoint_every = 100000")
    file.write_text(long.replace("[settings]", "seeds = 2\n[settings]"))
    command = [sys.executable, "-m", "reviver", "sweep", str(file), "--out", str(out), "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            wait_until(lambda: any(path.stat().st_size for path in out.glob("cells/*/run/metrics.jsonl")))
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.endswith(f"{out}: stopped, the runs are saved; go on with the same command\n")
    assert "Traceback" not in errors
    (run,) = (RunFolder.open(path) for path in out.glob("cells/*/run"))
    assert run.status == "interrupted"
    assert not list(out.glob("cells/*/outcome.json"))
